"""The connector and a real Active Directory (Samba): who comes in by a group.

The connector's keytab has the keys of two realms, the lab's own of MIT
Kerberos, whose tickets carry no SIDs, and the AD's."""

import base64
import contextlib
import json
import os

import gssapi
import pytest

import ad as ad_lab
import keeper_peers as k
import kdc
import negotiate
import pac_peers as p
from conftest import using
from labctl import build_dir
from procs import wait_until
from relay_peers import ask, field, own_error, ticket

ACCOUNTS = ("EXCH01$", "EXCH02$", "SP01$", "FS01$", "alice", "jörg", "bulk")


def host_of(spn):
    return spn.partition("/")[2]


@pytest.fixture(scope="module")
def domain(module_ad):
    return module_ad()


@pytest.fixture(scope="module")
def sids(domain):
    return domain.sids()


@pytest.fixture(scope="module")
def _lab(module_lab, domain):
    made = module_lab()
    keytab = made.path("krb5/both.keytab")
    with open(keytab, "wb") as out:
        for skip, path in ((0, made.env["KEYTAB"]), (2, domain.service_keytab)):
            with open(path, "rb") as file:
                out.write(file.read()[skip:])  # one header is enough
    os.chmod(keytab, 0o600)
    made.configure(keytab=f'"{keytab}"')
    return made


@pytest.fixture
def lab(_lab):
    yield from using(_lab)


@contextlib.contextmanager
def at_home(domain):
    """Kerberos of this process is the AD's."""
    old = os.environ.get("KRB5_CONFIG")
    os.environ["KRB5_CONFIG"] = domain.config
    try:
        yield
    finally:
        if old is None:
            del os.environ["KRB5_CONFIG"]
        else:
            os.environ["KRB5_CONFIG"] = old


def ad_token(domain, account, host=host_of(ad_lab.SPNS[0])):
    """A first token of an account of the AD."""
    cache = "FILE:" + domain.path("cc/" + account.rstrip("$"))
    if not os.path.exists(cache[5:]):
        domain.tickets(account)
    with at_home(domain):
        return negotiate.Negotiate(host, cache).token()


def call(lab, domain, account, client=None, **options):
    """One request of an account; the reply."""
    return ask(client or lab.client(), field(ad_token(domain, account, **options)))


@contextlib.contextmanager
def entry(lab, role, subject):
    """An entry of the list while the block runs; its number."""
    lab.rmsctl("servers", "add", "--role", role, subject)
    try:
        yield next(e["entry"] for e in lab.rmsctl_json("servers", "list")["servers"]
                   if e["subject"] == subject)
    finally:
        lab.rmsctl("servers", "remove", subject)


def let_in(lab, reply, role, number, sid):
    assert reply.status == 200, reply.body[:400]
    line = lab.access(reply)
    assert (line["role"], line["entry"], line["sid"]) == (role, number, sid), line


def kept_out(lab, reply, sid):
    own_error(reply, 403, "AUTH_DENIED")
    line = lab.access(reply)
    assert (line["role"], line["entry"], line["sid"]) == ("", 0, sid), line


# --- who comes in ----------------------------------------------------------


def test_a_nested_group_lets_its_members_in(lab, domain, sids):
    """EXCH01$ is in a global group, which is in the universal one."""
    with entry(lab, "exchange", sids["Exchange Servers"]) as number:
        let_in(lab, call(lab, domain, "EXCH01$"), "exchange", number, sids["EXCH01$"])
        kept_out(lab, call(lab, domain, "EXCH02$"), sids["EXCH02$"])
        refusal = lab.event(2001, account="EXCH02$@" + ad_lab.REALM)
        assert refusal["sid"] == sids["EXCH02$"]


@pytest.mark.parametrize("group, role, member", [
    ("Exchange Site A", "exchange", "EXCH01$"),
    ("SharePoint Servers", "sharepoint", "SP01$"),
    ("File Servers", "fci", "FS01$"),  # a domain-local group
    ("Rights Clients", "sharepoint", "SP01$"),  # holds a group of it
    ("Domain Computers", "fci", "EXCH02$"),  # the primary group
    ("Büro Köln", "fci", "jörg"),
])
def test_groups_of_every_kind(lab, domain, sids, group, role, member):
    with entry(lab, role, sids[group]) as number:
        let_in(lab, call(lab, domain, member), role, number, sids[member])
        kept_out(lab, call(lab, domain, "alice"), sids["alice"])


