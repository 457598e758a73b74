"""What the connector knows of accounts: why one is let in or refused, the events
that tell of it, and that this outlives the connector."""

import calendar
import contextlib
import os
import resource
import signal
import time

import pytest

import negotiate
import pac_peers as p
import soap
from conftest import using
from procs import wait_until
from relay_peers import NAME, ask, field, own_error

BODY = soap.acquire_license()
EXCH, SP, FCI = "exch01$@LAB.TEST", "sp01$@LAB.TEST", "fci01$@LAB.TEST"
STRANGER = "stranger$@LAB.TEST"
KEPT_S = 10  # master/seen_keep.h writes every 3 s
FORGED = f"{p.CLIENT}@{p.REALM}"


@pytest.fixture(scope="module")
def _own(module_lab):
    return module_lab(conf='account_report_ms = "200ms"', workers=1)


@pytest.fixture
def own(_own):
    yield from using(_own)


def told(lab, number, account):
    return [e for e in lab.new("EVENT_LOG") if e["id"] == number and e["account"] == account]


def call(lab, account="EXCHANGE", tls=True, **options):
    """A request on a connection of its own; the reply."""
    with lab.server(account, tls=tls, **options) as server:
        return server.call(NAME, BODY)


def restart(lab, number=signal.SIGTERM):
    """Ends the connector and starts it again."""
    connector = lab.process("rms-connectord")
    os.kill(connector.pid, number)
    assert wait_until(lambda: not connector.is_alive(), 20)
    lab.start_connector()
    lab.wait_ready(20)


# --- events -----------------------------------------------------------------


def test_let_in_is_told_once_and_again_after_it_was_refused(own):
    """1002, Microsoft's: the first connection after the account was authorized."""
    call(own, "FCI")
    first = own.event(1002, account=FCI)
    assert first["entry"] and first["role"] == "fci" and first["address"] == "127.0.0.1"
    assert first["mech"] == "kerberos" and f"entry {first['entry']}" in first["reason"]
    assert call(own, "FCI").status == 200 and call(own, "FCI", tls=False).status == 200
    own.rmsctl("servers", "remove", FCI)
    try:
        own_error(call(own, "FCI"), 403, "AUTH_DENIED")
    finally:
        own.rmsctl("servers", "add", "--role", "fci", FCI)
    assert call(own, "FCI").status == 200
    assert wait_until(lambda: len(told(own, 1002, FCI)) == 2, 3), told(own, 1002, FCI)
    # Removed and authorized again without a connection between is anew too.
    own.rmsctl("servers", "remove", FCI)
    own.rmsctl("servers", "add", "--role", "fci", FCI)
    assert call(own, "FCI").status == 200
    assert wait_until(lambda: len(told(own, 1002, FCI)) == 3, 3), told(own, 1002, FCI)


def test_http_and_https_are_told_when_they_change(own):
    """2002 at the first HTTP and at each relapse, 1003 at each way back."""
    def when(tls, number, count):
        # The pause is 200 ms here: until it is over a change is not told.
        assert wait_until(lambda: call(own, "SHAREPOINT", tls).status == 200 and
                          len(told(own, number, SP)) == count, 5, 0.1), own.new("EVENT_LOG")

    when(False, 2002, 1)
    when(True, 1003, 1)
    when(False, 2002, 2)
    when(True, 1003, 2)
    first, relapse = told(own, 2002, SP)
    assert "reason" not in first or not first["reason"]
    assert "over HTTPS before" in relapse["reason"]
    assert relapse["role"] == "sharepoint" and relapse["address"] == "127.0.0.1"
    assert all("over HTTP before" in e["reason"] for e in told(own, 1003, SP))
    # It goes on over HTTPS: nothing more is told.
    assert call(own, "SHAREPOINT").status == 200
    assert len(told(own, 2002, SP)) == 2 and len(told(own, 1003, SP)) == 2


