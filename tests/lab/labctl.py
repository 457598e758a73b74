"""Brings a lab up and down: a KDC, a CA, the stand-in cloud and the connector,
all on 127.0.0.1, all in one directory, without root."""

import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
import urllib.request

import kdc
import pki
from procs import LabError, Process, free_ports, interrupts, port_lock, stop_orphans, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
# account, its role, and the variable that names its credential cache
ACCOUNTS = (("exch01$", "exchange", "EXCHANGE"), ("sp01$", "sharepoint", "SHAREPOINT"),
            ("fci01$", "fci", "FCI"), ("stranger$", None, "STRANGER"))
SERVICES = ("HTTP/localhost", "HTTP/connector.lab.test")
TENANT, TENANT_HOST = "lab.test", "tenant.rms.lab.test"
CLIENT_ID = "6b1c1d3e-0c1f-4b57-9d2a-5a1f0e7c9b11"
SYSTEM_CA = "/etc/ssl/certs/ca-certificates.crt"
SOCKET_PATH_MAX = 100  # of control_socket; a Unix address holds 107


def build_dir():
    """Where make left the binaries ($BUILD, else build/release)."""
    return os.environ.get("BUILD") or os.path.join(ROOT, "build", "release")


def bin_dir(build=None):
    return os.path.join(build or build_dir(), "bin")