def test_both_names_of_the_connector(lab, domain, sids):
    with entry(lab, "exchange", sids["Exchange Servers"]) as number:
        for spn in ad_lab.SPNS:
            reply = call(lab, domain, "EXCH01$", host=host_of(spn))
            let_in(lab, reply, "exchange", number, sids["EXCH01$"])


def test_who_is_taken_off_the_list_is_refused_next_time(lab, domain, sids):
    client = lab.client()
    with entry(lab, "exchange", sids["Exchange Servers"]):
        assert call(lab, domain, "EXCH01$", client).status == 200
    kept_out(lab, call(lab, domain, "EXCH01$", client), sids["EXCH01$"])


def test_events_of_an_account_say_its_sid(lab, domain, sids):
    """1002, 2002 and 1003; 2001 see above."""
    name = f"SP01$@{ad_lab.REALM}"

    def told(number, tls):
        with lab.client(tls=tls) as client:
            assert call(lab, domain, "SP01$", client).status == 200
        return next((e for e in lab.new("EVENT_LOG") if e["id"] == number
                     and e["account"] == name), None)

    lab.configure(account_report_ms='"100ms"')  # also the pause between 2002 and 1003
    try:
        with entry(lab, "sharepoint", sids["SharePoint Servers"]) as number:
            for event, tls, reason in ((1002, True, f"entry {number} lets it in as sharepoint"),
                                       (2002, False, "it came over HTTPS before"),
                                       (1003, True, "it came over HTTP before")):
                one = wait_until(lambda e=event, t=tls: told(e, t), 5, 0.1)
                assert one, (event, lab.new("EVENT_LOG"))
                assert (one.get("sid"), one["address"], one["role"], one["reason"]) == (
                    sids["SP01$"], "127.0.0.1", "sharepoint", reason), one
    finally:
        lab.configure(account_report_ms=None)


@contextlib.contextmanager
def out_of_group(domain, group, account):
    """The account is no member in the directory while the block runs."""
    def change(verb):
        domain.inside("samba-tool", "group", verb, group, account,
                      f"--configfile={domain.path('etc/smb.conf')}")
    change("removemembers")
    try:
        yield
    finally:
        change("addmembers")
        domain.tickets(account)


def test_who_is_taken_out_of_the_group_is_refused_with_a_fresh_ticket(lab, domain, sids):
    """A ticket says the groups of the time it was issued; until it is renewed
    nobody but the directory knows better."""
    name, group = f"FS01$@{ad_lab.REALM}", sids["File Servers"]
    with entry(lab, "fci", group) as number, lab.client() as client:
        domain.tickets("FS01$")
        let_in(lab, call(lab, domain, "FS01$", client), "fci", number, sids["FS01$"])
        with out_of_group(domain, "File Servers", "FS01$"):
            let_in(lab, ask(client), "fci", number, sids["FS01$"])
            let_in(lab, call(lab, domain, "FS01$"), "fci", number, sids["FS01$"])
            domain.tickets("FS01$")
            kept_out(lab, call(lab, domain, "FS01$", client), sids["FS01$"])
            kept_out(lab, ask(client), sids["FS01$"])
            kept_out(lab, call(lab, domain, "FS01$"), sids["FS01$"])
            refusal = lab.event(2001, account=name)
            assert "no entry names it or one of its" in refusal["reason"]
            told = lab.rmsctl_json("explain", name)
            assert (told["account"], told["verdict"], told["matches"]) == (name, "no_match", [])
            listed = [s["sid"] for s in told["sids"]["list"]]
            assert sids["FS01$"] in listed and group not in listed
        let_in(lab, call(lab, domain, "FS01$"), "fci", number, sids["FS01$"])


def test_the_accounts_own_entry_decides_before_its_groups(lab, domain, sids):
    with entry(lab, "exchange", sids["Exchange Servers"]):
        with entry(lab, "fci", sids["EXCH01$"]) as number:
            let_in(lab, call(lab, domain, "EXCH01$"), "fci", number, sids["EXCH01$"])
        name = "EXCH01$@" + ad_lab.REALM
        with entry(lab, "sharepoint", name) as number:
            let_in(lab, call(lab, domain, "EXCH01$"), "sharepoint", number, sids["EXCH01$"])
            assert lab.event(2103)