def test_refusals_are_told_with_a_count(own):
    assert call(own, "STRANGER").status == 403
    assert wait_until(lambda: call(own, "STRANGER").status == 403 and
                      sum(1 + e.get("count", 0) for e in told(own, 2001, STRANGER)) >= 4,
                      5, 0.02)
    event = told(own, 2001, STRANGER)[0]
    assert "no entry for a group can apply" in event["reason"]
    assert f"rmsctl servers add --role ROLE '{STRANGER}'" in event["reason"]


def test_an_expired_entry_is_named(own):
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
    own.rmsctl("servers", "add", "--role", "fci", "--expires", soon, STRANGER)
    try:
        number = own.rmsctl_json("explain", STRANGER)["entry"]
        assert wait_until(lambda: call(own, "STRANGER").status == 403, 5, 0.1)
        own.wait_line("EVENT_LOG", lambda e: e["id"] == 2001 and
                      f"entry {number}, which matches, has expired" in e["reason"])
        advice = own.rmsctl_json("explain", STRANGER)["advice"]
        assert f"rmsctl servers remove {number}" in advice and "--expires" in advice
    finally:
        own.rmsctl("servers", "remove", STRANGER)


def test_what_was_told_is_not_told_again_after_a_restart(private_lab):
    lab = private_lab(workers=1)
    assert call(lab, "FCI", tls=False).status == 200
    assert call(lab, "SHAREPOINT").status == 200
    lab.event(2002, account=FCI)
    restart(lab)
    lab.begin()
    assert call(lab, "FCI", tls=False).status == 200
    assert call(lab, "SHAREPOINT").status == 200
    assert call(lab).status == 200
    lab.event(1002, account=EXCH)  # new, and after the others
    assert not told(lab, 1002, FCI) and not told(lab, 1002, SP) and not told(lab, 2002, FCI)
    # What changed meanwhile is told.
    assert call(lab, "FCI").status == 200
    lab.event(1003, account=FCI)
    # The same after a kill, some seconds later.
    explained = lab.rmsctl_json("explain", FCI)
    assert explained["seen"]["ways"]["http"] and explained["seen"]["ways"]["https"]
    assert wait_until(lambda: lab.status()["accounts_unsaved"] == 0, KEPT_S)
    lab.expected |= {"death", 3101}
    restart(lab, signal.SIGKILL)
    lab.begin()
    again = lab.rmsctl_json("explain", FCI)
    assert again["seen"]["first"] == explained["seen"]["first"]
    assert again["seen"]["ways"]["http"] == explained["seen"]["ways"]["http"]
    assert call(lab, "FCI").status == 200 and call(lab).status == 200
    assert call(lab, tls=False).status == 200
    lab.event(2002, account=EXCH)
    assert not told(lab, 1002, FCI) and not told(lab, 1002, EXCH) and not told(lab, 1003, FCI)


def test_what_cannot_be_saved_is_an_event_and_tried_again(private_lab):
    """Requests, events and the list go on; once there is room all is saved."""
    lab = private_lab(workers=1)
    assert wait_until(lambda: lab.status()["accounts_unsaved"] == 0, KEPT_S)
    pid = lab.process("rms-connectord").pid
    # not one byte: neither a new page of the store nor an old one
    old = resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    try:
        assert call(lab, "FCI").status == 200 and call(lab, "STRANGER").status == 403
        unsaved = lambda: lab.rmsctl_json("status")["accounts_unsaved"]
        assert unsaved() >= 3
        assert wait_until(lambda: [p for p in lab.status()["problems"] if p["event"] == 2108],
                          KEPT_S)
        assert "could not be written" in lab.status()["problems"][0]["reason"]
        assert call(lab, "SHAREPOINT").status == 200 and unsaved() >= 4
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, old)
    assert wait_until(lambda: unsaved() == 0, 4 * KEPT_S)
    assert not [p for p in lab.status()["problems"] if p["event"] == 2108]
    restart(lab)
    assert {FCI, SP, STRANGER} <= set(accounts(seen(lab)))


# --- why there are no groups ------------------------------------------------


