"""NTLM with accounts of a real domain (Samba), through winbind on a member:
the SIDs decide, the directory's names count, and a winbind that hangs or is
gone stops nothing but NTLM."""

import grp
import os
import signal

import pytest

import ad as ad_lab
import ad_member
from conftest import using
from labctl import build_dir
from relay_peers import ask, own_error, ticket
from test_ntlm import SCHEMES, NAMES, log_on, refused

PASSWORD = "Geheim-Aa1-" + os.urandom(4).hex()
ACCOUNTS = ("EXCH01$", "EXCH02$", "SP01$", "alice", "jörg", "bulk")


@pytest.fixture(scope="module")
def domain(module_ad):
    made = module_ad(services=ad_lab.SERVICES_FOR_MEMBERS)
    for account in ACCOUNTS:
        made.set_password(account, PASSWORD)
    return made


@pytest.fixture(scope="module")
def sids(domain):
    return domain.sids()


@pytest.fixture(scope="module")
def member(domain):
    joiner = "Aa1-" + os.urandom(20).hex()
    domain.set_password("Administrator", joiner)
    made = ad_member.Member(domain, os.path.join(build_dir(), "system", "ntlm-member"))
    made.up("Administrator", joiner)
    yield made
    problems = made.down()
    assert not problems, "\n".join(problems)


@pytest.fixture(scope="module")
def _lab(module_lab, member):
    return module_lab(conf="ntlm = true", wrap=member.in_reach())


@pytest.fixture
def lab(_lab):
    yield from using(_lab)


def let_in(lab, reply, account, sids, role, number):
    """The account is the directory's, whatever the client wrote."""
    assert reply.status == 200, reply.body[:600]
    line = lab.access(reply)
    assert (line["account"], line["mech"]) == (f"CONTOSO\\{account}", "ntlm"), line
    assert (line["role"], line["entry"], line["sid"]) == (role, number, sids[account]), line


class Entry:
    """An entry of the list while the block runs; its number."""

    def __init__(self, lab, role, subject):
        self.lab, self.role, self.subject = lab, role, subject

    def __enter__(self):
        self.lab.rmsctl("servers", "add", "--no-lookup", "--role", self.role, self.subject)
        return next(e["entry"] for e in self.lab.rmsctl_json("servers", "list")["servers"]
                    if e["subject"] == self.subject)

    def __exit__(self, *_):
        self.lab.rmsctl("servers", "remove", self.subject)


def domain_log_on(client, account, password=PASSWORD, **options):
    return log_on(client, "CONTOSO\\" + account, password, **options)


# --- who comes in ----------------------------------------------------------------


@pytest.mark.parametrize("scheme, spnego", SCHEMES, ids=NAMES)
def test_a_nested_group_lets_its_members_in(lab, sids, scheme, spnego):
    """EXCH01$ is in a global group, which is in the universal one."""
    with Entry(lab, "exchange", sids["Exchange Servers"]) as number:
        with lab.client() as client:
            reply = domain_log_on(client, "EXCH01$", scheme=scheme, spnego=spnego)
            let_in(lab, reply, "EXCH01$", sids, "exchange", number)
            let_in(lab, ask(client), "EXCH01$", sids, "exchange", number)
        with lab.client() as client:
            reply = domain_log_on(client, "EXCH02$", scheme=scheme, spnego=spnego)
            own_error(reply, 403, "AUTH_DENIED")
            assert lab.access(reply)["sid"] == sids["EXCH02$"]
    with lab.client() as client:
        own_error(domain_log_on(client, "EXCH01$", scheme=scheme, spnego=spnego), 403,
                  "AUTH_DENIED")


@pytest.mark.parametrize("group, account", [
    ("Domain Computers", "SP01$"), ("SharePoint Servers", "SP01$"), ("Büro Köln", "jörg")])
def test_groups_of_other_kinds(lab, sids, group, account):
    with Entry(lab, "sharepoint", sids[group]) as number, lab.client() as client:
        let_in(lab, domain_log_on(client, account), account, sids, "sharepoint", number)


def test_an_account_in_a_thousand_groups(lab, sids):
    with Entry(lab, "fci", sids["Bulk1000"]) as number, lab.client() as client:
        let_in(lab, domain_log_on(client, "bulk"), "bulk", sids, "fci", number)


def test_an_entry_by_sid_and_one_by_name(lab, sids):
    for subject in (sids["EXCH01$"], "CONTOSO\\EXCH01$"):
        with Entry(lab, "exchange", subject) as number, lab.client() as client:
            let_in(lab, domain_log_on(client, "EXCH01$"), "EXCH01$", sids, "exchange", number)


