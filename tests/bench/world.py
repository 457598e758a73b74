"""What a benchmark runs in: a KDC, a CA, the service behind the relays, and
the relays, all on 127.0.0.1, each started by its driver script."""

import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager

import kdc
import measure
import pki
from procs import (LabError, Process, free_ports, interrupts, port_lock, run, start_time,
                   stop_orphans, wait_until)

HERE = os.path.dirname(os.path.abspath(__file__))
CIPHER = "TLS_AES_256_GCM_SHA384"
ACCOUNT, SERVICE = "exch01$", "localhost"
UPSTREAM = "localhost"  # Apache httpd has to find its address
TOKEN_BYTES = 1350  # an access token of Azure AD for an application
PEERS = {  # driver, and what its relaying processes are called
    "connector": "rms-relay",
    "nginx": "nginx",
    "haproxy": "haproxy",
    "apache": "apache2",
    "floor": "floor",
}
DIRECT = "direct"  # no relay: the load goes to the service itself


class Peer:
    """A started driver: its processes are known by their descent from the
    pids that it told, and by the session that it was started in."""

    def __init__(self, name, env, log, cpus=None, wait_s=90):
        self.name, self.kind = name, name.partition("+")[0]
        self.port = int(env.get("BENCH_PORT", 0))
        self.ec_port = int(env.get("BENCH_EC_PORT", 0))
        self.dir = env["BENCH_RUN"]
        script = f"{HERE}/{self.kind}.sh"
        pin = ["taskset", "-c", cpus] if cpus else []
        self.caps = run([script, "caps"]).split() if self.port else []
        os.makedirs(env["BENCH_RUN"])
        os.chmod(env["BENCH_RUN"], 0o755)  # nginx's workers are somebody else
        with open(log, "w", encoding="ascii"):
            pass  # an earlier start told its pids there
        self.roots = []
        self.driver = Process.start(name, [*pin, script, "start"], log, dict(os.environ, **env))
        try:
            self._wait(log, wait_s)
        except BaseException as error:
            self.stop()
            if isinstance(error, LabError):
                raise LabError(f"{script} start {error}:\n{self.driver.tail()}"
                               f"{self.tail()}") from None
            raise

    def _wait(self, log, wait_s):
        """For the driver, which tells the pids and ends."""
        done = wait_until(lambda: not self.driver.is_alive(), wait_s, 0.05)
        pids = [int(pid) for pid in re.findall(r"^pid (\d+)$", measure.read(log), re.MULTILINE)]
        self.roots = [Process(self.name, pid, start_time(pid), log) for pid in pids]
        if not done:
            raise LabError("took too long")
        if self.driver.popen.returncode != 0 or not pids or not self.alive():
            raise LabError("failed")

    def tail(self):
        """The last of what its processes wrote."""
        return "".join(measure.read(f"{self.dir}/{name}")[-2000:]
                       for name in ("out", "err", "error.log"))

    def alive(self):
        return all(root.is_alive() for root in self.roots)

    def pids(self):
        return measure.descendants([root.pid for root in self.roots if root.is_alive()])

    def relays(self):
        """Those of its processes that carry requests (with them, unmeasurably
        cheap, nginx's master)."""
        return [pid for pid in self.pids() if measure.command(pid) == PEERS[self.kind]]

    def worker(self):
        """The relaying process with the most memory: not nginx's master."""
        return max(self.relays(), key=lambda pid: measure.memory_kb(pid)[1])

    def stop(self):
        with interrupts.ignored():
            self._stop()

    def _stop(self):
        for root in self.roots:
            root.signal(signal.SIGTERM)
        wait_until(lambda: not any(root.is_alive() for root in self.roots), 10)
        for root in self.roots:
            root.stop(1)
        if self.driver.is_alive():
            self.driver.stop(1)
        wait_until(lambda: not self._left(), 2)  # a driver's own cleaning up
        stop_orphans([self.driver])

    def _left(self):
        """Processes of the driver's session."""
        fields = (measure.read(f"/proc/{entry}/stat").rpartition(")")[2].split()
                  for entry in os.listdir("/proc") if entry.isdigit())
        return [f for f in fields if f and f[0] not in "ZX" and int(f[3]) == self.driver.pid]