@pytest.fixture(scope="module")
def _forged(module_lab, tmp_path_factory):
    forger = p.Forger(tmp_path_factory.mktemp("forged"))
    os.chmod(forger.keytab, 0o600)
    lab = module_lab(conf=f'keytab = "{forger.keytab}"\naccount_report_ms = "100ms"', workers=1)
    lab.forger = forger
    return lab


@pytest.fixture
def forged(_forged):
    yield from using(_forged)


def forged_call(lab, logon_info, **options):
    """A request with a ticket of our own making; the reply."""
    cache = lab.forger.cache(logon_info, **options)
    data = negotiate.Negotiate(p.SERVICE.partition("/")[2], cache).token()
    return ask(lab.client(), field(data))


GROUP = "S-1-5-21-1-2-3-1200"
LACKS = [
    ({"with_pac": False}, "carry no group SIDs", "need a PAC"),
    ({"good": False}, "signature of the ticket's PAC", "forged"),
    ({"logon_info": p.make(groups=[(1200, p.ON)])[:-100]}, "PAC cannot be read", "report it"),
]


def test_no_pac_or_a_bad_one_is_an_identity_without_groups_and_says_why(forged):
    good = p.make(groups=[(1200, p.ON)])
    forged.rmsctl("servers", "add", "--role", "exchange", GROUP)
    try:
        assert forged_call(forged, good).status == 200
        explained = forged.rmsctl_json("explain", FORGED)
        assert explained["verdict"] == "allow" and explained["sids"]["lack"] is None
        assert explained["matches"][0]["by"] == GROUP
        for options, lack, remedy in LACKS:
            forged.begin()
            own_error(forged_call(forged, **{"logon_info": good, **options}), 403,
                      "AUTH_DENIED")
            explained = forged.rmsctl_json("explain", FORGED)
            assert explained["verdict"] == "no_match" and explained["sids"]["count"] == 0
            assert explained["groups_known"] and not explained["sids"]["list"]
            assert lack in explained["sids"]["lack"], explained
            assert lack in explained["advice"] and remedy in explained["advice"]
            why = lambda e, r=lack: e["id"] == 2001 and r in e["reason"]
            assert wait_until(lambda o=options, w=why: forged_call(
                forged, **{"logon_info": good, **o}).status == 403 and
                any(map(w, forged.new("EVENT_LOG"))), 5, 0.1), forged.new("EVENT_LOG")
    finally:
        forged.rmsctl("servers", "remove", GROUP)


def test_explain_of_too_many_groups(forged):
    logon = p.make(groups=[(2000 + i, p.ON) for i in range(1300)])
    own_error(forged_call(forged, logon), 403, "AUTH_DENIED")
    sids = forged.rmsctl_json("explain", FORGED)["sids"]
    assert "more SIDs than are accepted" in sids["lack"] and sids["list"] == []
    # as many as are taken: all are known, and shown to people in part
    logon = p.make(groups=[(2000 + i, p.ON) for i in range(1100)])
    own_error(forged_call(forged, logon), 403, "AUTH_DENIED")
    sids = forged.rmsctl_json("explain", FORGED)["sids"]
    assert sids["count"] == len(sids["list"]) > 1100 and sids["lack"] is None
    text = forged.rmsctl("explain", FORGED).stdout
    assert "more that match none" in text and len(text.splitlines()) < 60


# --- who comes --------------------------------------------------------------


def seen(lab, *options):
    return lab.rmsctl_json("servers", "seen", *options)


def accounts(reply):
    return [a["account"] for a in reply["accounts"]]


