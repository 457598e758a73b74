"""Entries by name: rmsctl and a real Active Directory (Samba).

rmsctl runs beside the DC, in its network; the control socket is a path."""

import json
import os
import shlex
import subprocess
import sys

import pytest

import ad as ad_lab
from conftest import using
from test_rmsctl import OK, REFUSED, USAGE, ended

DC = f"ldap://{ad_lab.HOST}"
DN = "DC=contoso,DC=test"


@pytest.fixture(scope="module")
def domain(module_ad):
    return module_ad()


@pytest.fixture(scope="module")
def krb5(domain):
    """The DC by its name: what answers at an address has no ticket."""
    path = domain.path("krb5-names.conf")
    with open(domain.config, encoding="ascii") as file:
        text = file.read().replace(f"kdc = {ad_lab.ADDRESS}", f"kdc = {ad_lab.HOST}")
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    return path


@pytest.fixture(scope="module")
def sids(domain):
    return domain.sids()


@pytest.fixture(scope="module")
def _lab(module_lab):
    return module_lab(workers=1, servers=False)


@pytest.fixture
def lab(_lab):
    yield from using(_lab)
    for entry in entries(_lab):
        _lab.rmsctl("servers", "remove", "--force", str(entry["entry"]))


@pytest.fixture(scope="module")
def ticket(domain, krb5):  # pylint: disable=unused-argument
    """Of an account that may read the directory, as any may."""
    return domain.tickets("alice", f"ldap/{ad_lab.HOST}")


def entries(lab):
    return lab.rmsctl_json("servers", "list")["servers"]


def ctl(lab, domain, *arguments, ticket=None, env=None, mount=None):
    """rmsctl on the DC's network; mount: a file in the place of another."""
    environment = dict(os.environ, KRB5_CONFIG=domain.path("krb5-names.conf"))
    for name in [n for n in environment if n.startswith("KRB5CCNAME")]:
        del environment[name]
    environment["KRB5CCNAME"] = ticket or "FILE:/nonexistent/cc"
    environment.update(env or {})
    over = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"',
            str(mount[0]), mount[1]] if mount else []
    return subprocess.run(["nsenter", "-t", str(domain.dc.pid), "--net", "--mount", *over,
                           *shlex.split(lab.env["RMSCTL"]), *arguments],
                          env=environment, capture_output=True, text=True, timeout=120,
                          check=False, stdin=subprocess.DEVNULL)


def nothing_stored(lab):
    assert not entries(lab)
    return True


# ---- names that are found ------------------------------------------------------

@pytest.mark.parametrize("name", [
    r"CONTOSO\Exchange Servers", r"contoso\exchange servers", "Exchange Servers",
    f"CN=Exchange Servers,CN=Users,{DN}"])
def test_a_group_by_every_name(lab, domain, sids, ticket, name):
    done = ended(ctl(lab, domain, "servers", "add", "-r", "exchange", name, ticket=ticket), OK,
                 f"SID      {sids['Exchange Servers']}", f"CN=Exchange Servers,CN=Users,{DN}",
                 "security group, universal", "members  1 account", ad_lab.HOST)
    assert "single" not in done.stderr and "Microsoft" not in done.stderr
    entry, = entries(lab)
    assert entry["subject"] == sids["Exchange Servers"] and entry["role"] == "exchange"
    assert entry["name"] == r"CONTOSO\Exchange Servers"


@pytest.mark.parametrize("name, account, kind", [
    ("EXCH01$", "EXCH01$", "computer"), (r"CONTOSO\EXCH01$", "EXCH01$", "computer"),
    ("EXCH01", "EXCH01$", "computer"),  # by its common name
    (r"CONTOSO\alice", "alice", "user"), ("jörg", "jörg", "user"),
    (r"CONTOSO\Büro Köln", "Büro Köln", "group"), ("File Servers", "File Servers", "group"),
    ("Ops*(Köln)&|!", "ops-star", "group"), ("Domain Computers", "Domain Computers", "group"),
    (rf"CN=Slash\\ and\, comma \#1,CN=Users,{DN}", "ops-slash", "group")])
