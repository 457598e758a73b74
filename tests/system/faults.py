"""What can go wrong with the identity of a server, as data: one row for each
fault.  The rows drive tests/system/test_faults.py, which makes each fault with
real parts, and docs/FAULTS.md is what those tests saw.

To add a row: write a function that makes the fault and ends with the request
that meets it, and put @fault(...) before it:

    @fault("the key in the keytab is not that of the account", 401, 2000,
           "wrong-key", says=keytab("HTTP/wrongkey.lab.test"))
    def wrong_key(world):
        return world.ask(world.ticket("wrongkey.lab.test"))

what is wrong, in words for the document; the status of the reply (None: there
is no request, and what the function returns does not count); the number of the
event (None: there is none); the cause of docs/AUTH_CAUSES.md or the reason of
docs/REASONS.md (None: neither); says: what rmsctl is asked, and for which words
its line is known (None: `rmsctl explain` of the request, when it was refused).
section=... begins a new table of the document.

world (class World below) has the lab, its keytab with many services, and
tickets of every kind.  What a function changes it puts back by world.undo(f):
done after the row, also when it fails.  An event is looked for by the request's
id; one that has none by event_match=lambda event: ....

Then write the document anew, and look at what has changed in it:

    FAULTS_WRITE=1 make check-system T='-k test_faults'
"""

import contextlib
import itertools
import json
import os
import re
import resource
import signal
import ssl
import threading
import time

import kdc as kdc_module
import keeper_peers as k
import negotiate
import ntlm as ntlm_client
import pac_peers as p
import soap
from cert_peers import Authority, context
from listener_peers import listener
from procs import free_ports, port_lock, wait_until
from relay_peers import ask, field, token

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DOCUMENT = os.path.join(ROOT, "docs", "FAULTS.md")
FAULTS = []
EXCH, STRANGER = "exch01$@LAB.TEST", "stranger$@LAB.TEST"
FORGED = f"{p.CLIENT}@{p.REALM}"
DOMAIN = "S-1-5-21-1-2-3"  # of the tickets in pac_peers
GROUP = f"{DOMAIN}-1200"


class Fault:
    """One row."""

    def __init__(self, run, what, status, event, cause, says, section, event_match):
        self.run, self.what, self.status, self.event = run, what, status, event
        self.cause, self.says, self.section = cause, says, section
        self.event_match, self.name = event_match, run.__name__


def fault(what, status, event, cause, says=None, section=None, event_match=None):
    """Makes a row of the function that follows."""
    def take(run):
        FAULTS.append(Fault(run, what, status, event, cause, says, section, event_match))
        return run
    return take


# ---- what rmsctl is asked ----------------------------------------------------------


def keytab(*words, **env):
    """The line of `rmsctl keytab` with these words."""
    def ask_rmsctl(world):
        facts = world.keytab_facts(**env)
        lines = [l for l in facts["problems"] + facts["notes"] if all(w in l for w in words)]
        assert lines, facts
        return "`rmsctl keytab`: " + lines[0]
    return ask_rmsctl


def explain(account):
    """The verdict of `rmsctl explain`, and its advice."""
    def ask_rmsctl(world):
        told = world.lab.rmsctl_json("explain", account)
        return f"`rmsctl explain`: {told['verdict_text']}. {told['advice']}"
    return ask_rmsctl


def explain_request(world, reply):
    """What `rmsctl explain` knows of a refused request by its id."""
    number = reply.get("X-RMS-Request-Id")
    [told] = world.lab.rmsctl_json("explain", number)["requests"]
    assert (told["request_id"], told["status"]) == (number, reply.status), told
    words = [told["cause"] or told["end"]] + ([told["detail"]] if told["detail"] else [])
    return "`rmsctl explain REQUEST`: " + ": ".join(words)


def status(*words):
    """The line of `rmsctl status` with these words."""
    def ask_rmsctl(world):
        lines = world.lab.rmsctl("status", check=False).stdout.splitlines()
        found = [l.strip().removeprefix("* ") for l in lines if all(w in l for w in words)]
        assert found, lines
        return "`rmsctl status`: " + found[0]
    return ask_rmsctl


def counter(name):
    """That a counter of `rmsctl status --json` has grown by the fault."""
    def ask_rmsctl(world):
        assert world.lab.counters()[name] > world.counters_before[name]
        return f"`rmsctl status --json`: counter `{name}`"
    return ask_rmsctl


# ---- the world that they happen in ---------------------------------------------------


