"""A MIT KDC for the lab's realm, on loopback, without root."""

import os
import shutil
import socket

from procs import LabError, Process, run, wait_until

REALM = "LAB.TEST"
SBIN = "/usr/sbin:/sbin:/usr/bin:/bin"

_KRB5 = """[libdefaults]
 default_realm = {realm}
 dns_lookup_kdc = false
 dns_lookup_realm = false
 dns_canonicalize_hostname = false
 rdns = false
 udp_preference_limit = 1
 ticket_lifetime = 7d
 default_tkt_enctypes = aes256-cts-hmac-sha1-96
 default_tgs_enctypes = aes256-cts-hmac-sha1-96
 permitted_enctypes = aes256-cts-hmac-sha1-96
[realms]
 {realm} = {{
  kdc = 127.0.0.1:{port}
 }}
[domain_realm]
 localhost = {realm}
 lab.test = {realm}
 .lab.test = {realm}
"""
_KDC = """[kdcdefaults]
 kdc_listen = 127.0.0.1:{port}
 kdc_tcp_listen = 127.0.0.1:{port}
[realms]
 {realm} = {{
  database_name = {dir}/principal
  key_stash_file = {dir}/stash
  acl_file = {dir}/acl
  max_life = 7d
  master_key_type = aes256-cts-hmac-sha1-96
  supported_enctypes = aes256-cts-hmac-sha1-96:normal
 }}
[logging]
 kdc = FILE:{dir}/kdc.log
"""


class Kdc:
    """directory holds krb5.conf, the database, keytabs and caches."""

    def __init__(self, directory, port, realm=REALM):
        self.directory, self.port, self.realm = directory, port, realm
        self.config = f"{directory}/krb5.conf"
        self.env = dict(os.environ, KRB5_CONFIG=self.config, PATH=SBIN,
                        KRB5_KDC_PROFILE=f"{directory}/kdc.conf")
        self.env.pop("KRB5CCNAME", None)

    def create(self, accounts, services):
        """A new realm; writes accounts.keytab and service.keytab (0600)."""
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        values = {"realm": self.realm, "dir": self.directory, "port": self.port}
        for name, text in (("krb5.conf", _KRB5), ("kdc.conf", _KDC)):
            with open(f"{self.directory}/{name}", "w", encoding="ascii") as file:
                file.write(text.format(**values))
        run(["kdb5_util", "-r", self.realm, "create", "-s", "-P", os.urandom(12).hex()], env=self.env)
        self.add(accounts, "accounts.keytab")
        self.add(services, "service.keytab")

    def add(self, principals, keytab):
        """Principals with random keys, their keys added to a keytab."""
        path = f"{self.directory}/{keytab}"
        script = "".join(f"addprinc -randkey {p}\nktadd -k {path} {p}\n" for p in principals)
        text = self.admin(script)
        if not os.path.exists(path):
            raise LabError(f"kadmin.local made no {keytab}:\n{text}")
        os.chmod(path, 0o600)

    def admin(self, script):
        """Commands for kadmin.local, one a line; what it says."""
        return run(["kadmin.local", "-r", self.realm], input=script.encode(), env=self.env)

    def start(self):
        """Runs the KDC and waits until it listens."""
        process = Process.start("krb5kdc", [shutil.which("krb5kdc", path=SBIN) or "krb5kdc", "-n",
                                            "-r", self.realm], f"{self.directory}/kdc.out", self.env)
        if not wait_until(lambda: self.listens() or not process.is_alive(), 10) \
                or not process.is_alive():
            process.stop()
            raise LabError(f"the KDC did not start:\n{process.tail()}")
        return process

    def listens(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def kinit(self, account, cache, *options):
        """Tickets of an account in a new credential cache (a file)."""
        run(["kinit", "-k", "-t", f"{self.directory}/accounts.keytab", "-c", cache, *options,
             f"{account}@{self.realm}"], env=self.env)