def test_who_is_taken_off_the_list_is_refused_next_time(lab, sids):
    with lab.client() as client:
        with Entry(lab, "exchange", sids["Exchange Servers"]) as number:
            let_in(lab, domain_log_on(client, "EXCH01$"), "EXCH01$", sids, "exchange", number)
        own_error(ask(client), 403, "AUTH_DENIED")


@pytest.mark.parametrize("written", ["contoso\\exch01$", "CONTOSO.TEST\\EXCH01$",
                                     "BOGUS\\EXCH01$", "EXCH01$"])
def test_the_name_is_the_directorys(lab, sids, written):
    """NTLM lets a client name any domain.  Whoever comes in has the one name
    that the directory has for it, and an entry for another is none."""
    lab.rmsctl("servers", "add", "--no-lookup", "--role", "exchange", "BOGUS\\EXCH01$")
    try:
        with Entry(lab, "fci", sids["EXCH01$"]) as number, lab.client() as client:
            reply = log_on(client, written, PASSWORD)
            if reply.status == 401:
                refused(reply, "logon")
                assert written != "contoso\\exch01$"
            else:
                let_in(lab, reply, "EXCH01$", sids, "fci", number)
    finally:
        lab.rmsctl("servers", "remove", "BOGUS\\EXCH01$")


def test_who_does_not_come_in(lab, domain):
    with lab.client() as client:
        refused(domain_log_on(client, "EXCH01$", "wrong"), "logon")
        refused(domain_log_on(client, "nobody"), "logon")
        domain.set_password("Guest", PASSWORD)  # and enabled
        refused(domain_log_on(client, "Guest"), "anonymous")


def test_winbinds_pipe_as_another_user(module_lab, member, sids):
    """Started by root the processes change to an account, and keep the one
    group that may use the privileged pipe."""
    gid = grp.getgrnam("winbindd_priv").gr_gid
    pipe = member.path("state/winbindd_privileged")
    os.chown(pipe, 0, gid)
    os.chmod(pipe, 0o750)
    lab = module_lab(conf='ntlm = true\nuser = "nobody"', wrap=member.in_reach())
    for group, status in (("", 401), ("winbindd_priv", 200)):
        lab.begin()
        lab.edit(ntlm_group=f'"{group}"')
        restart(lab)
        with Entry(lab, "exchange", sids["Exchange Servers"]), lab.client() as client:
            assert domain_log_on(client, "EXCH01$").status == status
        with open(f"/proc/{lab.pid('ntlm')}/status", encoding="ascii") as file:
            groups = next(l for l in file if l.startswith("Groups:")).split()[1:]
        assert groups == ([str(gid)] if group else [])


def restart(lab):
    assert lab.process("rms-connectord").stop()
    lab.start_connector()
    lab.wait_ready()


# --- a winbind that does not answer ------------------------------------------------------


def test_winbind_that_hangs(lab, member, sids):
    """Kerberos goes on meanwhile; NTLM is answered 503, its processes are
    replaced; when winbind is back all is as before."""
    lab.expected.add(3102)
    lab.configure(watchdog_ms='"1s"', respawn_max_ms='"200ms"', auth_timeout_ms='"3s"')
    with Entry(lab, "exchange", sids["Exchange Servers"]) as number:
        with lab.client() as client:
            let_in(lab, domain_log_on(client, "EXCH01$"), "EXCH01$", sids, "exchange", number)
        stopped = member.processes()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            with lab.client() as client:
                for _ in range(2):
                    reply = domain_log_on(client, "EXCH01$")
                    assert reply.status == 503, reply.body[:300]
                    assert reply.get("Retry-After")
                    with lab.client() as other:
                        assert ask(other, ticket(lab)).status == 200
            lab.event(3102)
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        lab.configure(watchdog_ms=None, respawn_max_ms=None, auth_timeout_ms=None)
        with lab.client() as client:
            let_in(lab, domain_log_on(client, "EXCH01$"), "EXCH01$", sids, "exchange", number)


def test_winbind_that_is_gone(lab, member, sids):
    assert not member.down()
    try:
        with lab.client() as client:
            refused(domain_log_on(client, "EXCH01$"), "no-winbind")
            assert ask(client, ticket(lab)).status == 200
    finally:
        member.start()
    with Entry(lab, "exchange", sids["Exchange Servers"]) as number, lab.client() as client:
        let_in(lab, domain_log_on(client, "EXCH01$"), "EXCH01$", sids, "exchange", number)