class World:
    """A lab, and beside its own services some whose key is not what it should
    be, and the forger's, which take tickets with any PAC."""

    def __init__(self, lab, directory):
        self.lab, self.dir = lab, str(directory)
        self.forger = p.Forger(self._made("forger"))
        self.addresses, self.undos = itertools.count(1), []
        self.counters_before, self.last_line = {}, None
        self.other, self.authorities = None, {}
        self._make_keytab()
        self._make_config()

    def _made(self, name):
        path = f"{self.dir}/{name}"
        os.makedirs(path, exist_ok=True)
        return path

    def _make_keytab(self):
        names = ("wrongkey", "oldkvno", "aes128", "rc4only")
        self.lab.kdc.admin("".join(f"addprinc -randkey HTTP/{n}.lab.test\n" for n in names)
                           + f"ktadd -norandkey -k {self.dir}/old.keytab HTTP/oldkvno.lab.test\n"
                           "cpw -randkey HTTP/oldkvno.lab.test\n")
        self.lab.keytab_base = self.read(self.lab.env["KEYTAB"])
        own = [e for e in records(self.lab.keytab_base) if b"connector.lab.test" not in e]
        extra = [(f"HTTP/{n}.lab.test", 1, kind, os.urandom(size)) for n, kind, size in (
            ("wrongkey", 18, 32), ("aes128", 17, 16), ("rc4only", 23, 16))]
        data = b"\5\2" + b"".join(own) + self.read(f"{self.dir}/old.keytab")[2:] \
            + k.keytab_bytes("LAB.TEST", extra)[2:] + self.read(self.forger.keytab)[2:]
        self.keytab = f"{self.dir}/service.keytab"
        self.write(self.keytab, data)
        self.lab.configure(keytab=f'"{self.keytab}"')

    def _make_config(self):
        """Kerberos of the forger's clients."""
        self.forged_config = f"{self.dir}/forged.conf"
        self.write(self.forged_config, (
            f"[libdefaults]\n default_realm = {p.REALM}\n dns_lookup_kdc = false\n"
            " dns_canonicalize_hostname = false\n rdns = false\n"
            f"[domain_realm]\n .contoso.test = {p.REALM}\n").encode())

    @staticmethod
    def read(path):
        with open(path, "rb") as file:
            return file.read()

    @staticmethod
    def write(path, data, mode=0o600):
        """The file anew, by a rename."""
        with open(path + ".new", "wb") as file:
            file.write(data)
        os.chmod(path + ".new", mode)
        os.rename(path + ".new", path)

    def undo(self, function):
        """To be called when the row is over."""
        self.undos.append(function)

    def end_row(self):
        """Everything as it was."""
        while self.undos:
            self.undos.pop()()

    # -- tickets: each an Authorization field --

    def ticket(self, host="localhost", account="EXCHANGE"):
        """A ticket that the lab's KDC has just made."""
        os.environ["KRB5_CONFIG"] = self.lab.env["KRB5_CONFIG"]
        return field(token(self.lab, account, host))

    def forged(self, *arguments, **options):
        """A ticket of the forger (pac_peers.Forger.cache)."""
        cache = self.forger.cache(*arguments, **options)
        os.environ["KRB5_CONFIG"] = self.forged_config
        try:
            return field(negotiate.Negotiate(p.SERVICE.partition("/")[2], cache).token())
        finally:
            os.environ["KRB5_CONFIG"] = self.lab.env["KRB5_CONFIG"]

    def header_at(self, offset, cache, config, host):
        """Authorization by a client whose clock is off."""
        code = (f"import sys; sys.path.insert(0, {os.path.dirname(soap.__file__)!r}); "
                f"import negotiate; print(negotiate.header({host!r}))")
        text = kdc_module.run(["/usr/bin/python3", "-c", code], env=dict(
            os.environ, KRB5CCNAME=cache, KRB5_CONFIG=config, **k.faketime_env(offset)))
        return ("Authorization", text.strip())

    # -- requests --

    def ask(self, *fields, tls=True, **options):
        """One request, from an address that no other row uses."""
        address = f"127.0.2.{next(self.addresses)}"
        with self.lab.client(source=address, tls=tls) as client:
            return ask(client, *fields, **options)

    def keytab_facts(self, **env):
        environment = {n: v for n, v in os.environ.items() if not n.startswith("KRB5")}
        environment["KRB5CCNAME"] = f"FILE:{self.dir}/no.cache"
        result = self.lab.rmsctl("--json", "keytab", check=False, env={**environment, **env})
        return json.loads(result.stdout)

    def entry(self, role, subject, *options):
        """An entry of the list while the row runs."""
        self.lab.rmsctl("servers", "add", "--role", role, *options, subject)
        self.undo(lambda: self.lab.rmsctl("servers", "remove", "--force", subject))

    def other_realm(self):
        """A KDC of a realm that nobody here trusts; it ends with the world."""
        if self.other is None:
            with port_lock():
                [port] = free_ports(1)
                kdc = kdc_module.Kdc(self._made("other") + "/kdc", port, "OTHER.TEST")
                kdc.create(["exch01$"], ["HTTP/localhost"])
                self.other = kdc.start()
            kdc.kinit("exch01$", f"{self.dir}/other/cc")
        return f"{self.dir}/other/kdc/krb5.conf", f"FILE:{self.dir}/other/cc"

    def authority(self, name="Servers Root"):
        """Who issues clients' certificates."""
        if name not in self.authorities:
            self.authorities[name] = Authority(f"{self.dir}/pki-{len(self.authorities)}", name)
        return self.authorities[name]

    def end(self):
        if self.other is not None:
            self.other.stop()