def test_servers_seen(private_lab):
    lab = private_lab(workers=1)
    assert seen(lab)["accounts"] == [] and seen(lab, "--refused")["accounts"] == []
    assert seen(lab)["entries_total"] == seen(lab)["entries_unused"] == 3
    start = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    assert call(lab, "SHAREPOINT", bindings=True).status == 200
    for tls in (False, True):
        assert call(lab, "EXCHANGE", tls).status == 200
    for _ in range(3):
        assert call(lab, "STRANGER").status == 403
    reply = seen(lab)
    assert accounts(reply)[0] == STRANGER and set(accounts(reply)) == {EXCH, SP, STRANGER}
    one = next(a for a in reply["accounts"] if a["account"] == EXCH)
    assert one["address"] == "127.0.0.1" and one["enctype_name"] == "aes256-cts-hmac-sha1-96"
    assert one["tls"] and not one["bound"] and not one["weak"] and one["mech"] == "kerberos"
    assert start <= one["first"] <= one["last"]
    assert one["ways"]["http"] <= one["ways"]["https"] and one["ways"]["ntlm"] is None
    assert reply["counts"] == {"http": 1, "https": 3, "unbound": 2, "bound": 1, "kerberos": 3,
                               "ntlm": 0, "certificate": 0, "rc4": 0}
    # who would break if something were switched off
    assert accounts(seen(lab, "--http")) == [EXCH]
    assert set(accounts(seen(lab, "--unbound"))) == {EXCH, STRANGER}
    assert call(lab, bindings=True).status == 200  # it did not always: it stays
    assert wait_until(lambda: next(a for a in seen(lab)["accounts"]
                                   if a["account"] == EXCH)["bound"], 3, 0.05)
    assert set(accounts(seen(lab, "--unbound"))) == {EXCH, STRANGER}
    assert accounts(seen(lab, "--rc4")) == accounts(seen(lab, "--ntlm")) == []
    assert accounts(seen(lab, "--refused")) == [STRANGER]
    assert seen(lab, "--refused")["accounts"][0]["refused"] == 3
    assert accounts(seen(lab, "--http", "--since", "2100-01-01")) == []
    assert len(accounts(seen(lab, "--since", "1h"))) == 3
    # entries
    never = seen(lab, "--never")
    assert [e["subject"] for e in never["entries"]] == [FCI] and never["entries_unused"] == 1
    used = {e["subject"]: e for e in seen(lab, "--entries")["entries"]}
    assert set(used) == {EXCH, SP, FCI} and used[EXCH]["accounts"] == 1
    assert used[EXCH]["last"] >= start and used[FCI]["last"] is None
    assert [e["subject"] for e in seen(lab, "--never", "--since", "2100-01-01")["entries"]] == [
        EXCH, SP, FCI]
    listed = {s["subject"]: s["last_seen"] for s in lab.rmsctl_json("servers", "list")["servers"]}
    assert listed[EXCH] and listed[FCI] is None
    text = lab.rmsctl("servers", "seen").stdout
    assert EXCH in text and "over HTTP 1" in text and "1 of 3 entries let nobody in" in text
    assert FCI in lab.rmsctl("servers", "seen", "--never").stdout
    # An entry that is gone is no entry, and one that comes has not been used.
    lab.rmsctl("servers", "remove", SP)
    lab.rmsctl("servers", "add", "--role", "sharepoint", SP)
    assert [e["subject"] for e in seen(lab, "--never")["entries"]] == [FCI, SP]
    # All of it is there after a restart, and after a kill a few seconds later.
    before = seen(lab)
    restart(lab)
    assert seen(lab) == before
    assert call(lab, "FCI").status == 200
    lab.event(1002, account=FCI)
    assert wait_until(lambda: lab.status()["accounts_unsaved"] == 0, KEPT_S)
    before = seen(lab)
    lab.expected |= {"death", 3101}
    restart(lab, signal.SIGKILL)
    assert seen(lab) == before and set(accounts(before)) == {EXCH, SP, FCI, STRANGER}
    # It is no change of the list.
    assert lab.rmsctl_json("servers", "list")["generation"] == lab.status()["store"]["generation"]


def sids_of(lab, account):
    """What is known of its SIDs, but for how long ago."""
    told = lab.rmsctl_json("explain", account)["sids"]
    del told["age_s"]
    assert told["count"] == len(told["list"])
    return told


