"""What the keeper talks to: a KDC of its own, tokens, keytabs, and the driver
that plays its master and its relays (tests/fault/keeper_driver.c).

Run as a script it prints one token: keeper_peers.py SERVICE (under faketime,
whose clock the rest of the tests must not have)."""

import glob
import json
import os
import queue
import socket
import struct
import subprocess
import sys
import threading
import time

import gssapi
import gssapi.raw

REALM = "LAB.TEST"
SERVICE = "HTTP/connector.lab.test"
CLIENT = "exch01$"
KRB5 = gssapi.OID.from_int_seq("1.2.840.113554.1.2.2")
SPNEGO = gssapi.OID.from_int_seq("1.3.6.1.5.5.2")
WAIT_S = 20
PATH = "/usr/sbin:/sbin:/usr/bin:/bin"

_KRB5_CONF = """[libdefaults]
 default_realm = {realm}
 dns_lookup_kdc = false
 dns_canonicalize_hostname = false
 rdns = false
 default_ccache_name = FILE:{dir}/cache
[realms]
 {realm} = {{
  kdc = 127.0.0.1:{port}
 }}
"""
_KDC_CONF = """[kdcdefaults]
 kdc_listen = 127.0.0.1:{port}
 kdc_tcp_listen = 127.0.0.1:{port}
[realms]
 {realm} = {{
  database_name = {dir}/principal
  key_stash_file = {dir}/stash
  acl_file = {dir}/acl
  supported_enctypes = aes256-cts:normal aes128-cts:normal
 }}
[logging]
 kdc = FILE:{dir}/kdc.log
"""


def faketime_env(offset):
    """Environment of a process whose clock is off by "-6m".  (faketime's program stays in between as a parent.)"""
    lib = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    assert lib, "the package faketime is missing: tools/deps check"
    return {"LD_PRELOAD": lib[0], "FAKETIME": offset}