def test_explain_names_the_groups_and_the_one_that_decides(lab, domain, sids):
    exch = "EXCH01$@" + ad_lab.REALM
    with entry(lab, "exchange", sids["Exchange Servers"]) as number:
        assert call(lab, domain, "EXCH01$").status == 200
        told = lab.rmsctl_json("explain", sids["EXCH01$"])
        assert (told["account"], told["verdict"], told["role"], told["entry"]) == (
            exch, "allow", "exchange", number)
        [match] = told["matches"]
        assert (match["by"], match["by_source"], match["own"]) == (
            sids["Exchange Servers"], "group", False)
        assert "only one" in told["decided_why"] and not told["conflict"]
        assert told["seen"]["enctype_name"] == "aes256-cts-hmac-sha1-96"
        assert told["seen"]["kvno"] and told["seen"]["listener"] == "tls"
        assert told["seen"]["spn"].lower().startswith(ad_lab.SPNS[0].lower())
        # every SID of the ticket, with its source, as Samba reads them
        assert [f"{s['source']} {s['sid']}" for s in told["sids"]["list"]] == p.expected(
            logon_information(domain, "EXCH01$"))
        assert [s["entry"] for s in told["sids"]["list"] if s["entry"]] == [number]
        assert told["sids"]["age_s"] < 60
        text = lab.rmsctl("explain", exch).stdout
        assert "kvno" in text and "aes256" in text and sids["Exchange Servers"] in text
    # Decided by the list as it is now, with the groups as they were.
    told = lab.rmsctl_json("explain", exch)
    assert told["verdict"] == "no_match" and "one of its" in told["advice"]
    with entry(lab, "fci", sids["Exchange Site A"]) as number:
        told = lab.rmsctl_json("explain", "EXCH01$")
        assert (told["verdict"], told["role"], told["entry"]) == ("allow", "fci", number)


def test_explain_of_a_conflict(lab, domain, sids):
    with contextlib.ExitStack() as stack:
        number = {name: stack.enter_context(entry(lab, role, sids[name])) for role, name in (
            ("exchange", "Exchange Servers"), ("fci", "Exchange Site A"),
            ("sharepoint", "Domain Computers"))}
        assert call(lab, domain, "EXCH01$").status == 200
        told = lab.rmsctl_json("explain", "EXCH01$")
        assert told["conflict"] and not told["overlap"]
        # not exchange, then the lowest number
        assert [m["entry"] for m in told["matches"]] == [
            number["Exchange Site A"], number["Domain Computers"], number["Exchange Servers"]]
        assert [m["decides"] for m in told["matches"]] == [True, False, False]
        assert told["matches"][1]["by_source"] == "primary-group"
        assert "lowest" in told["decided_why"] and "one of them only" in told["advice"]
        with entry(lab, "exchange", sids["EXCH01$"]):
            told = lab.rmsctl_json("explain", "EXCH01$")
            assert told["role"] == "exchange" and "account itself" in told["decided_why"]


def test_explain_of_a_thousand_groups(lab, domain, sids):
    with entry(lab, "exchange", sids["Bulk0500"]) as number:
        assert call(lab, domain, "bulk").status == 200
        told = lab.rmsctl_json("explain", "bulk")
        assert len(told["sids"]["list"]) == told["sids"]["count"] > ad_lab.BULK_GROUPS
        assert told["entry"] == number and told["matches"][0]["by"] == sids["Bulk0500"]


@pytest.mark.parametrize("group", ["Bulk0000", "Bulk0500", f"Bulk{ad_lab.BULK_GROUPS - 1:04}"])
def test_a_thousand_groups(lab, domain, sids, group):
    with entry(lab, "exchange", sids[group]) as number:
        data = ad_token(domain, "bulk")
        assert len(base64.b64encode(data)) > 12_000
        let_in(lab, ask(lab.client(), field(data)), "exchange", number, sids["bulk"])
        kept_out(lab, call(lab, domain, "EXCH01$"), sids["EXCH01$"])


def test_a_realm_without_groups_has_no_group_rights(lab, sids):
    """Nothing of the AD lets an account of the MIT realm in; its name does."""
    with contextlib.ExitStack() as stack:
        for name in ("Exchange Servers", "Domain Computers", "Domain Users", "EXCH01$"):
            stack.enter_context(entry(lab, "fci", sids[name]))
        kept_out(lab, ask(lab.client(), ticket(lab, "STRANGER")), "")
        reply = ask(lab.client(), ticket(lab, "EXCHANGE"))
        assert reply.status == 200 and lab.access(reply)["account"] == f"exch01$@{kdc.REALM}"


# --- the keytab beside what the AD issues ------------------------------------


def keytab_facts(lab, domain, *environment):
    """`rmsctl keytab` of somebody who reaches the DC and no other KDC."""
    binary = os.path.join(lab.bin, "rmsctl")
    return json.loads(domain.inside("env", "KRB5CCNAME=FILE:/nowhere/cc", *environment, binary,
                                    "-s", lab.env["RMSCTL_SOCKET"], "--json", "keytab"))