class Lab:
    """A directory with a lab in it, up or not."""

    def __init__(self, directory):
        self.dir = os.path.abspath(directory)
        self.processes, self.env, self.link = [], {}, None
        self.ports = {}

    # ---- state that outlives us ----

    def path(self, name):
        return os.path.join(self.dir, name)

    def save(self):
        state = {"link": self.link, "env": self.env, "ports": self.ports,
                 "processes": [p.to_json() for p in self.processes]}
        with open(self.path("lab.json.new"), "w", encoding="utf-8") as file:
            json.dump(state, file, indent=1)
        os.rename(self.path("lab.json.new"), self.path("lab.json"))

    @classmethod
    def load(cls, directory):
        """The lab that is up in directory, or None."""
        lab = cls(directory)
        try:
            with open(lab.path("lab.json"), encoding="utf-8") as file:
                state = json.load(file)
        except FileNotFoundError:
            return None
        lab.link, lab.env = state["link"], state["env"]
        lab.ports = state["ports"]
        lab.processes = [Process.from_json(p) for p in state["processes"]]
        return lab

    def process(self, name):
        return next(p for p in self.processes if p.name == name)

    def dead(self):
        """Names of the processes that should run and do not."""
        return [p.name for p in self.processes if not p.is_alive()]

    # ---- up ----

    def up(self, cloud=None, cloud_ca=None, cloud_ip=None, workers=None, servers=True,
           conf="", connector=True, build=None, wrap=(), say=lambda _text: None):
        """Makes and starts everything; when that fails stops all of it and
        raises LabError with the log lines that tell why.

        An old lab in the same directory is stopped and replaced.  wrap is put
        before the connector's command (valgrind …)."""
        self._clear()
        with interrupts.noted():
            try:
                self._up(cloud, cloud_ca, cloud_ip, workers, servers, conf, connector, build,
                         wrap, say)
            except BaseException:
                told = interrupts.take()
                say("failed; stopping what was started")
                self.down()
                if told is not None:  # it may have ended a command of ours too
                    raise told from None
                raise
        return self

    def _up(self, cloud, cloud_ca, cloud_ip, workers, servers, conf, connector, build, wrap, say):
        self._make(cloud, cloud_ca, cloud_ip)
        with port_lock():
            self._choose_ports()
            self._start_kdc(say)
            self._start_cloud(say)
            self._set_env(cloud)
            if connector:
                self._write_conf(workers, conf, cloud, cloud_ip)
                self._start_connector(build, wrap, say)
        if connector:
            self._configure(cloud, servers)
            self._wait_ready()
        self._write_env()
        interrupts.check()

    def _clear(self):
        old = Lab.load(self.dir)
        if old is not None:
            old.down()
        elif os.path.isdir(self.dir) and os.listdir(self.dir) and \
                not os.path.exists(self.path("lab.mark")):
            raise LabError(f"{self.dir} holds other files; name an empty or a new directory")
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir, mode=0o700)
        with open(self.path("lab.mark"), "w", encoding="ascii") as file:
            file.write("This directory is a test lab; `lab up` and `lab down` may delete it.\n")
        for name in ("cc", "tls", "log"):
            os.mkdir(self.path(name), 0o700)

    def _make(self, cloud, cloud_ca, cloud_ip):
        if cloud_ip and not cloud:
            raise LabError("--cloud-ip without --cloud: whose address is it?")
        if cloud_ca and not os.path.isfile(cloud_ca):
            raise LabError(f"--cloud-ca {cloud_ca}: no such file")
        tls = self.path("tls")
        pki.make_ca(tls)
        pki.make_certificate(tls, "connector", ["DNS:localhost", "DNS:connector.lab.test",
                                                "IP:127.0.0.1"])
        pki.make_certificate(tls, "cloud", ["DNS:" + TENANT_HOST, "DNS:localhost",
                                            "IP:127.0.0.1"], pki.EC)
        extra = cloud_ca or (SYSTEM_CA if cloud else None)
        self._join("tls/cloud-ca.pem", [self.path("tls/ca.pem"), extra])
        self._join("tls/trust.pem", [self.path("tls/ca.pem"), SYSTEM_CA])
        self._secret("sealing.key", os.urandom(32))
        self.secret = secrets.token_urlsafe(30)
        self._secret("client.secret", self.secret.encode())
        self._secret("apps.json", json.dumps({CLIENT_ID: {"secret": self.secret}}).encode())

    def _join(self, name, paths):
        with open(self.path(name), "w", encoding="utf-8") as out:
            for path in paths:
                if path and os.path.exists(path):
                    with open(path, encoding="utf-8") as file:
                        out.write(file.read().rstrip("\n") + "\n")

    def _secret(self, name, data):
        handle = os.open(self.path(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)

    def _choose_ports(self):
        names = ("kdc", "http", "https")
        self.ports = dict(zip(names, free_ports(len(names))))

    def _add(self, process):
        self.processes.append(process)
        self.save()
        return process

    def _start_kdc(self, say):
        say("KDC")
        self.kdc = kdc.Kdc(self.path("krb5"), self.ports["kdc"])
        self.kdc.create([a for a, _, _ in ACCOUNTS], SERVICES)
        self._add(self.kdc.start())
        for account, _, _ in ACCOUNTS:
            self.kdc.kinit(account, self.ccache(account))

    def ccache(self, account):
        return self.path("cc/" + account.rstrip("$"))

    def _start_cloud(self, say):
        say("stand-in cloud")
        ready = self.path("cloud.ready")
        process = self._add(Process.start("standin_cloud", [
            "/usr/bin/python3", os.path.join(HERE, "standin_cloud.py"),
            "--certificate", self.path("tls/cloud.pem"), "--key", self.path("tls/cloud.key"),
            "--apps", self.path("apps.json"), "--log", self.path("log/cloud.log"),
            "--host", TENANT_HOST, "--tenant", TENANT, "--ready", ready],
            self.path("log/cloud.out"), dict(os.environ)))
        wait_until(lambda: os.path.exists(ready) or not process.is_alive(), 20)
        if not os.path.exists(ready):
            raise LabError(f"the stand-in cloud did not start:\n{process.tail()}")
        with open(ready, encoding="ascii") as file:
            told = json.load(file)
        self.ports.update(cloud=told["port"], token=told["token_port"],
                          control=told["control_port"])

    def _control_socket(self):
        """The socket's path; through a short link when the directory's name
        is too long for a Unix address."""
        path = self.path("control.sock")
        if len(path) <= SOCKET_PATH_MAX:
            return path
        parent = tempfile.mkdtemp(prefix="rms-lab-", dir="/tmp")
        self.link = os.path.join(parent, "d")
        os.symlink(self.dir, self.link)
        self.save()
        return os.path.join(self.link, "control.sock")

    def _write_conf(self, workers, extra, cloud, cloud_ip):
        """extra lines `name = value` replace ours; sections are added."""
        text = lambda value: '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
        values = {
            "workers": str(2 if workers is None else workers),
            "node_name": text("lab"),
            "state_dir": text(self.path("state")),
            "control_socket": text(self.env["RMSCTL_SOCKET"]),
            "sealing_key_file": text(self.path("sealing.key")),
            "keytab": text(self.path("krb5/service.keytab")),
            "krb5_config": text(self.kdc.config),
            "event_log": text(self.path("log/events.log")),
            "access_log": text(self.path("log/access.log")),
            "cloud_ca_file": text(self.path("tls/cloud-ca.pem")),
            "drain_ms": '"2s"',
        }
        address = cloud_ip if cloud else "127.0.0.1"
        if address:
            values["cloud_addresses"] = text(address)
        depth, rest = 0, []
        for line in extra.splitlines():
            match = re.match(r"\s*(\w+)\s*=\s*(.+?)\s*\Z", line) if depth == 0 else None
            if match and "{" not in line:
                values[match[1]] = match[2]
            elif line.strip():
                rest.append(line)
            depth += line.count("{") - line.count("}")
        lines = [f"{name} = {value}" for name, value in values.items()]
        listener = 'listener {} {{\n\taddress = "127.0.0.1"\n\tport = {}\n{}}}'
        lines.append(listener.format("plain", self.ports["http"], ""))
        lines.append(listener.format(
            "tls", self.ports["https"], "\ttls = true\n"
            f"\tcertificate = {text(self.path('tls/connector.pem'))}\n"
            f"\tkey = {text(self.path('tls/connector.key'))}\n"))
        with open(self.path("rms-connector.conf"), "w", encoding="utf-8") as file:
            file.write("# written by tests/lab/lab\n" + "\n".join(lines + rest) + "\n")

    def _start_connector(self, build, wrap, say):
        say("connector")
        self.bin = bin_dir(build)
        daemon = os.path.join(self.bin, "rms-connectord")
        if not os.access(daemon, os.X_OK):
            raise LabError(f"{daemon} is not there: run `make all` first")
        self.wrap = list(wrap)
        process = self.start_connector()
        probe = lambda: self.rmsctl_json("status", check=False).get("ok")
        if not wait_until(lambda: probe() or not process.is_alive(), 60 if wrap else 15, 0.02) \
                or not process.is_alive():
            raise LabError(f"rms-connectord did not start:\n{process.tail(30)}")

    def start_connector(self):
        """Starts rms-connectord (again: replaces the record of the old one)."""
        self.processes = [p for p in self.processes if p.name != "rms-connectord"]
        environment = {k: v for k, v in os.environ.items()
                       if not k.startswith(("KRB5", "RMSCTL", "LD_"))}
        process = self._add(Process.start(
            "rms-connectord", [*self.wrap, os.path.join(self.bin, "rms-connectord"), "-c",
                               self.path("rms-connector.conf")],
            self.path("log/connector.log"), environment))
        self.env["CONNECTOR_PID"] = str(process.pid)
        return process

    def _configure(self, cloud, servers):
        url = cloud or f"https://{TENANT_HOST}:{self.ports['cloud']}"
        token = f"https://127.0.0.1:{self.ports['token']}/{TENANT}/oauth2/v2.0/token"
        self.rmsctl("set", "tenant_id", TENANT)
        self.rmsctl("set", "token_url", token)
        self.rmsctl("credentials", "add", "default", "--client-id", CLIENT_ID,
                    "--secret-file", self.path("client.secret"))
        self.rmsctl("set", "tenant_url", url)
        for account, role, _ in ACCOUNTS if servers else ():
            if role:
                self.rmsctl("servers", "add", "--role", role, "--name", account.rstrip("$"),
                            f"{account}@{kdc.REALM}")

    def not_ready(self):
        """What still keeps the connector from serving; "" when nothing does."""
        status = self.rmsctl_json("status", check=False)
        if not status.get("ok"):
            return status.get("error", "no answer from the control socket")
        for process in status["processes"]:
            if process["state"] != "ready" or not process["ready"]:
                return f"{process['role']} {process['slot']} is {process['state']}"
        tokens = status["tokens"]
        if not tokens or not all(t["valid"] for t in tokens):
            return f"no token: {next((t['error'] for t in tokens if t['error']), 'none yet')}"
        if not status["cloud"]["addresses"]:
            return f"no address of the cloud: {status['cloud'].get('dns_error') or 'none yet'}"
        return ""

    def _wait_ready(self):
        connector = self.process("rms-connectord")
        done = lambda: not self.not_ready() or not connector.is_alive()
        if not wait_until(done, 60 if self.wrap else 20, 0.02) or not connector.is_alive():
            raise LabError(f"the connector does not get ready: {self.not_ready()}\n"
                           f"{connector.tail(30)}")

    def _set_env(self, cloud):
        env = {
            "LAB_DIR": self.dir,
            "CONNECTOR_NAME": "localhost",
            "CONNECTOR_HTTP": f"http://localhost:{self.ports['http']}",
            "CONNECTOR_HTTPS": f"https://localhost:{self.ports['https']}",
            "CONNECTOR_CA": self.path("tls/ca.pem"),
            "CONNECTOR_CONF": self.path("rms-connector.conf"),
            "CURL_CA_BUNDLE": self.path("tls/trust.pem"),
            "KRB5_CONFIG": self.kdc.config,
            "KRB5CCNAME": "FILE:" + self.ccache("exch01$"),
            "CLOUD_URL": cloud or f"https://{TENANT_HOST}:{self.ports['cloud']}",
            "CLOUD_LOG": self.path("log/cloud.log"),
            "CLOUD_CONTROL": f"http://127.0.0.1:{self.ports['control']}/control",
            "ACCESS_LOG": self.path("log/access.log"),
            "EVENT_LOG": self.path("log/events.log"),
            "CONNECTOR_LOG": self.path("log/connector.log"),
            "STATE_DIR": self.path("state"),
            "KEYTAB": self.path("krb5/service.keytab"),
            "RMSCTL_SOCKET": self._control_socket(),
            "KDC_PID": str(self.process("krb5kdc").pid),
            "CLOUD_PID": str(self.process("standin_cloud").pid),
        }
        for account, _, variable in ACCOUNTS:
            env["KRB5CCNAME_" + variable] = "FILE:" + self.ccache(account)
        self.env = env

    def _write_env(self):
        if hasattr(self, "bin"):
            self.env["RMSCTL"] = shlex.join([os.path.join(self.bin, "rmsctl"), "-s",
                                             self.env["RMSCTL_SOCKET"]])
        lines = [f"export {name}={shlex.quote(value)}\n"
                 for name, value in sorted(self.env.items())]
        with open(self.path("env"), "w", encoding="utf-8") as file:
            file.write("# to be sourced: a lab of rms-connector\n" + "".join(lines))
        self.save()

    # ---- use ----

    def rmsctl(self, *arguments, check=True, **options):
        """Runs rmsctl on this lab's socket; the finished process."""
        binary = os.path.join(getattr(self, "bin", bin_dir()), "rmsctl")
        argv = [binary, "-s", self.env["RMSCTL_SOCKET"], *arguments]
        result = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                timeout=30, check=False, **options)
        if check and result.returncode != 0:
            raise LabError(f"rmsctl {' '.join(arguments)}: status {result.returncode}\n"
                           f"{result.stdout}{result.stderr}")
        return result

    def rmsctl_json(self, *arguments, check=True):
        """The JSON reply of a verb; {} when there was none."""
        result = self.rmsctl("--json", *arguments, check=False)
        try:
            value = json.loads(result.stdout)
        except ValueError:
            value = {}
        if check and not value.get("ok", result.returncode == 0):
            raise LabError(f"rmsctl {' '.join(arguments)}: {result.stdout}{result.stderr}")
        return value

    def cloud(self, **order):
        """Gives the stand-in an order (see standin_cloud.py); without one, its
        figures."""
        data = json.dumps(order).encode() if order else None
        request = urllib.request.Request(self.env["CLOUD_CONTROL"], data)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as reply:
            return json.load(reply)

    # ---- down ----

    def down(self):
        """Stops every process of the lab; lines about what did not go well.
        Ctrl-C and TERM do not keep it from it."""
        with interrupts.ignored():
            return self._down()

    def _down(self):
        complaints = []
        for process in reversed(self.processes):
            alive = process.is_alive()
            if not alive:
                complaints.append(f"{process.name} ({process.pid}) was not running any more")
            elif not process.stop():
                complaints.append(f"{process.name} ({process.pid}) had to be killed")
        orphans = stop_orphans(self.processes)
        if orphans:
            complaints.append(f"processes left behind were ended: {orphans}")
        if self.link:
            shutil.rmtree(os.path.dirname(self.link), ignore_errors=True)
        for name in ("lab.json", "env"):
            if os.path.exists(self.path(name)):
                os.unlink(self.path(name))
        self.processes = []
        return complaints


def complain(text):
    print(f"lab: {text}", file=sys.stderr, flush=True)
