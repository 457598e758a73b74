"""A host that is a member of the lab's domain: joined, with its winbindd.

It lives in the DC's network namespace and in a mount namespace of its own;
nothing of it is seen on the host but a directory.  Who is to ask its winbind
is started by in_reach(): libwbclient looks for the socket in /run/samba alone.
"""

import os
import shutil

from kdc import SBIN
from ad import DOMAIN, HOST, REALM
from procs import LabError, Process, run, start_time, stop_orphans, wait_until

ADDRESS, NAME = "127.0.0.11", "MEMBER1"
START_S = 20

_CONF = f"""[global]
 workgroup = {DOMAIN}
 realm = {REALM}
 security = ads
 netbios name = {NAME}
 interfaces = {ADDRESS}/8
 bind interfaces only = yes
 private dir = {{dir}}/private
 lock directory = {{dir}}/lock
 state directory = {{dir}}/state
 cache directory = {{dir}}/cache
 pid directory = {{dir}}/run
 winbindd socket directory = {{dir}}/run/wb
 ncalrpc dir = {{dir}}/run/ncalrpc
 log file = {{dir}}/log.%m
 password server = {HOST}
 kerberos method = secrets only
 idmap config * : backend = tdb
 idmap config * : range = 10000-99999
"""
# Behind the DC's own mounts: ours over them.
_INSIDE = ('mount --bind "$0/hosts" /etc/hosts && mount --bind "$0/run/wb" /run/samba/winbindd && '
           'exec "$@"')
_IN_REACH = ('mount -t tmpfs none /run/samba && mkdir /run/samba/winbindd && '
             'mount --bind "$0" /run/samba/winbindd && exec "$@"')


class Member:
    """A directory with a member of a running Ad (up with SERVICES_FOR_MEMBERS)."""

    def __init__(self, ad, directory):
        self.ad, self.dir = ad, os.path.abspath(directory)
        self.winbindd = None

    def path(self, name):
        return os.path.join(self.dir, name)

    def _argv(self, *argv):
        return ["nsenter", "-t", str(self.ad.dc.pid), "--net", "--mount", "unshare", "--mount",
                "sh", "-c", _INSIDE, self.dir, *argv]

    def _env(self):
        env = dict(os.environ, PATH=SBIN, KRB5_CONFIG=self.ad.config)
        env.pop("KRB5CCNAME", None)
        return env

    def inside(self, *argv, **options):
        """Runs a command on the member; what it writes."""
        return run(self._argv(*argv), env=self._env(), **options)

    def up(self, administrator, password):
        """Joins and starts winbindd."""
        shutil.rmtree(self.dir, ignore_errors=True)
        for name in ("private", "lock", "state", "cache", "run/wb", "run/ncalrpc"):
            os.makedirs(self.path(name), mode=0o755)
        with open(self.path("smb.conf"), "w", encoding="ascii") as file:
            file.write(_CONF.format(dir=self.dir))
        with open(self.ad.path("hosts"), encoding="ascii") as file:
            hosts = file.read()
        with open(self.path("hosts"), "w", encoding="ascii") as file:
            file.write(f"{hosts}{ADDRESS} {NAME.lower()}.{REALM.lower()} {NAME.lower()}\n")
        secret = self.path("private/join")
        with open(os.open(secret, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
            file.write(f"username = {administrator}\npassword = {password}\n")
        try:
            self.inside("net", "ads", "join", "-s", self.path("smb.conf"), "-A", secret, "-S", HOST,
                        "--no-dns-updates")
            self.start()
        except BaseException:
            self.down()
            raise
        finally:
            os.unlink(secret)
        return self

    def start(self):
        """winbindd; and waits until the domain trusts it."""
        self.winbindd = Process.start(
            "winbindd",
            self._argv("winbindd", "-F", "--no-process-group", "-s", self.path("smb.conf")),
            self.path("winbindd.out"), self._env())
        if not wait_until(lambda: self._answers() or not self.winbindd.is_alive(), START_S, 0.1) \
                or not self.winbindd.is_alive():
            raise LabError(f"winbindd did not start:\n{self.winbindd.tail()}")

    def _answers(self):
        try:
            self.inside("wbinfo", "-t")
        except LabError:
            return False
        return True

    def processes(self):
        """Process ids of winbindd and its children (all of its session)."""
        out = run(["ps", "-o", "pid=", "-s", str(self.winbindd.pid)])
        return [int(p) for p in out.split()]

    def in_reach(self):
        """What stands before a command so that its winbind is this one."""
        return ["unshare", "--mount", "sh", "-c", _IN_REACH, self.path("run/wb")]

    def down(self):
        if self.winbindd is None:
            return []
        complaints = [] if self.winbindd.stop() else [f"winbindd ({self.winbindd.pid}) had to be "
                                                      "killed"]
        stop_orphans([self.winbindd])
        # winbindd starts these in sessions of their own and forgets them.
        for process in self._helpers():
            process.stop(5)
        self.winbindd = None
        return complaints

    def _helpers(self):
        """What runs with our configuration: samba-dcerpcd and its workers."""
        ours, found = f"--configfile={self.path('smb.conf')}".encode(), []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    if ours in file.read().split(b"\0"):
                        found.append(Process("samba", int(entry), start_time(int(entry)),
                                             "/dev/null"))
            except (FileNotFoundError, ProcessLookupError):
                pass
        return found