def test_accounts_and_groups(lab, domain, sids, ticket, name, account, kind):
    told = json.loads(ended(ctl(lab, domain, "--json", "servers", "add", "-r", "fci", "--name",
                                "mine", name, ticket=ticket), OK).stdout)
    assert told["subject"] == told["directory"]["sid"] == sids[account]
    assert kind in told["directory"]["kind"] and told["directory"]["server"] == ad_lab.HOST
    assert entries(lab)[0]["name"] == "mine"


@pytest.mark.parametrize("name", ["alice@contoso.test", "ALICE@CONTOSO.TEST", "ali@example.test"])
def test_a_upn_only_when_asked(lab, domain, sids, ticket, name):
    """Without --lookup it is a Kerberos principal, as ever; no directory."""
    ended(ctl(lab, domain, "servers", "add", "-r", "fci", name), OK)
    assert entries(lab)[0]["subject"] == name
    ended(ctl(lab, domain, "servers", "add", "-r", "fci", "--lookup", name, ticket=ticket), OK)
    assert entries(lab)[1]["subject"] == sids["alice"]


def test_a_upn_of_another_domain(lab, domain, ticket):
    """The account's name is that of one here, the domain is not ours."""
    ended(ctl(lab, domain, "servers", "lookup", "alice@fabrikam.test", ticket=ticket), REFUSED,
          "no account or group", "a server of that one")


def test_single_accounts_get_a_note(lab, domain, ticket):
    ended(ctl(lab, domain, "servers", "add", "-r", "exchange", "EXCH01$", ticket=ticket), OK,
          "Microsoft asks for a group")


def test_members_are_counted_through_groups(lab, domain, ticket):
    for name, count in (("Rights Clients", 2), ("bulk", None), ("Bulk0500", 1),
                        ("Domain Computers", 4)):
        done = ended(ctl(lab, domain, "servers", "lookup", name, ticket=ticket), OK)
        if count is not None:
            assert f"members  {count} account" in done.stdout, done
        else:
            assert "members" not in done.stdout
    assert nothing_stored(lab)


def test_a_look_up_needs_no_connector(lab, domain, ticket):
    done = ended(ctl(lab, domain, "-s", "/nonexistent", "servers", "lookup", "File Servers",
                     ticket=ticket), OK, "security group, domain-local")
    assert not done.stderr


def test_the_wide_ones_stay_guarded(lab, domain, ticket):
    ended(ctl(lab, domain, "servers", "add", "-r", "exchange", "Domain Users", ticket=ticket),
          REFUSED, "is Domain Users:", "--force")
    assert nothing_stored(lab)


# ---- names that are not, or are no good ------------------------------------------

@pytest.mark.parametrize("name, text", [
    ("Exchange News", "distribution group"), (r"CONTOSO\Exchange News", "no ticket"),
    ("Administrators", "local group of the domain controllers"),
    ("Twin", "is the name of 2;"),
    ("Ops*", 'no account or group "Ops*"'), ("*", "no account or group"),
    ("EXCH09$", "no account or group"), ("nobody", "ends with $"),
    (r"CONTOSO\Ops*(Köln)&|!", "no account or group"),  # its account name is another
    (r"FABRIKAM\alice", "has no domain FABRIKAM (this one is CONTOSO)"),
    (f"CN=Nobody,{DN}", "no account or group"), ("CN=x,CN=y", "no account or group"),
    (r"CONTOSO\x)(objectClass=*", "no account or group"), ("CN=,", "no account or group")])
def test_nothing_is_stored(lab, domain, ticket, name, text):
    ended(ctl(lab, domain, "servers", "add", "-r", "fci", name, ticket=ticket), REFUSED, text,
          "nothing was stored" if "no account" in text or "name of" in text else "")
    assert nothing_stored(lab)


def test_candidates_are_listed(lab, domain, sids, ticket):
    ended(ctl(lab, domain, "servers", "add", "-r", "fci", "Twin", ticket=ticket), REFUSED,
          sids["twin-a"], sids["twin-b"], "twin-a", "OU=Other")