class Kdc:
    """A realm with one client and one service, whose key is in its second
    version: old.keytab has the first, good.keytab both."""

    def __init__(self, directory):
        self.dir = str(directory)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        for name, text in (("krb5.conf", _KRB5_CONF), ("kdc.conf", _KDC_CONF)):
            with open(f"{self.dir}/{name}", "w", encoding="ascii") as file:
                file.write(text.format(realm=REALM, dir=self.dir, port=port))
        self.config = f"{self.dir}/krb5.conf"
        self.env = dict(os.environ, PATH=PATH, KRB5_CONFIG=self.config,
                        KRB5_KDC_PROFILE=f"{self.dir}/kdc.conf",
                        KRB5CCNAME=f"FILE:{self.dir}/cache")
        self.run("kdb5_util", "-r", REALM, "create", "-s", "-P", "master")
        self.admin(f"addprinc -pw pw {CLIENT}", f"addprinc -randkey {SERVICE}",
                   "addprinc -randkey HTTP/other.lab.test",
                   f"ktadd -norandkey -k {self.dir}/old.keytab {SERVICE}",
                   f"ktadd -norandkey -k {self.dir}/other.keytab HTTP/other.lab.test",
                   f"cpw -randkey {SERVICE}",
                   f"ktadd -norandkey -k {self.dir}/good.keytab {SERVICE}")
        # Tickets that began ten minutes ago: a client whose clock is behind uses them too.
        past = faketime_env("-10m")
        self.process = subprocess.Popen(["krb5kdc", "-r", REALM, "-n"], env={**self.env, **past},
                                        stdin=subprocess.DEVNULL)
        end = time.monotonic() + WAIT_S
        while socket.socket().connect_ex(("127.0.0.1", port)) != 0:
            assert time.monotonic() < end and self.process.poll() is None, "no KDC"
            time.sleep(0.02)
        self.run("kinit", CLIENT, input=b"pw\n", **past)
        self.run("kvno", SERVICE, **past)

    def run(self, *argv, input=None, **env):
        return subprocess.run(argv, env={**self.env, **env}, check=True, input=input,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout

    def admin(self, *commands):
        self.run("kadmin.local", "-r", REALM, input="\n".join(commands).encode() + b"\n")

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def use(self):
        """This process's Kerberos is the lab's."""
        for name in ("KRB5_CONFIG", "KRB5CCNAME"):
            os.environ[name] = self.env[name]

    def keytab(self, name):
        return f"{self.dir}/{name}.keytab"

    def write_keytab(self, name, entries):
        """A keytab of (principal, kvno, enctype, key)."""
        return self.write(f"{name}.keytab", keytab_bytes(REALM, entries))

    def write(self, name, data):
        path = f"{self.dir}/{name}"
        with open(path, "wb") as file:
            file.write(data)
        return path

    def token_at(self, offset):
        """A token made by a client whose clock is off, "-6m"."""
        return bytes.fromhex(self.run(sys.executable, __file__, SERVICE,
                                      **faketime_env(offset)).decode())


def keytab_bytes(realm, entries):
    """A keytab of (principal, kvno, enctype, key)."""
    out = b"\5\2"
    for principal, kvno, enctype, key in entries:
        parts = principal.split("/")
        e = struct.pack(">H", len(parts)) + counted(realm)
        e += b"".join(counted(p) for p in parts)
        e += struct.pack(">IIBHH", 1, 0, kvno & 255, enctype, len(key)) + key
        e += struct.pack(">I", kvno)
        out += struct.pack(">i", len(e)) + e
    return out


def counted(text):
    return struct.pack(">H", len(text)) + text.encode()


def client(mech=SPNEGO, binding=None, service=SERVICE, mutual=True):
    """A client's context that has not sent anything."""
    name = gssapi.Name(f"{service}@{REALM}", gssapi.NameType.kerberos_principal)
    flags = [gssapi.RequirementFlag.mutual_authentication] if mutual else []
    bindings = gssapi.raw.ChannelBindings(application_data=binding) if binding else None
    return gssapi.SecurityContext(name=name, mech=mech, usage="initiate", flags=flags,
                                  channel_bindings=bindings)


def token(**options):
    return client(**options).step()


def der(tag, *content):
    data = b"".join(content)
    n = len(data)
    if n < 128:
        return bytes((tag, n)) + data
    size = n.to_bytes((n.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(size))) + size + data


OID_SPNEGO = bytes.fromhex("06062b0601050502")
OID_KRB5 = bytes.fromhex("06092a864886f712010202")
OID_NTLM = bytes.fromhex("060a2b06010401823702020a")
NTLMSSP = b"NTLMSSP\0\1\0\0\0\x07\x82\x08\xa2" + bytes(24)


def spnego_init(mechs, inner=None):
    fields = [der(0xa0, der(0x30, *mechs))]
    if inner is not None:
        fields.append(der(0xa2, der(0x04, inner)))
    return der(0x60, OID_SPNEGO, der(0xa0, der(0x30, *fields)))


def spnego_answer(inner):
    return der(0xa1, der(0x30, der(0xa2, der(0x04, inner))))


class Keeper:
    """One rms-keeper under the driver's hands."""

    def __init__(self, build, log):
        env = {k: v for k, v in os.environ.items() if not k.startswith("KRB5")}
        self.log = log
        self.process = subprocess.Popen(
            [f"{build}/fault/keeper_driver", f"{build}/bin/rms-keeper", f"{build}/bin/rms-ntlm"],
            env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(log, "ab"))
        self.lines, self.unread, self.next_id = queue.Queue(), [], 1
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))

    def say(self, *words):
        self.process.stdin.write((" ".join(str(w) for w in words) + "\n").encode())
        self.process.stdin.flush()

    def wait(self, what, **members):
        """The next line of this kind; others are kept for later."""
        end = time.monotonic() + WAIT_S
        while True:
            for i, line in enumerate(self.unread):
                if line["what"] == what and all(line.get(k) == v for k, v in members.items()):
                    return self.unread.pop(i)
            try:
                self.unread.append(self.lines.get(timeout=max(0, end - time.monotonic())))
            except queue.Empty:
                with open(self.log, encoding="utf-8", errors="replace") as file:
                    raise AssertionError(f"no {what} {members}; there are {self.unread}\n"
                                         + file.read()[-4000:]) from None

    def start(self, config, keytab, **settings):
        self.say("set krb5_config", config)
        for name, value in settings.items():
            self.say("set", name, value)
        self.say("keytab", keytab or "-")
        self.say("start")
        self.say("peer 0")
        self.say("apply")
        self.wait("ready")
        return self.wait("status")

    def reload(self, keytab):
        self.say("keytab", keytab or "-")
        self.say("apply")
        self.wait("ready")
        return self.wait("status")

    def news(self, keytab):
        """The keytab's file has changed, and nothing else."""
        self.say("news", keytab)
        return self.wait("status")

    def step(self, data, slot=0, number=None, first=True, binding=b"", deadline=10000,
             further=(), must_bind=False):
        """Sends one leg and waits for the answer.  binding is the connection's
        own, further are those of others."""
        number = number or self.new_id()
        bindings = ([binding] if binding else []) + list(further)
        self.say("step", slot, number, int(first), deadline, int(must_bind), int(bool(binding)),
                 ",".join(b.hex() for b in bindings) or "-", data.hex() or "-")
        return self.wait("auth", slot=slot, id=number)

    def new_id(self):
        self.next_id += 1
        return self.next_id

    def sign(self, index, op, data, slot=0):
        number = self.new_id()
        self.say("sign", slot, number, index, op, data.hex())
        answer = self.wait("sign", slot=slot, id=number)
        return bytes.fromhex(answer["data"]) if answer["ok"] else None

    def stats(self):
        self.say("stats")
        return self.wait("stats")

    def stop(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait(WAIT_S)


if __name__ == "__main__":
    print(token(service=sys.argv[1]).hex())