def records(data):
    """The records of a keytab, each with its length."""
    out, at = [], 2
    while at < len(data):
        size = int.from_bytes(data[at:at + 4], "big", signed=True)
        out.append(data[at:at + 4 + abs(size)])
        at += 4 + abs(size)
    return out


# ---- the keytab ----------------------------------------------------------------------


@fault("there is no keytab", 401, 2000, "no-keytab", keytab("no keytab is set"),
       section="Keytab")
def no_keytab(world):
    world.lab.configure(keytab=None)
    world.undo(lambda: world.lab.configure(keytab=f'"{world.keytab}"'))
    return world.ask(world.ticket())


def _file(world, data, mode=0o600, words=""):
    """The keytab's file becomes this one; a server asks when that was seen."""
    good = world.read(world.keytab)

    def back():
        world.write(world.keytab, good)
        assert wait_until(lambda: not world.keytab_facts()["fault"], 10, 0.1)
    world.undo(back)
    if data is None:
        os.unlink(world.keytab)
    else:
        world.write(world.keytab, data, mode)
    assert wait_until(lambda: words in (world.keytab_facts()["fault"] or ""), 10, 0.1)
    return world.ask(world.ticket())


_ABOUT_FILE = {"event_match": lambda e: e["reason"]}


@fault("the keytab is replaced by one that is open to others", 200, 3109, None,
       keytab("chmod 600"), **_ABOUT_FILE)
def open_keytab(world):
    return _file(world, world.read(world.keytab), 0o640, "chmod 600")


@fault("the keytab is gone", 200, 3109, None, keytab("No such file"), **_ABOUT_FILE)
def gone_keytab(world):
    return _file(world, None, words="No such file")


@fault("the keytab is cut short", 200, 3109, None, keytab("cut short"), **_ABOUT_FILE)
def cut_keytab(world):
    return _file(world, world.read(world.keytab)[:-3], words="cut short")


@fault("the file is no keytab", 200, 3109, None, keytab("not a keytab"), **_ABOUT_FILE)
def not_a_keytab(world):
    return _file(world, b"x" * 99, words="not a keytab")


@fault("the key is not that of the account (another account has the SPN, or the password was "
       "set twice)", 401, 2000, "wrong-key",
       keytab("HTTP/wrongkey.lab.test", "does not open"))
def wrong_key(world):
    return world.ask(world.ticket("wrongkey.lab.test"))


@fault("the account's password was changed after the keytab was made", 401, 2000, "kvno",
       keytab("HTTP/oldkvno.lab.test", "newest in the keytab"))
def old_version(world):
    return world.ask(world.ticket("oldkvno.lab.test"))


@fault("the keytab lacks the type that the KDC uses (AES-256)", 401, 2000, "enctype",
       keytab("HTTP/aes128.lab.test", "no key of that type"))
def missing_type(world):
    return world.ask(world.ticket("aes128.lab.test"))


@fault("the keytab has an RC4 key only", 401, 2000, "enctype",
       keytab("HTTP/rc4only.lab.test", "RC4"))
def rc4_only(world):
    return world.ask(world.ticket("rc4only.lab.test"))