def test_what_a_person_should_know(lab, domain, ticket):
    for name, text in (("gone", "is disabled"), ("Empty Group", "has no members"),
                       ("File Servers", "another realm")):
        ended(ctl(lab, domain, "servers", "add", "-r", "fci", name, ticket=ticket), OK,
              "warning: ", text)


def test_local_names(lab, domain, ticket):
    for name in (r"BUILTIN\Administrators", r".\alice"):
        ended(ctl(lab, domain, "servers", "add", "-r", "fci", name, ticket=ticket), USAGE,
              "never in a ticket")
    ended(ctl(lab, domain, "servers", "add", "-r", "fci", "--no-lookup", r"CONTOSO\EXCH01$"), OK)
    assert entries(lab)[0]["subject"] == r"CONTOSO\EXCH01$"


# ---- who asks ---------------------------------------------------------------------

def test_with_a_keytab(lab, domain, sids, krb5):  # pylint: disable=unused-argument
    accounts = domain.path("accounts.keytab")
    ended(ctl(lab, domain, "servers", "add", "-r", "fci", "EXCH01$", "--keytab", accounts), OK)
    assert entries(lab)[0]["subject"] == sids["EXCH01$"]
    # the connector's own holds services only
    service = domain.service_keytab
    ended(ctl(lab, domain, "servers", "lookup", "EXCH02$", "--keytab", service), REFUSED,
          "keys of services only", "--principal")
    ended(ctl(lab, domain, "servers", "lookup", "EXCH02$", "--keytab", service, "--principal",
              f"svc-rms@{ad_lab.REALM}"), OK, sids["EXCH02$"])
    ended(ctl(lab, domain, "servers", "lookup", "EXCH02$", "--keytab", service, "--principal",
              f"alice@{ad_lab.REALM}"), REFUSED, "no ticket with keytab")
    ended(ctl(lab, domain, "servers", "lookup", "EXCH02$", "--keytab", "/nonexistent"), REFUSED,
          "/nonexistent")


def test_without_a_ticket(lab, domain, sids):
    ended(ctl(lab, domain, "servers", "add", "-r", "fci", "EXCH01$"), REFUSED,
          "no Kerberos ticket for the directory", "kinit", "nothing was stored")
    assert nothing_stored(lab)
    ended(ctl(lab, domain, "servers", "add", "-r", "fci", sids["EXCH01$"]), OK)


# ---- which server, and how --------------------------------------------------------

def test_over_tls(lab, domain, sids, ticket):
    tls = f"ldaps://{ad_lab.HOST}"
    ca = domain.path("tls/ca.pem")
    ended(ctl(lab, domain, "servers", "lookup", "EXCH01$", "--server", tls, "--cacert", ca,
              ticket=ticket), OK, sids["EXCH01$"])
    ended(ctl(lab, domain, "servers", "lookup", "EXCH01$", "--server", tls, ticket=ticket),
          REFUSED, "certificate")
    ended(ctl(lab, domain, "servers", "lookup", "EXCH01$", "--server", tls, "--cacert",
              "/nonexistent", ticket=ticket), REFUSED)


def test_no_file_lowers_the_guard(lab, domain, ticket, tmp_path):
    """What stands in libldap's own configuration does not count."""
    rc = tmp_path / "ldaprc"
    rc.write_text("TLS_REQCERT never\nSASL_SECPROPS maxssf=0\n")
    ended(ctl(lab, domain, "servers", "lookup", "EXCH01$", "--server", f"ldaps://{ad_lab.HOST}",
              ticket=ticket, env={"LDAPTLS_REQCERT": "never", "LDAPCONF": str(rc)}),
          REFUSED, "certificate")


@pytest.mark.parametrize("server", ["http://x", "dc1.contoso.test", "ldap://", "ldap://a ldap://b"])
def test_servers_that_are_none(lab, domain, ticket, server):
    ended(ctl(lab, domain, "servers", "lookup", "x", "--server", server, ticket=ticket), REFUSED,
          "is no ldap://HOST")


def test_nobody_listens(lab, domain, ticket):
    ended(ctl(lab, domain, "servers", "add", "-r", "fci", "EXCH01$", "--server", DC + ":9",
              ticket=ticket), REFUSED, "Can't contact LDAP server", "nothing was stored")
    assert nothing_stored(lab)


