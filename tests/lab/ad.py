"""A Samba AD DC of realm CONTOSO.TEST, in a network namespace of its own.

Needs root (the DC wants ports below 1024, and to chown) and the packages of
`tools/deps check`.  The domain is made once, in build/ad, and copied.

What a test may rely on, besides Windows' own: accounts, groups and SPNs of
ad_populate.py, the domain's SID, and that sids() gives the same for as long as
that file does not change.
"""

import fcntl
import glob
import hashlib
import json
import os
import shutil
from contextlib import contextmanager

import pki
from kdc import SBIN
from labctl import ROOT
from procs import LabError, Process, interrupts, run, stop_orphans, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
REALM, DOMAIN = "CONTOSO.TEST", "CONTOSO"
DOMAIN_SID = "S-1-5-21-1111111111-2222222222-3333333333"
HOST, ADDRESS = "dc1.contoso.test", "127.0.0.10"
SPNS = ("HTTP/connector.contoso.test", "HTTP/rms.contoso.test")
BULK_GROUPS = 1001  # of the account "bulk"
START_S = 20
# What a DC offers: enough for Kerberos; a member that joins wants SMB too.
SERVICES, SERVICES_FOR_MEMBERS = "ldap, cldap, kdc", "s3fs, rpc, ldap, cldap, kdc, winbindd"

_KRB5 = f"""[libdefaults]
 default_realm = {REALM}
 dns_lookup_kdc = false
 dns_lookup_realm = false
 dns_canonicalize_hostname = false
 rdns = false
 udp_preference_limit = 1
[realms]
 {REALM} = {{
  kdc = {ADDRESS}
 }}
[domain_realm]
 .contoso.test = {REALM}
 contoso.test = {REALM}
"""
_HOSTS = f"127.0.0.1 localhost\n{ADDRESS} {HOST} dc1\n"
_SET_PASSWORD = """
import sys
from samba.auth import system_session
from samba.param import LoadParm
from samba.samdb import SamDB
params = LoadParm()
params.load(sys.argv[1])
sam = SamDB(url=params.private_path("sam.ldb"), lp=params, session_info=system_session())
who = f"(sAMAccountName={sys.argv[2]})"
sam.setpassword(who, sys.stdin.read(), False, sys.argv[2])
sam.enable_account(who)
"""
# In the namespace's shell: is the KDC there, and the directory?
_READY = f"exec 3<>/dev/tcp/{ADDRESS}/88 4<>/dev/tcp/{ADDRESS}/389"


def missing():
    """Why there can be no DC here; "" when there can."""
    if os.geteuid() != 0:
        return "an AD DC needs root"
    if not shutil.which("samba", path=SBIN) or not glob.glob("/usr/share/samba/setup/*.ldif"):
        return "samba-ad-dc or samba-ad-provision is not installed (make deps)"
    return ""


def _settings(directory):
    """Directives that provisioning would not choose."""
    return {
        # as a Windows DC: Kerberos over TLS, too
        "ldap server require strong auth": "allow_sasl_over_tls",
        "interfaces": f"{ADDRESS}/8",
        "bind interfaces only": "yes",
        "pid directory": f"{directory}/run",
        "lock directory": f"{directory}/state",
        "ncalrpc dir": f"{directory}/run/ncalrpc",
        "winbindd socket directory": f"{directory}/run/winbindd",
        "ntp signd socket directory": f"{directory}/run/ntp_signd",
        "log file": f"{directory}/log.%m",
        "server services": SERVICES,
        "tls keyfile": f"{directory}/tls/dc1.key",
        "tls certfile": f"{directory}/tls/dc1.pem",
        "tls cafile": f"{directory}/tls/ca.pem",
    }


def _provision(directory):
    """A domain with its accounts that no DC has run on yet."""
    for name in ("seed", "tls", "run/ncalrpc", "run/winbindd", "run/ntp_signd"):
        os.makedirs(f"{directory}/{name}", mode=0o755)
    pki.make_ca(f"{directory}/tls")
    pki.make_certificate(f"{directory}/tls", "dc1", [f"DNS:{HOST}"], days=3650)
    seed = f"{directory}/seed/smb.conf"  # a file that knows nothing yet
    with open(seed, "w", encoding="ascii") as file:
        file.write("[global]\n")
    secret = lambda: "Aa1-" + os.urandom(20).hex()
    run(["unshare", "--net", "--mount", "samba-tool", "domain", "provision",
         f"--configfile={seed}", f"--targetdir={directory}", f"--realm={REALM}",
         f"--domain={DOMAIN}", f"--domain-sid={DOMAIN_SID}", "--server-role=dc",
         "--host-name=dc1", f"--host-ip={ADDRESS}", "--dns-backend=NONE",
         "--function-level=2008_R2", f"--adminpass={secret()}", f"--krbtgtpass={secret()}",
         *(f"--option={name}={value}" for name, value in _settings(directory).items())])
    run(["/usr/bin/python3", f"{HERE}/ad_populate.py", f"{directory}/etc/smb.conf", directory])
    with open(f"{directory}/krb5.conf", "w", encoding="ascii") as file:
        file.write(_KRB5)
    with open(f"{directory}/hosts", "w", encoding="ascii") as file:
        file.write(_HOSTS)