@fault("the keytab lacks the name that the client uses (wrong SPN)", 401, 2000,
       "no-key-for-spn", keytab("HTTP/connector.lab.test", "a name of the connector's"))
def no_key_for_name(world):
    return world.ask(world.ticket("connector.lab.test"))


# ---- the ticket ------------------------------------------------------------------------


@fault("the client's clock is six minutes off", 401, 2000, "clock-skew", section="Ticket")
def clock_of_client(world):
    world.ticket()  # with a wrong clock the KDC would give none
    return world.ask(world.header_at("+6m", world.lab.env["KRB5CCNAME_EXCHANGE"],
                                     world.lab.env["KRB5_CONFIG"], "localhost"))


@fault("this host's clock is six minutes off", None, None, None,
       keytab("this host's clock", **k.faketime_env("+6m")))
def clock_of_host(world):
    assert world


@fault("the ticket has expired", 401, 2000, "expired")
def expired_ticket(world):
    cache = world.forger.cache(None, with_pac=False, start=-7200, end=-1200)
    return world.ask(world.header_at("-21m", cache, world.forged_config,
                                     p.SERVICE.partition("/")[2]))


@fault("the same token comes again (replay), also through another relay", 401, 2000, "replay",
       counter("auth_replays"))
def replay(world):
    again = world.ticket()
    assert world.ask(again).status == 200
    return world.ask(again, tls=False)


@fault("the same token comes again, and the keeper was replaced meanwhile", 401, 2000,
       "replay", counter("auth_replays"))
def replay_after_a_crash(world):
    again = world.ticket()
    assert world.ask(again).status == 200
    pid = world.lab.kill("keeper")
    world.lab.wait_replaced("keeper", 0, pid)
    return world.ask(again)


@fault("the ticket is of a realm that is not trusted", 401, 2000, "wrong-realm")
def untrusted_realm(world):
    config, cache = world.other_realm()
    os.environ["KRB5_CONFIG"] = config
    try:
        data = negotiate.Negotiate("localhost", cache).token()
    finally:
        os.environ["KRB5_CONFIG"] = world.lab.env["KRB5_CONFIG"]
    return world.ask(field(data))


# ---- the token ---------------------------------------------------------------------------


@fault("there is no token", 401, None, "AUTH_REQUIRED", section="Token")
def no_token(world):
    return world.ask()


@fault("Authorization is not base64", 400, None, "AUTH_MALFORMED")
def not_base64(world):
    return world.ask(("Authorization", "Negotiate YIIB=YII"))


@fault("the token is malformed", 401, 2000, "malformed")
def malformed(world):
    return world.ask(field(b"\x60\x82garbage"))