class World:
    """Everything in one directory; stop() ends all of it."""

    def __init__(self, directory, build, pinned):
        self.dir, self.build = os.path.abspath(directory), build
        cpus = sorted(os.sched_getaffinity(0))
        self.relay_cpus = str(cpus[0]) if pinned and len(cpus) > 1 else None
        self.other_cpus = str(cpus[1]) if pinned and len(cpus) > 1 else None
        self.load = f"{build}/bench/load"
        self.peers, self.upstream, self.kdc_process = {}, None, None
        self.load_env = {}

    # ---- beginning ----

    def start(self, names, extra=None):
        """The service, the KDC and the named relays; extra is added to their
        environment (BENCH_WRAP ...)."""
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(f"{self.dir}/tls")
        os.makedirs(f"{self.dir}/log")
        with interrupts.noted(), port_lock():
            try:
                self._make_tls()
                self._start_kdc()
                self._start_upstream()
                for name in names:
                    self.start_peer(name, extra)
            except LabError:
                interrupts.check()  # a Ctrl-C reaches the commands we run too
                raise
            interrupts.check()

    def _make_tls(self):
        tls = f"{self.dir}/tls"
        pki.make_ca(tls)
        pki.make_certificate(tls, "relay", ["DNS:" + SERVICE, "IP:127.0.0.1"])
        pki.make_certificate(tls, "ec", ["DNS:" + SERVICE, "IP:127.0.0.1"], pki.EC)
        pki.make_certificate(tls, "cloud", ["DNS:" + UPSTREAM], pki.EC)
        for stem in ("relay", "ec"):
            with open(f"{tls}/{stem}.both", "w", encoding="ascii", opener=_private) as out:
                out.write(measure.read(f"{tls}/{stem}.pem") + measure.read(f"{tls}/{stem}.key"))
        with open(f"{tls}/bearer", "w", encoding="ascii") as out:
            out.write(secrets.token_urlsafe(TOKEN_BYTES)[:TOKEN_BYTES])

    def _start_kdc(self):
        realm = kdc.Kdc(f"{self.dir}/krb5", free_ports(1)[0])
        realm.create([ACCOUNT], ["HTTP/" + SERVICE])
        self.kdc_process = realm.start()
        cache = f"{self.dir}/krb5/cc"
        realm.kinit(ACCOUNT, cache)
        self.load_env = dict(os.environ, KRB5_CONFIG=realm.config, KRB5CCNAME="FILE:" + cache)
        # a service ticket in the cache, so that no request waits for the KDC
        run(["kvno", "-q", f"HTTP/{SERVICE}"], env=self.load_env)
        self.krb5_config = realm.config

    def _start_upstream(self):
        tls, port = f"{self.dir}/tls", free_ports(1)[0]
        self.common = {
            "BUILD": self.build, "BENCH_CIPHER": CIPHER,
            "BENCH_UP_HOST": UPSTREAM, "BENCH_UP_ADDR": "127.0.0.1", "BENCH_UP_PORT": str(port),
            "BENCH_UP_CERT": f"{tls}/cloud.pem", "BENCH_UP_KEY": f"{tls}/cloud.key",
            "BENCH_CA": f"{tls}/ca.pem", "BENCH_BEARER": f"{tls}/bearer",
            "BENCH_CERT": f"{tls}/relay.pem", "BENCH_KEY": f"{tls}/relay.key",
            "BENCH_PEM": f"{tls}/relay.both", "BENCH_EC_CERT": f"{tls}/ec.pem",
            "BENCH_EC_KEY": f"{tls}/ec.key", "BENCH_EC_PEM": f"{tls}/ec.both", "BENCH_WORKERS": "1", "BENCH_LOG": "0",
            "BENCH_KEYTAB": f"{self.dir}/krb5/service.keytab", "KRB5_CONFIG": self.krb5_config,
            "BENCH_PRINCIPALS": f"{ACCOUNT}@{kdc.REALM}",
        }
        self.upstream = Peer("upstream", dict(self.common, BENCH_RUN=f"{self.dir}/upstream"),
                             f"{self.dir}/log/upstream", self.other_cpus)

    def start_peer(self, name, extra=None):
        """Starts a relay, named after its driver, perhaps with "+variant"
        behind, and sends it a few requests."""
        port, ec_port, plain = free_ports(3)
        run_dir = f"{self.dir}/{name}"
        shutil.rmtree(run_dir, ignore_errors=True)
        env = dict(self.common, BENCH_RUN=run_dir, BENCH_PORT=str(port),
                   BENCH_EC_PORT=str(ec_port), BENCH_PLAIN_PORT=str(plain), BENCH_LOGFILE=f"{self.dir}/log/{name}.access",
                   **(extra or {}))
        peer = Peer(name, env, f"{self.dir}/log/{name}", self.relay_cpus)
        self.peers[name] = peer
        deadline = time.monotonic() + 30
        while True:  # it may not listen at once
            interrupts.check()
            try:
                run(self.load_command(name, "-c", "1", "-n", "4", "-d", "20"), env=self.load_env)
                return peer
            except LabError as error:
                if time.monotonic() > deadline or not peer.alive():
                    raise LabError(f"{name} does not relay: {error}\n{peer.tail()}") from None
                time.sleep(0.2)

    @contextmanager
    def known_as(self, name, others):
        """A relay under further names: one relay, several loads."""
        for other in others:
            self.peers[other] = self.peers[name]
        try:
            yield
        finally:
            for other in others:
                del self.peers[other]

    # ---- load ----

    def load_command(self, name, *args, ec=False, anonymous=False):
        """The load on a relay (or on the service itself): the arguments that
        its place and its authentication need, and args."""
        command = ["taskset", "-c", self.other_cpus] if self.other_cpus else []
        if name == DIRECT:
            port, caps = self.common["BENCH_UP_PORT"], ()
        else:
            peer = self.peers[name]
            port, caps = peer.ec_port if ec else peer.port, peer.caps
        command += [self.load, "-a", f"127.0.0.1:{port}", "-s", SERVICE, *args]
        if "gss" in caps and not anonymous:
            command += ["-k", "HTTP@" + SERVICE]
        return command

    @contextmanager
    def running_load(self, name, *args, **how):
        """The load generator with pipes to it; it is gone afterwards."""
        log = f"{self.dir}/log/load"
        with open(log, "a", encoding="utf-8") as errors:
            load = subprocess.Popen(self.load_command(name, *args, **how), env=self.load_env,
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                    stderr=errors, text=True, start_new_session=True)
        try:
            yield load
            load.stdin.close()
            if load.wait(30) != 0:
                raise LabError(f"the load on {name} failed:\n{measure.read(log)[-2000:]}")
        finally:
            load.kill()
            load.wait()
            load.stdout.close()

    def others(self):
        """The processes of ours that are not the load."""
        found = []
        if self.upstream is not None:
            found += self.upstream.pids() + [self.kdc_process.pid]
        for peer in self.peers.values():
            found += peer.pids()
        return found

    @contextmanager
    def kept_awake(self, wanted):
        """The relay's CPU does not go idle (awake.c); yields the pids of that."""
        if not wanted or self.relay_cpus is None:
            yield []
            return
        spinner = subprocess.Popen([f"{self.build}/bench/awake", self.relay_cpus])
        try:
            yield [spinner.pid]
        finally:
            spinner.kill()
            spinner.wait()

    # ---- the end ----

    def stop_peer(self, name):
        self.peers.pop(name).stop()

    def stop_services(self):
        """What the relays go to, so that they are alone on the machine."""
        if self.upstream is not None:
            self.upstream.stop()
        if self.kdc_process is not None:
            self.kdc_process.stop()
        self.upstream = self.kdc_process = None

    def stop(self):
        with interrupts.ignored():
            for name in list(self.peers):
                self.stop_peer(name)
            self.stop_services()


def _private(path, flags):
    return os.open(path, flags, 0o600)