LISTENER = """
import socket, sys, time
s = socket.create_server(("127.0.0.10", 0))
print(s.getsockname()[1], flush=True)
held = []
while True:
    held.append(s.accept())
"""


@pytest.mark.parametrize("scheme", ["ldap", "ldaps"])
def test_a_server_that_says_nothing(lab, domain, ticket, scheme):
    with subprocess.Popen(["nsenter", "-t", str(domain.dc.pid), "--net", sys.executable, "-c",
                           LISTENER], stdout=subprocess.PIPE, text=True) as silent:
        try:
            port = silent.stdout.readline().strip()
            ended(ctl(lab, domain, "servers", "add", "-r", "fci", "EXCH01$", "--server",
                      f"{scheme}://{ad_lab.HOST}:{port}", "--timeout", "1", ticket=ticket),
                  REFUSED, "nothing was stored")
        finally:
            silent.kill()
    assert nothing_stored(lab)


@pytest.mark.parametrize("host", [ad_lab.ADDRESS, "exch01.contoso.test"])
def test_a_server_that_is_another(lab, domain, ticket, tmp_path, host):
    """No ticket for an address; and who answers by a name that has one, but
    not its key, is not believed."""
    hosts = tmp_path / "hosts"
    hosts.write_text(f"{ad_lab.ADDRESS} {ad_lab.HOST} exch01.contoso.test\n")
    ended(ctl(lab, domain, "servers", "lookup", "x", "--server", f"ldap://{host}", ticket=ticket,
              mount=(hosts, "/etc/hosts")), REFUSED, "nothing was stored")


DNS = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.10", 53))
print("ready", flush=True)
def name(text):
    return b"".join(bytes([len(p)]) + p.encode() for p in text.split(".")) + b"\\0"
while True:
    data, peer = s.recvfrom(512)
    end = data.index(b"\\0", 12) + 5
    question, head = data[12:end], data[:2] + b"\\x85\\x80\\0\\1"
    wanted = question[:-4].lower() == name("_ldap._tcp.contoso.test") and question[-4:-2] == b"\\0\\x21"
    record = b"\\xc0\\x0c\\0\\x21\\0\\1\\0\\0\\0\\x3c"
    target = bytes(4) + (389).to_bytes(2, "big") + name("dc1.contoso.test")
    answer = record + len(target).to_bytes(2, "big") + target if wanted else b""
    s.sendto(head + bytes([0, 1 if wanted else 0]) + bytes(4) + question + answer, peer)
"""


def test_the_server_from_the_dns(lab, domain, sids, ticket, tmp_path):
    resolv = tmp_path / "resolv.conf"
    resolv.write_text(f"nameserver {ad_lab.ADDRESS}\noptions timeout:1 attempts:1\n")
    # krb5.conf's way leads nowhere
    krb5 = tmp_path / "krb5.conf"
    with open(domain.path("krb5-names.conf"), encoding="ascii") as file:
        krb5.write_text(file.read().replace(f"kdc = {ad_lab.HOST}", "kdc = 127.0.0.99"))
    with subprocess.Popen(["nsenter", "-t", str(domain.dc.pid), "--net", sys.executable, "-c",
                           DNS], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout.readline() == "ready\n"
            ended(ctl(lab, domain, "servers", "lookup", "EXCH01$", ticket=ticket,
                      mount=(resolv, "/etc/resolv.conf"), env={"KRB5_CONFIG": str(krb5)}), OK,
                  sids["EXCH01$"])
        finally:
            server.kill()
    # without DNS and KDCs nobody knows one
    krb5.write_text(f"[libdefaults]\n default_realm = {ad_lab.REALM}\n dns_lookup_kdc = false\n")
    ended(ctl(lab, domain, "servers", "lookup", "EXCH01$", ticket=ticket,
              mount=(resolv, "/etc/resolv.conf"), env={"KRB5_CONFIG": str(krb5)}), REFUSED,
          "no directory server of realm CONTOSO.TEST", "--server")