@fault("the token comes in pieces, a piece with each request", 401, 2000, "malformed")
def in_pieces(world):
    data = token(world.lab)
    address = f"127.0.2.{next(world.addresses)}"
    with world.lab.client(source=address) as client:
        first = ask(client, field(data[:len(data) // 2]))
        assert ask(client, field(data[len(data) // 2:])).status == 401
    return first


@fault("the handshake goes on and on", 401, 2000, "malformed")
def many_legs(world):
    address = f"127.0.2.{next(world.addresses)}"
    with world.lab.client(source=address) as client:
        for _ in range(10):
            reply = ask(client, field(k.spnego_init([k.OID_KRB5])))
            assert reply.status == 401
            if world.lab.access(reply)["end"] == "AUTH_FAILED":
                return reply
    raise AssertionError("it has no end")


@fault("more handshakes are half done than a relay may have (1,024; 4,096 in all)", 503, 2110,
       "AUTH_HALF_DONE", event_match=lambda e: e["reason"].startswith("AUTH_HALF_DONE"))
def half_done(world):
    address, first = f"127.0.2.{next(world.addresses)}", field(k.spnego_init([k.OID_KRB5]))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    world.undo(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)))
    with contextlib.ExitStack() as stack:
        for _ in range(2 * 1024 + 1):  # two relays
            client = stack.enter_context(world.lab.client(source=address, tls=False))
            reply = ask(client, first)
            if reply.status != 401:
                assert world.ask(world.ticket()).status == 200  # Kerberos goes on
                return reply
    raise AssertionError("it has no end")


@fault("the token is larger than 66 kB", 401, 2000, "too-large")
def too_large(world):
    return world.ask(field(bytes(67_000)))


@fault("Authorization is larger than `auth_bytes_max`", 431, None, "AUTH_TOO_LARGE")
def far_too_large(world):
    return world.ask(field(bytes(90_000)))


@fault("NTLM, which is off", 401, 2106, "ntlm")
def ntlm(world):
    return world.ask(field(k.NTLMSSP))


@fault("NTLM inside Negotiate, which is off", 401, 2106, "ntlm")
def ntlm_in_negotiate(world):
    return world.ask(field(k.spnego_init([k.OID_NTLM], k.NTLMSSP)))


def _ntlm(world, account, password, *fields, before=lambda: None):
    """A log-on with NTLM, which is on; the last reply."""
    users = f"{world.dir}/ntlm.users"
    world.write(users, b"CONTOSO:exch01$:Geheim-1\n")
    world.lab.configure(ntlm="true", ntlm_user_file=f'"{users}"')
    world.undo(lambda: world.lab.configure(ntlm=None, ntlm_user_file=None))
    before()
    one, address = ntlm_client.Ntlm(account, password), f"127.0.2.{next(world.addresses)}"
    with world.lab.client(source=address) as client:
        reply = ask(client, field(one.token(), "NTLM"), *fields)
        if ntlm_client.has_challenge(reply, "NTLM"):
            answer = one.token(ntlm_client.challenge(reply, "NTLM"))
            reply = ask(client, field(answer, "NTLM"), *fields)
        return reply


@fault("NTLM with a wrong password", 401, 2000, "logon")
def ntlm_password(world):
    return _ntlm(world, "CONTOSO\\exch01$", "wrong")


@fault("NTLM, and winbind does not answer", 401, 2000, "no-winbind")
def ntlm_without_winbind(world):
    return _ntlm(world, "CONTOSO\\somebody", "x")


@fault("an NTLM process does not answer in time (it waits for a winbind that hangs)", 503, 2109,
       "NTLM_TIMEOUT", status("Event 2109"))
def ntlm_hangs(world):
    world.lab.configure(auth_timeout_ms='"400ms"')
    world.undo(lambda: world.lab.configure(auth_timeout_ms=None))

    def stop():
        for slot in range(2):
            world.lab.kill("ntlm", slot, signal.SIGSTOP)
            world.undo(lambda slot=slot: world.lab.kill("ntlm", slot, signal.SIGCONT))
    return _ntlm(world, "CONTOSO\\exch01$", "Geheim-1", before=stop)


@fault("NTLM through a proxy that shows itself", 401, 2106, "ntlm-proxy")
def ntlm_through_a_proxy(world):
    return _ntlm(world, "CONTOSO\\exch01$", "Geheim-1", ("Via", "1.1 proxy.lab.test"))


@fault("another scheme (Basic)", 401, 2106, "no-mech")
def other_scheme(world):
    return world.ask(field(b"user:password", "Basic"))


@fault("the client is bound to another certificate (somebody stands in between)", 401, 2000,
       "bad-binding")
def wrong_binding(world):
    wrong = negotiate.channel_bindings(b"another certificate")
    return world.ask(field(token(world.lab, bindings=wrong)))


@fault("`channel_binding = require`, and the client is bound to nothing", 401, 2000, "not-bound")
def not_bound(world):
    address = f"127.0.2.{next(world.addresses)}"
    with listener(world.lab, "bound", tls=True, channel_binding="require") as it:
        with it.client(source=address) as client:
            reply = ask(client, world.ticket())
            world.lab.access(reply)  # while the listener is there
            return reply


# ---- groups (PAC) -----------------------------------------------------------------------


def _group_only(world, client, *arguments, **options):
    """A ticket that would come in by its group.  Each row has a client of its
    own: a refusal is told once a minute for each account."""
    world.entry("fci", GROUP)
    return world.ask(world.forged(*arguments, client=client, **options))


IN_GROUP = p.make(groups=[(1200, p.ON)])


@fault("the ticket has no PAC, and the account's group is on the list", 403, 2001,
       "AUTH_DENIED", explain("EXCH11$@CONTOSO.TEST"), section="Groups")
def no_pac(world):
    return _group_only(world, "EXCH11$", None, with_pac=False)


@fault("the PAC is badly signed", 403, 2001, "AUTH_DENIED", explain("EXCH12$@CONTOSO.TEST"))
def badly_signed_pac(world):
    return _group_only(world, "EXCH12$", IN_GROUP, good=False)


@fault("the PAC is malformed", 403, 2001, "AUTH_DENIED", explain("EXCH13$@CONTOSO.TEST"))
def malformed_pac(world):
    return _group_only(world, "EXCH13$", IN_GROUP[:-8])


@fault("in the place of the PAC is something else", 401, 2000, "pac")
def no_pac_at_all(world):
    return _group_only(world, "EXCH16$", None, garbage=bytes(8))


@fault("more than 1,200 SIDs", 403, 2001, "AUTH_DENIED", explain("EXCH14$@CONTOSO.TEST"))
def too_many_sids(world):
    return _group_only(world, "EXCH14$", p.make(groups=[(1200 + n, p.ON) for n in range(1201)]))


@fault("the group counts for denying only", 403, 2001, "AUTH_DENIED",
       explain("EXCH15$@CONTOSO.TEST"))
def deny_only(world):
    return _group_only(world, "EXCH15$", p.make(groups=[(1200, p.DENY_ONLY)]))


# ---- the list ------------------------------------------------------------------------------


@fault("the account is not on the list", 403, 2001, "AUTH_DENIED", explain(STRANGER),
       section="List")
def not_on_the_list(world):
    return world.ask(world.ticket(account="STRANGER"))


@fault("its entry has expired", 403, 2001, "AUTH_EXPIRED", explain(f"EXCH21$@{p.REALM}"))
def expired_entry(world):
    soon = int(time.time()) + 2
    world.entry("fci", f"EXCH21$@{p.REALM}", "--expires",
                time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(soon)))
    assert wait_until(lambda: time.time() > soon, 5)
    return world.ask(world.forged(IN_GROUP, client="EXCH21$"))


@fault("the list is empty", 403, 2003, "TABLE_EMPTY", explain(EXCH),
       event_match=lambda e: True)
def empty_list(world):
    servers = world.lab.rmsctl_json("servers", "list")["servers"]

    def back():
        for s in servers:
            world.lab.rmsctl("servers", "add", "--role", s["role"], "--name", s["name"],
                             s["subject"])
    world.undo(back)
    for s in servers:
        world.lab.rmsctl("servers", "remove", "--force", s["subject"])
    return world.ask(world.ticket())


def _refused_by_rmsctl(*arguments, account=None):
    """account: whose ticket it has."""
    def ask_rmsctl(world):
        env = dict(os.environ, KRB5CCNAME=world.lab.env["KRB5CCNAME_" + account],
                   KRB5_CONFIG=world.lab.env["KRB5_CONFIG"]) if account else None
        result = world.lab.rmsctl(*arguments, check=False, env=env)
        assert result.returncode == 1
        return "`rmsctl " + " ".join(arguments[:2]) + "`: " + result.stderr.removeprefix(
            "rmsctl: ").strip()
    return ask_rmsctl


@fault("the role exchange for a group that everybody is in", None, None, None,
       _refused_by_rmsctl("servers", "add", "--role", "exchange", "S-1-1-0"))
def wide_group(world):
    assert world


@fault("the directory does not answer when a server is added by name", None, None, None,
       _refused_by_rmsctl("servers", "add", "--role", "fci", "--server", "ldap://localhost:9",
                          "Exchange Servers", account="EXCHANGE"))
def directory_is_down(world):
    assert world


@fault("a file with a bad row is imported", None, None, None,
       lambda world: "`rmsctl servers import`: " + world.told)
def bad_row(world):
    path = f"{world.dir}/servers.csv"
    world.write(path, b"subject,role\nS-1-5-21-1-2-3-4711,fci\nnew01$@LAB.TEST,admin\n")
    result = world.lab.rmsctl("servers", "import", path, check=False)
    assert result.returncode == 1
    assert len(world.lab.rmsctl_json("servers", "list")["servers"]) == 3
    world.told = " ".join(result.stderr.split())


@fault("entries that match an account disagree", 200, 2103, None, explain(FORGED),
       event_match=lambda e: e["account"] == FORGED)
def conflict(world):
    world.entry("fci", FORGED)
    world.entry("sharepoint", f"{DOMAIN}-1103")
    return world.ask(world.forged(IN_GROUP))


# ---- the client's certificate ------------------------------------------------------------


def _certified(world, pem, mode="ask", between=None, **directives):
    """One request with this certificate (None: without) where servers have
    theirs of world.authority(); between: a change after the handshake.  None when
    the handshake fails."""
    with listener(world.lab, "certs", tls=True, client_certificate=mode,
                  client_ca=world.authority().pem, **directives) as it:
        tls = context(world.lab.env["CONNECTOR_CA"], pem)
        with it.client(context=tls, source=f"127.0.2.{next(world.addresses)}") as client:
            try:
                if between:
                    assert ask(client).status in (200, 401)
                    between(it)
                return ask(client)
            except (ssl.SSLError, ConnectionError, soap.BadReply):
                return None


def _handshake(what, cause, event=2000, **options):
    """A row of a handshake that fails."""
    return fault(what, None, event, cause, counter("auth_failed"),
                 event_match=lambda e: f"({cause})" in e["reason"], **options)


@_handshake("the client's certificate is of an issuer that is not in `client_ca`",
            "cert-unknown-ca", section="Client's certificate")
def cert_of_another(world):
    return _certified(world, world.authority("Other Root").issue("other", "/CN=exch09"))


@_handshake("the client's certificate has expired", "cert-expired")
def cert_expired(world):
    return _certified(world, world.authority().issue("expired", "/CN=exch09", end=-60))


@_handshake("the client's certificate is one of a server (no clientAuth)", "cert-purpose")
def cert_of_a_server(world):
    return _certified(world, world.authority().issue("server", "/CN=exch09", "server"))


def _list(world, **options):
    path = f"{world.dir}/list.pem"
    world.write(path, world.authority().crl(**options).encode())
    return path


@_handshake("the client's certificate is revoked", "cert-revoked")
def cert_revoked(world):
    pem = world.authority().issue("revoked", "/CN=exch09")
    world.authority().revoke(pem)
    return _certified(world, pem, client_crl=_list(world))


@fault("it is revoked while the client is connected", 401, 2000, "cert-revoked")
def cert_revoked_later(world):
    pem = world.authority().issue("later", "/CN=exch08")
    world.entry("exchange", "cert:CN=exch08")

    def revoke(it):
        world.authority().revoke(pem)
        _list(world)
        it.change()
    return _certified(world, pem, between=revoke, client_crl=_list(world))


@_handshake("the revocation list in `client_crl` is out of date", "cert-crl", 2141)
def cert_list_is_old(world):
    return _certified(world, world.authority().issue("listed", "/CN=exch09"),
                      client_crl=_list(world, until=-60, start=-7200))


@_handshake("the listener requires a certificate, and the client has none", "cert-missing")
def cert_missing(world):
    return _certified(world, None, "require")


@fault("the listener requires one from a reload on, and the client is connected without", 401,
       2000, "cert-missing")
def cert_missing_later(world):
    return _certified(world, None, between=lambda it: it.change(client_certificate="require"))


@fault("the client's certificate names nobody (its subject is empty)", 401, 2000, "cert-name")
def cert_without_a_name(world):
    return _certified(world, world.authority().issue("empty", "/", raw=True))


@fault("no entry names the certificate's subject", 403, 2001, "AUTH_DENIED",
       explain("cert:CN=exch07"))
def cert_not_on_the_list(world):
    return _certified(world, world.authority().issue("unlisted", "/CN=exch07"))


# ---- the keeper ------------------------------------------------------------------------------


@fault("the keeper does not answer in time", 503, 2104, "AUTH_TIMEOUT", status("Event 2104"),
       section="Keeper")
def keeper_hangs(world):
    world.lab.configure(auth_timeout_ms='"400ms"')
    world.undo(lambda: world.lab.configure(auth_timeout_ms=None))
    world.lab.kill("keeper", number=signal.SIGSTOP)
    world.undo(lambda: world.lab.kill("keeper", number=signal.SIGCONT))
    # without TLS, whose handshakes need the keeper too
    return world.ask(world.ticket(), tls=False)


@fault("the keeper has more to do than `keeper_queue_max`", 503, 2104, "AUTH_BUSY",
       counter("auth_busy"))
def keeper_busy(world):
    world.lab.configure(keeper_queue_max="1", auth_timeout_ms='"5s"')
    world.undo(lambda: world.lab.configure(keeper_queue_max=None, auth_timeout_ms=None))
    fields, answers = [world.ticket() for _ in range(12)], []
    before = world.lab.counters()["requests"]
    world.lab.kill("keeper", number=signal.SIGSTOP)
    threads = [threading.Thread(target=lambda f=f: answers.append(world.ask(f, tls=False)))
               for f in fields]
    try:
        for thread in threads:
            thread.start()
        assert wait_until(lambda: world.lab.counters()["requests"] == before + 12, 5)
    finally:
        world.lab.kill("keeper", number=signal.SIGCONT)
        for thread in threads:
            thread.join(10)
    [busy, *_] = [a for a in answers if a.status == 503]
    return busy


@fault("the keeper ends while a request waits for it", 503, 3101, "AUTH_DOWN",
       status("Event 3101"), event_match=lambda e: e["reason"].startswith("keeper"))
def keeper_ends(world):
    answers = []
    pid = world.lab.kill("keeper", number=signal.SIGSTOP)
    data = world.ticket()
    thread = threading.Thread(target=lambda: answers.append(world.ask(data, tls=False)))
    try:
        before = world.lab.counters()["requests_open"]
        thread.start()
        assert wait_until(lambda: world.lab.counters()["requests_open"] > before, 5)
    finally:
        world.lab.kill("keeper")
        thread.join(10)
    world.lab.wait_replaced("keeper", 0, pid)
    return answers[0]


# ---- the document ------------------------------------------------------------------------------

HEAD = """<!-- Made by tests/system/test_faults.py from what it saw: see tests/system/faults.py. -->
# What goes wrong with a server's identity, and who says what

Every line is a test that makes the fault with real parts: what the server gets, which event is told, what `rmsctl` says of it, and what would do. A cause in small letters is one of [AUTH_CAUSES.md](AUTH_CAUSES.md), one in capitals a reason of [REASONS.md](REASONS.md) and of the access log. Times, files, numbers and keys that differ from run to run are written in capitals or as N.
"""
COLUMNS = ("fault", "status", "cause", "event", "what rmsctl says", "what would do")

_VARIABLE = (
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"), (r"(?<![\w<])(?<!:/)/(?!/)[\w./-]*\w", "FILE"),
    (r"\b127\.0\.\d+\.\d+\b", "ADDRESS"), (r"\b(relay|pid) \d+", r"\1 N"), (r"kvno \d+", "kvno N"),
    (r"(relay N, )(relay N, )+", r"\1"),  # one or all of them
    (r"version \d+", "version N"), (r"entry \d+", "entry N"),
    (r"remove \d+", "remove N"), (r"generation \d+", "generation N"),
    (r"\d+ times?\b", "N times"), (r"\d+\.\d+ s\b", "N s"), (r"\d+ entr(y|ies)\b", "N entries"),
    (r"\b[0-9a-f]{16,}\b", "ID"), (r"\(list \d+\)", "(list N)"),
)


def plain(text):
    """Without what differs from run to run, fit for a cell."""
    for pattern, word in _VARIABLE:
        text = re.sub(pattern, word, text)
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


def _def_rows(name, pattern):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return {m[1]: m for m in re.finditer(pattern, file.read())}


EVENTS = _def_rows("master/events.def",
                   r'EVENT\((\d+), \w+, \w+, "((?:[^"\\]|\\.)*)", "((?:[^"\\]|\\.)*)"\)')
CAUSES = _def_rows("shm/auth_causes.def",
                   r'AUTH_CAUSE\((\w+), "((?:[^"\\]|\\.)*)", "((?:[^"\\]|\\.)*)"\)')


def line(row, event, says):
    """The document's line for what was seen of a fault."""
    remedy = told = ""
    if event:
        told = f"{event['id']}: {event['reason'] if 'reason' in event else event['text']}"
        remedy = EVENTS[str(event["id"])][3]
        cause = CAUSES.get((row.cause or "").upper().replace("-", "_"))
        if cause:
            assert told.endswith("; " + cause[3]), told
            told = f"{event['id']}: {cause[2]}"
            remedy = cause[3]
    if event and says and event.get("reason"):
        says = says.replace(event["reason"], "(as the event)")
    cells = (row.what, str(row.status or "–"), row.cause or "–", told or "–", says or "–",
             remedy or "–")
    return "| " + " | ".join(plain(c) for c in cells) + " |"


def document(lines):
    """The whole document; lines by name of the row."""
    out = [HEAD]
    for row in FAULTS:
        if row.section:
            out.append(f"\n## {row.section}\n\n| " + " | ".join(COLUMNS) + " |\n"
                       + "|---" * len(COLUMNS) + "|\n")
        out.append(lines[row.name] + "\n")
    return "".join(out)


def kept_lines():
    """The lines of the tables in the document as it is kept, in their order."""
    if not os.path.exists(DOCUMENT):
        return []
    with open(DOCUMENT, encoding="utf-8") as file:
        return [l.rstrip("\n") for l in file
                if l.startswith("| ") and not l.startswith("| fault |")]