def test_the_longest_list_of_sids_outlives_the_connector(forged):
    """As many as there may be; also through a kill."""
    extra = [(f"S-1-5-21-7-7-7-1000000-1000000-1000000-{n}", p.ON) for n in range(1198)]
    who = "EXCH31$@CONTOSO.TEST"
    assert forged_call(forged, p.make(extra=extra), client="EXCH31$").status == 403
    before = sids_of(forged, who)
    assert before["count"] == 1200
    restart(forged)
    assert sids_of(forged, who) == before
    assert forged_call(forged, p.make(extra=extra[:-1]), client="EXCH31$").status == 403
    before = sids_of(forged, who)
    assert before["count"] == 1199
    assert wait_until(lambda: forged.status()["accounts_unsaved"] == 0, KEPT_S)
    forged.expected |= {"death", 3101}
    restart(forged, signal.SIGKILL)
    assert sids_of(forged, who) == before


def test_who_is_refused_is_named_as_far_as_it_is_known(forged):
    """2000: by the ticket, and with the SID that the account is known by; the
    sender is not proven by it."""
    who = "EXCH33$@CONTOSO.TEST"
    assert forged_call(forged, p.make(), client="EXCH33$").status == 403
    cache = forged.forger.cache(p.make(), client="EXCH33$")
    data = negotiate.Negotiate(p.SERVICE.partition("/")[2], cache).token()
    assert ask(forged.client(), field(data)).status == 403
    reply = ask(forged.client(source="127.0.2.31"), field(data))
    event = forged.event(2000, request_id=request_id(reply))
    assert (event["account"], event["mech"], event["address"]) == (who, "kerberos", "127.0.2.31")
    assert event["sid"] == "S-1-5-21-1-2-3-1103"
    assert f"(replay): claims to be {who}; " in event["reason"]
    # nothing of it is held to be the account's
    assert request_id(reply) not in str(forged.rmsctl_json("explain", who))
    told = forged.rmsctl_json("explain", request_id(reply))
    assert told["requests"][0]["detail"].startswith(f"claims to be {who}")
    # another account of that address is told too
    cache = forged.forger.cache(p.make(user=1104), client="EXCH34$")
    data = negotiate.Negotiate(p.SERVICE.partition("/")[2], cache).token()
    assert ask(forged.client(), field(data)).status == 403
    reply = ask(forged.client(source="127.0.2.31"), field(data))
    event = forged.event(2000, request_id=request_id(reply))
    assert (event["account"], event["sid"]) == ("EXCH34$@CONTOSO.TEST", "S-1-5-21-1-2-3-1104")
    # and a token in which nobody can be read names nobody
    reply = ask(forged.client(source="127.0.2.31"), field(b"\x60\x82garbage"))
    assert "account" not in forged.event(2000, request_id=request_id(reply))


def test_servers_conflicts(own):
    assert call(own, "STRANGER").status in (200, 403)
    before = own.counters()["authz_conflicts"]
    reply = own.rmsctl_json("servers", "conflicts")
    assert reply["conflicts"] == reply["overlaps"] == 0 and reply["accounts"] == []
    assert reply["requests"] == before