@contextmanager
def _lock(path):
    with open(path, "a", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def template():
    """The directory of a domain to be copied; made when there is none for
    these scripts (10 s)."""
    digest = hashlib.sha256()
    for name in ("ad.py", "ad_populate.py"):
        with open(f"{HERE}/{name}", "rb") as file:
            digest.update(file.read())
    base = os.path.join(ROOT, "build", "ad")
    path = os.path.join(base, digest.hexdigest()[:16])
    os.makedirs(base, exist_ok=True)
    with _lock(f"{base}/lock"):
        if not os.path.isdir(path):
            for name in os.listdir(base):
                if name != "lock":
                    shutil.rmtree(f"{base}/{name}")
            _provision(path + ".new")
            os.rename(path + ".new", path)
    return path


class Ad:
    """A directory with a domain in it, its DC running or not."""

    def __init__(self, directory):
        self.dir = os.path.abspath(directory)
        self.config = self.path("krb5.conf")
        self.service_keytab = self.path("service.keytab")
        self.dc = None

    def path(self, name):
        return os.path.join(self.dir, name)

    @classmethod
    def load(cls, directory):
        """The domain whose DC is up in directory, or None."""
        ad = cls(directory)
        try:
            with open(ad.path("ad.json"), encoding="utf-8") as file:
                ad.dc = Process.from_json(json.load(file))
        except FileNotFoundError:
            return None
        return ad

    # ---- up ----

    def up(self, services=SERVICES):
        """A fresh domain, its DC answering.  An old one in the same directory
        is stopped and replaced."""
        why = missing()
        if why:
            raise LabError(why)
        self._clear()
        with interrupts.noted():
            try:
                self._copy(template(), services)
                self._start()
                interrupts.check()
            except BaseException:
                self.down()
                raise
        return self

    def _clear(self):
        old = Ad.load(self.dir)
        if old is not None:
            old.down()
        elif os.path.isdir(self.dir) and os.listdir(self.dir) and \
                not os.path.exists(self.path("sids.json")):
            raise LabError(f"{self.dir} holds other files; name an empty or a new directory")
        shutil.rmtree(self.dir, ignore_errors=True)

    def _copy(self, source, services):
        os.makedirs(os.path.dirname(self.dir), exist_ok=True)
        run(["cp", "-a", "--reflink=auto", "--sparse=always", source, self.dir])
        os.mkdir(self.path("cc"), 0o700)
        with open(self.path("etc/smb.conf"), encoding="utf-8") as file:
            text = file.read()
        with open(self.path("etc/smb.conf"), "w", encoding="utf-8") as file:
            file.write(text.replace(source + ".new", self.dir)  # where it was made
                       .replace(f"server services = {SERVICES}", f"server services = {services}"))

    def _start(self):
        # Samba's own programs look for winbindd's socket in one place only.
        script = ('ip link set lo up && mount --bind "$0/hosts" /etc/hosts && '
                  'mount -t tmpfs none /run/samba && mkdir /run/samba/winbindd && '
                  'mount --bind "$0/run/winbindd" /run/samba/winbindd && '
                  'exec samba --interactive --debug-stdout --debuglevel=1 --model=single '
                  '--configfile="$0/etc/smb.conf"')
        self.dc = Process.start("samba", ["unshare", "--net", "--mount", "sh", "-c", script,
                                          self.dir], self.path("samba.out"),
                                dict(os.environ, PATH=SBIN))
        with open(self.path("ad.json"), "w", encoding="utf-8") as file:
            json.dump(self.dc.to_json(), file)
        if not wait_until(lambda: self._answers() or not self.dc.is_alive(), START_S, 0.05) \
                or not self.dc.is_alive():
            raise LabError(f"the DC did not start:\n{self.dc.tail()}")

    def _answers(self):
        try:
            self.inside("bash", "-c", _READY)
        except LabError:
            return False
        return True

    # ---- use ----

    def inside(self, *argv, **options):
        """Runs a command in the DC's namespaces, as a client of its realm;
        what it writes."""
        env = dict(os.environ, PATH=SBIN, KRB5_CONFIG=self.config)
        env.pop("KRB5CCNAME", None)
        return run(["nsenter", "-t", str(self.dc.pid), "--net", "--mount", *argv], env=env,
                   **options)

    def set_password(self, account, password):
        """Of an account, from now on; its key in accounts.keytab is void."""
        self.inside("/usr/bin/python3", "-c", _SET_PASSWORD, self.path("etc/smb.conf"), account,
                    input=password.encode())

    def sids(self):
        """sAMAccountName to SID, of every account and group."""
        with open(self.path("sids.json"), encoding="utf-8") as file:
            return json.load(file)

    def tickets(self, account, *services):
        """A fresh credential cache of an account with tickets for services
        (default: those of the connector); its name for KRB5CCNAME.  Who has it
        needs no KDC any more."""
        cache = "FILE:" + self.path("cc/" + account.rstrip("$"))
        self.inside("kinit", "-k", "-t", self.path("accounts.keytab"), "-c", cache,
                    f"{account}@{REALM}")
        self.inside("kvno", "-q", "-c", cache, *(services or SPNS))
        return cache

    # ---- down ----

    def down(self):
        """Stops the DC; lines about what did not go well.  The files stay."""
        if self.dc is None:
            return []
        complaints = []
        with interrupts.ignored():
            if not self.dc.is_alive():
                complaints.append(f"samba ({self.dc.pid}) was not running any more:\n"
                                  f"{self.dc.tail()}")
            elif not self.dc.stop():
                complaints.append(f"samba ({self.dc.pid}) had to be killed")
            stop_orphans([self.dc])
            if os.path.exists(self.path("ad.json")):
                os.unlink(self.path("ad.json"))
        self.dc = None
        return complaints