def test_keytab_beside_what_the_ad_issues(lab, domain):
    cache = domain.tickets("alice")
    facts = keytab_facts(lab, domain, f"KRB5CCNAME={cache}")
    assert facts["problems"] == []
    realms = {r["realm"]: r for r in facts["realms"]}
    assert realms[ad_lab.REALM]["asked_as"] == f"alice@{ad_lab.REALM}"
    assert abs(realms[ad_lab.REALM]["clock_ahead_ms"]) <= \
        realms[ad_lab.REALM]["clock_within_ms"] + 1
    assert realms[kdc.REALM]["error"]  # that KDC is not there
    issued = {i["principal"]: i for i in facts["issued"]}
    assert set(issued) == {f"{spn}@{ad_lab.REALM}" for spn in ad_lab.SPNS}
    assert all(i["opens"] and i["enctype"] == 18 for i in issued.values()), issued
    assert all(any((e["principal"], e["kvno"]) == (i["principal"], i["kvno"])
                   for e in facts["entries"]) for i in issued.values())


def test_account_of_the_keytab_asks(lab, domain):
    """Without tickets of the caller: an SPN cannot log on in an AD, the
    account's own name can, where the keytab has its key."""
    facts = keytab_facts(lab, domain)
    [realm] = [r for r in facts["realms"] if r["realm"] == ad_lab.REALM]
    assert realm["asked_as"] is None and ad_lab.SPNS[-1] in realm["error"], realm
    assert realm["clock_ahead_ms"] is not None
    path = lab.path("krb5/both.keytab")
    with open(path, "rb") as file:
        good = file.read()
    own = domain.path("own.keytab")
    domain.inside("samba-tool", "domain", "exportkeytab", own, "--principal=svc-rms",
                  f"--configfile={domain.path('etc/smb.conf')}")
    try:
        with open(own, "rb") as file, open(path, "ab") as out:
            out.write(file.read()[2:])
        lab.event(1105, seconds=10)
        facts = keytab_facts(lab, domain)
        [realm] = [r for r in facts["realms"] if r["realm"] == ad_lab.REALM]
        assert realm["asked_as"] == f"svc-rms@{ad_lab.REALM}" and not realm["error"]
        assert len(facts["issued"]) == len(ad_lab.SPNS)
    finally:
        os.unlink(own)
        with open(path, "wb") as file:
            file.write(good)
        assert wait_until(lambda: lab.status()["keeper"]["entries"] < len(facts["entries"]), 10,
                          0.05)


# --- what the keeper takes from a ticket ------------------------------------


@pytest.fixture(scope="module")
def keeper(domain):
    made = k.Keeper(build_dir(), domain.path("keeper.log"))
    made.start(domain.config, domain.service_keytab)
    yield made
    made.stop()
    with open(made.log, encoding="utf-8", errors="replace") as file:
        text = file.read()
    assert "Sanitizer" not in text and "BUG" not in text, text


def logon_information(domain, account):
    """The bytes of the PAC, by an acceptor that is not ours."""
    os.environ["KRB5RCACHENAME"] = "none:"
    with at_home(domain):
        acceptor = gssapi.SecurityContext(usage="accept", creds=gssapi.Credentials(
            usage="accept", store={"keytab": domain.service_keytab}))
        acceptor.step(ad_token(domain, account))
        got = gssapi.raw.get_name_attribute(acceptor.initiator_name, b"urn:mspac:logon-info")
    assert got.authenticated
    return got.values[0]


@pytest.mark.parametrize("account", ACCOUNTS)
def test_sids_are_those_that_samba_reads(keeper, domain, sids, account):
    answer = keeper.step(ad_token(domain, account))
    assert answer["outcome"] == "ok", answer
    assert answer["principal"] == f"{account}@{ad_lab.REALM}"
    assert answer["sids"] == p.expected(logon_information(domain, account))
    assert answer["sids"][0] == f"user {sids[account]}"
    if account == "bulk":
        assert answer["nsids"] > ad_lab.BULK_GROUPS
        assert f"group {sids['Bulk0000']}" in answer["sids"]


@pytest.mark.parametrize("spn", ad_lab.SPNS)
def test_the_service_is_the_one_that_was_asked_for(keeper, domain, spn):
    """Both have one key, so that the key alone does not tell."""
    answer = keeper.step(ad_token(domain, "EXCH01$", host_of(spn)))
    assert answer["spn"] == f"{spn}@{ad_lab.REALM}"