def test_conflict_of_one_with_groups(forged):
    """The metric counts, the report shows which decides, and overlap is less."""
    logon = p.make(groups=[(1200, p.ON), (1201, p.ON), (1202, p.ON)])
    other, third = GROUP[:-1] + "1", GROUP[:-1] + "2"
    before = forged.counters()["authz_conflicts"]
    with contextlib.ExitStack() as stack:
        for role, subject in (("sharepoint", GROUP), ("sharepoint", other), ("exchange", third)):
            forged.rmsctl("servers", "add", "--role", role, subject)
            stack.callback(forged.rmsctl, "servers", "remove", "--force", subject)
        assert forged_call(forged, logon).status == 200
        event = forged.event(2103, account=FORGED)
        assert forged.counters()["authz_conflicts"] == before + 1
        reply = forged.rmsctl_json("servers", "conflicts")
        [one] = reply["accounts"]
        assert (one["account"], one["conflict"], one["role"]) == (FORGED, True, "sharepoint")
        assert [m["subject"] for m in one["matches"]] == [GROUP, other, third]
        assert one["matches"][0]["decides"] and "lowest" in one["decided_why"]
        assert f"entry {one['entry']} decides" in event["reason"]
        assert (reply["conflicts"], reply["overlaps"], reply["requests"]) == (1, 0, before + 1)
        text = forged.rmsctl("servers", "conflicts").stdout
        assert "CONFLICT" in text and "decides: its number is the lowest" in text
        # At once by the newest list, without another connection.
        forged.rmsctl("servers", "remove", third)
        reply = forged.rmsctl_json("servers", "conflicts")
        assert (reply["conflicts"], reply["overlaps"]) == (0, 1)
        assert not reply["accounts"][0]["conflict"] and reply["accounts"][0]["overlap"]
        assert "overlap" in forged.rmsctl("servers", "conflicts").stdout
        forged.rmsctl("servers", "remove", other)
        assert forged.rmsctl_json("servers", "conflicts")["accounts"] == []
        forged.rmsctl("servers", "add", "--role", "exchange", third)
        forged.rmsctl("servers", "add", "--role", "exchange", other)


# --- single requests --------------------------------------------------------


def request_id(reply):
    return reply.get("X-RMS-Request-Id")


def explain_request(lab, reply):
    """What explain says of the request that this is the reply of."""
    told = lab.rmsctl_json("explain", request_id(reply))
    [request] = told["requests"]
    assert request["request_id"] == request_id(reply)
    assert request["status"] == reply.status and request["address"] == "127.0.0.1"
    return told, request


def test_explain_of_a_request_that_was_relayed(own):
    reply = call(own)
    told, request = explain_request(own, reply)
    assert (told["about"], told["account"], told["verdict"]) == ("account", EXCH, "allow")
    assert (request["account"], request["role"], request["op"]) == (EXCH, "exchange", NAME)
    assert request["end"] == "OK" and request["entry"] == told["entry"] and request["tls"]
    assert request["generation"] == told["table"]["generation"] and request["cause"] is None
    assert abs(time.time() - calendar.timegm(
        time.strptime(request["time"][:19], "%Y-%m-%dT%H:%M:%S"))) < 60
    # the account's own are shown with it
    reply = call(own, tls=False)
    ids = [r["request_id"] for r in own.rmsctl_json("explain", EXCH)["requests"]]
    assert ids[0] == request_id(reply) and request["request_id"] in ids
    text = own.rmsctl("explain", request_id(reply)).stdout
    assert request_id(reply) in text and "let in" in text


def test_explain_of_a_request_says_when_the_sids_are_of_a_later_one(forged):
    """It may have come with others."""
    first = forged_call(forged, p.make(groups=[(1200, p.ON)]), client="EXCH32$")
    told, _ = explain_request(forged, first)
    assert told["sids"]["later_s"] is None and told["sids"]["count"] == 3
    assert "later connection" not in forged.rmsctl("explain", request_id(first)).stdout
    second = forged_call(forged, p.make(groups=[(1201, p.ON)]), client="EXCH32$")
    told, _ = explain_request(forged, second)
    assert told["sids"]["later_s"] is None and f"{GROUP[:-1]}1" in str(told["sids"]["list"])
    told, _ = explain_request(forged, first)
    assert told["sids"]["later_s"] is not None and GROUP not in str(told["sids"]["list"])
    assert "(So it was with a later connection, " in forged.rmsctl(
        "explain", request_id(first)).stdout


def test_explain_of_a_request_by_a_list_that_is_no_more(own):
    """What was decided then, and beside it what is different now."""
    reply = call(own, "FCI")
    told, request = explain_request(own, reply)
    number, generation = told["entry"], request["generation"]
    then = f"let in by entry {number} of generation {generation}, role fci; kerberos, channel "
    assert told["then"].startswith(then) and told["now"] is None
    assert "; kvno " in told["then"] and request["enctype_name"] in told["then"]
    assert (request["verdict"], request["decided"]) == ("allow", told["then"])
    assert request["kvno"] == told["seen"]["kvno"] > 0 and not request["account_cut"]
    text = own.rmsctl("explain", request_id(reply)).stdout
    assert "Then:        " + then in text and "\nNow:" not in text
    own.rmsctl("servers", "add", "--role", "fci", "nobody$@LAB.TEST")
    own.rmsctl("servers", "remove", "nobody$@LAB.TEST")
    told, _ = explain_request(own, reply)
    assert told["now"] == f"the same, by generation {told['table']['generation']}"
    own.rmsctl("servers", "remove", FCI)
    try:
        told, request = explain_request(own, reply)
        assert told["then"].startswith(then) and told["verdict"] == "no_match"
        assert told["now"].startswith("REFUSED: no entry names ")
        assert f"(generation {told['table']['generation']})" in told["now"]
        assert told["advice"].startswith("The request was let in; ")
        text = own.rmsctl("explain", request_id(reply)).stdout
        assert text.index("\nThen:        " + then) < text.index("\nNow:         REFUSED")
        refused = call(own, "FCI")
    finally:
        own.rmsctl("servers", "add", "--role", "fci", FCI)
    told, request = explain_request(own, refused)
    assert told["then"].startswith("REFUSED: no entry names ") and request["verdict"] == "no_match"
    assert told["verdict"] == "allow" and told["now"].startswith("let in by entry ")
    assert told["advice"].startswith("The request was refused; ")


def test_explain_of_a_request_that_was_refused(own):
    reply = call(own, "STRANGER")
    told, request = explain_request(own, reply)
    assert (told["account"], told["verdict"]) == (STRANGER, "no_match")
    assert (request["end"], request["entry"], request["role"]) == ("AUTH_DENIED", None, None)
    assert "not in the authorization table" in own.rmsctl("explain", request_id(reply)).stdout


def test_explain_of_one_that_did_not_authenticate(own):
    """There is no account to ask for: the request, or the address."""
    reply = ask(own.client(), field(b"\x60\x03\x02\x01\x00"))
    assert reply.status == 401
    told, request = explain_request(own, reply)
    assert told["about"] == "request" and request["account"] is None
    assert request["end"] == "AUTH_FAILED" and request["cause"] and request["cause_remedy"]
    assert request["cause_text"] in told["advice"] and request["cause_remedy"] in told["advice"]
    assert own.event(2000, request_id=request_id(reply))
    told = own.rmsctl_json("explain", "127.0.0.1")
    assert told["about"] == "address"
    assert told["requests"][0]["request_id"] == request_id(reply)
    assert len(told["requests"]) <= 20
    assert request["cause_text"] in own.rmsctl("explain", "127.0.0.1").stdout
    # NTLM, which is told as another event
    reply = ask(own.client(), ("Authorization", "NTLM TlRMTVNTUAABAAAA"))
    assert explain_request(own, reply)[1]["end"] == "AUTH_FAILED"
    # nobody from there, no such request
    told = own.rmsctl_json("explain", "192.0.2.1")
    assert told["requests"] == [] and "No request from there" in told["advice"]
    gone = own.rmsctl("explain", "0123456789abcdef-1", check=False)
    assert gone.returncode == 1 and "is not remembered" in gone.stderr


def test_requests_of_a_relay_that_was_killed_are_known(private_lab):
    lab = private_lab(workers=1)
    refused, relayed = call(lab, "STRANGER"), call(lab)
    pid = lab.kill("relay")
    lab.wait_replaced("relay", 0, pid)
    lab.wait_ready()
    assert explain_request(lab, refused)[1]["end"] == "AUTH_DENIED"
    assert explain_request(lab, relayed)[1]["account"] == EXCH
    later = call(lab, "SHAREPOINT")
    assert explain_request(lab, later)[1]["account"] == SP
    assert explain_request(lab, refused)[1]["end"] == "AUTH_DENIED"
