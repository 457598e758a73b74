"""NTLM, from the clients' side: who comes in, and that an account stays with
the one connection that it proved itself on where connection_auth is on, and
with none by default.

The accounts are in a file of the connector; those of a domain are in
test_ntlm_domain.py."""

import base64
import contextlib
import os
import subprocess

import pytest

import negotiate
import ntlm
import pki
import sharing_proxy
import soap
from conftest import using
from keeper_peers import NTLMSSP
from listener_peers import bindings, listener
from nginx_peers import Nginx
from relay_peers import ask, field, own_error, ticket

EXCH, EXCH_PASSWORD = "CONTOSO\\exch01$", "Geheim-1"
SHARE, SHARE_PASSWORD = "CONTOSO\\sp01$", "Geheim-2"
PASSWORD = {EXCH: EXCH_PASSWORD, SHARE: SHARE_PASSWORD}
SCHEMES = [("NTLM", False), ("Negotiate", False), ("Negotiate", True)]
NAMES = ["raw", "negotiate-raw", "negotiate-spnego"]
BOTH = [False, True]
VIA = ("Via", "1.1 proxy.lab.test")


def make(module_lab, tmp_path_factory, **options):
    users = tmp_path_factory.mktemp("ntlm") / "users"
    users.write_text("".join(f"{a.replace(chr(92), ':')}:{p}\n" for a, p in PASSWORD.items()))
    users.chmod(0o600)
    made = module_lab(conf=f'ntlm = true\nntlm_user_file = "{users}"', **options)
    made.rmsctl("servers", "add", "--no-lookup", "--role", "exchange", EXCH)
    made.rmsctl("servers", "add", "--no-lookup", "--role", "sharepoint", SHARE)
    return made


@pytest.fixture(scope="module")
def _lab(module_lab, tmp_path_factory):
    return make(module_lab, tmp_path_factory)


@pytest.fixture
def lab(_lab):
    yield from using(_lab)


@pytest.fixture(scope="module")
def _by_default(module_lab, tmp_path_factory):
    return make(module_lab, tmp_path_factory, direct=False, workers=1)


@pytest.fixture
def by_default(_by_default):
    """A lab in which no account stays with a connection."""
    yield from using(_by_default)


def log_on(client, account=EXCH, password=None, scheme="NTLM", spnego=False, fields=(),
           bindings=None):
    """Both legs on this connection; the last reply."""
    one = ntlm.Ntlm(account, password or PASSWORD[account], spnego=spnego, bindings=bindings)
    reply = ask(client, field(one.token(), scheme), *fields)
    for _ in range(2):
        if reply.status != 401 or not ntlm.has_challenge(reply, scheme):
            break
        reply = ask(client, field(one.token(ntlm.challenge(reply, scheme)), scheme), *fields)
    return reply


def let_in(lab, reply, account=EXCH, role="exchange"):
    assert reply.status == 200, reply.body[:600]
    line = lab.access(reply)
    assert (line["account"], line["mech"], line["role"]) == (account, "ntlm", role), line
    return line


WORDS = {"logon": "name or password is not right", "no-winbind": "winbind does not answer",
         "ntlm": "offered NTLM, which is not enabled", "ntlm-proxy": "NTLM came through an",
         "ntlm-v1": "NTLM version 1", "anonymous": "anonymous or a guest",
         "malformed": "not one that the mechanism can read", "bad-binding": "channel binding"}


def refused(reply, cause):
    """The reply says why.  (Events are told no more often than a log can bear.)"""
    assert WORDS[cause] in own_error(reply, 401, "AUTH_FAILED")


def told(lab, number, cause):
    """The events of this kind say the cause, what would do and who."""
    event = lab.event(number)
    assert f"({cause})" in event["reason"] and "; " in event["reason"], event
    return event


def asked(reply, *offers):
    """A 401 that asks for authentication and offers just these."""
    own_error(reply, 401, "AUTH_REQUIRED")
    assert reply.all("WWW-Authenticate") == list(offers)


# --- who comes in ------------------------------------------------------------


@pytest.mark.parametrize("tls", BOTH, ids=["http", "https"])
@pytest.mark.parametrize("scheme, spnego", SCHEMES, ids=NAMES)
def test_in_every_wrapping(lab, scheme, spnego, tls):
    with lab.client(tls=tls) as client:
        let_in(lab, log_on(client, scheme=scheme, spnego=spnego))


def test_negotiate_is_offered_first(lab):
    with lab.client() as client:
        asked(ask(client), "Negotiate", "NTLM")


def test_kerberos_goes_on_beside_it(lab):
    with lab.client() as client:
        reply = ask(client, ticket(lab))
        assert reply.status == 200
        assert lab.access(reply)["mech"] == "kerberos"


def test_the_service_that_the_client_meant_is_known(lab):
    with lab.client() as client:
        let_in(lab, log_on(client))
    shown = lab.rmsctl_json("explain", EXCH)
    assert "HTTP/localhost" in str(shown), shown


@pytest.mark.parametrize("account, password, cause", [
    (EXCH, "wrong", "logon"), ("CONTOSO\\nobody", "x", "no-winbind"),
    ("OTHER\\exch01$", EXCH_PASSWORD, "no-winbind"), ("exch01$", EXCH_PASSWORD, "logon")],
    ids=["password", "account", "domain", "no domain"])
def test_who_does_not_come_in(lab, account, password, cause):
    with lab.client() as client:
        # There is no winbind: who is not in the file cannot be asked about.
        refused(log_on(client, account, password), cause)
        # The connection is as good as new.
        let_in(lab, log_on(client))


def test_clients_of_another_make(lab):
    """python3-requests-ntlm, with an implementation of its own."""
    script = ("import sys, requests\n"
              "from requests_ntlm import HttpNtlmAuth\n"
              "s = requests.Session(); s.trust_env = False\n"
              "s.auth = HttpNtlmAuth(sys.argv[2], sys.argv[3])\n"
              "for _ in range(2):\n"
              "    print(s.get(sys.argv[1]).status_code)\n")
    legacy = lab.path("legacy.cnf")  # it wants MD4 of OpenSSL
    with open(legacy, "w", encoding="ascii") as file:
        file.write("openssl_conf = a\n[a]\nproviders = b\n[b]\ndefault = c\nlegacy = c\n"
                   "[c]\nactivate = 1\n")
    url = lab.env["CONNECTOR_HTTP"] + "/_wmcs/licensing/license.asmx"
    for password, want in ((EXCH_PASSWORD, "200\n200\n"), ("wrong", "401\n401\n")):
        done = subprocess.run(["/usr/bin/python3", "-c", script, url, EXCH, password], check=True,
                              env=dict(os.environ, OPENSSL_CONF=legacy), stdout=subprocess.PIPE)
        assert done.stdout.decode() == want


# --- channel bindings ----------------------------------------------------------


@pytest.mark.parametrize("scheme, spnego", SCHEMES, ids=NAMES)
def test_channel_binding(lab, scheme, spnego):
    with lab.client().connect() as client:
        right = negotiate.channel_bindings(client.peer_certificate())
        reply = log_on(client, scheme=scheme, spnego=spnego, bindings=right)
        let_in(lab, reply)
        wrong = negotiate.channel_bindings(b"another certificate")
        refused(log_on(client, scheme=scheme, spnego=spnego, bindings=wrong), "bad-binding")


@pytest.mark.parametrize("tls", BOTH, ids=["http", "https"])
@pytest.mark.parametrize("scheme, spnego", SCHEMES, ids=NAMES)
def test_bound_to_the_certificate_of_a_balancer(lab, scheme, spnego, tls):
    """Who ends the client's TLS may send others' requests on this connection."""
    pem = os.path.join(lab.path("tls"), "balancer.pem")
    if not os.path.exists(pem):
        pki.make_certificate(lab.path("tls"), "balancer", ["DNS:localhost"])
    how = {"scheme": scheme, "spnego": spnego}
    with listener(lab, "behind", tls=tls, channel_binding="allow",
                  channel_binding_certificates=pem) as it:
        with it.client() as client:
            refused(log_on(client, bindings=bindings(pem), **how), "ntlm-proxy")
            # no account stays, and nobody's is taken on it any more
            asked(ask(client), "Negotiate")
            refused(log_on(client, **how), "ntlm-proxy")
        with it.client() as client:
            let_in(lab, log_on(client, **how))
            assert ask(client).status == 200
            # no more after a sign
            refused(log_on(client, bindings=bindings(pem), **how), "ntlm-proxy")
            asked(ask(client), "Negotiate")


# --- one connection, one account --------------------------------------------------


@pytest.mark.parametrize("tls", BOTH, ids=["http", "https"])
def test_the_account_stays_with_its_connection(lab, tls):
    with lab.client(tls=tls) as mine, lab.client(tls=tls) as other:
        let_in(lab, log_on(mine))
        for _ in range(3):
            let_in(lab, ask(mine))
        asked(ask(other), "Negotiate", "NTLM")
        let_in(lab, log_on(other, SHARE), SHARE, "sharepoint")
        let_in(lab, ask(mine))
        let_in(lab, ask(other), SHARE, "sharepoint")


@pytest.mark.parametrize("scheme, spnego", SCHEMES, ids=NAMES)
def test_the_second_leg_on_another_connection(lab, scheme, spnego):
    one = ntlm.Ntlm(EXCH, EXCH_PASSWORD, spnego=spnego)
    with lab.client() as first, lab.client() as second:
        reply = ask(first, field(one.token(), scheme))
        answer = one.token(ntlm.challenge(reply, scheme))
        reply = ask(second, field(answer, scheme))
        assert reply.status in (401, 503), reply.status
        asked(ask(second), "Negotiate", "NTLM")


def test_an_answer_is_good_once(lab):
    one = ntlm.Ntlm(EXCH, EXCH_PASSWORD)
    with lab.client() as client:
        reply = ask(client, field(one.token(), "NTLM"))
        answer = field(one.token(ntlm.challenge(reply, "NTLM")), "NTLM")
        let_in(lab, ask(client, answer))
        assert ask(client, answer).status in (401, 503)
        asked(ask(client), "Negotiate", "NTLM")


def test_a_new_authorization_ends_the_old_identity(lab):
    with lab.client() as client:
        let_in(lab, log_on(client))
        refused(log_on(client, password="wrong"), "logon")
        asked(ask(client), "Negotiate", "NTLM")
        let_in(lab, log_on(client, SHARE), SHARE, "sharepoint")
        let_in(lab, ask(client), SHARE, "sharepoint")
        # half a handshake is no identity either, and does not keep the old one
        ask(client, field(ntlm.Ntlm(EXCH, EXCH_PASSWORD).token(), "NTLM"))
        asked(ask(client), "Negotiate", "NTLM")


def test_a_half_done_handshake_is_dropped_by_another_scheme(lab):
    one = ntlm.Ntlm(EXCH, EXCH_PASSWORD)
    with lab.client() as client:
        reply = ask(client, field(one.token(), "NTLM"))
        answer = one.token(ntlm.challenge(reply, "NTLM"))
        reply = ask(client, field(answer, "Negotiate"))
        assert reply.status in (401, 503)
        asked(ask(client), "Negotiate", "NTLM")


@pytest.mark.parametrize("tls", BOTH, ids=["http", "https"])
@pytest.mark.parametrize("scheme, spnego", SCHEMES, ids=NAMES)
def test_by_default_each_request_logs_on(by_default, scheme, spnego, tls):
    """And is told so: a client of NTLM takes it otherwise (MS-N2HT 3.2.5)."""
    with by_default.client(tls=tls) as client:
        for account, role in ((EXCH, "exchange"), (SHARE, "sharepoint"), (EXCH, "exchange")):
            reply = log_on(client, account, scheme=scheme, spnego=spnego)
            let_in(by_default, reply, account, role)
            assert reply.get("Persistent-Auth") == "false"
            asked(ask(client), "Negotiate", "NTLM")


def test_what_a_client_is_told_of_what_stays(lab):
    with lab.client() as client:
        one = ntlm.Ntlm(EXCH, EXCH_PASSWORD)
        reply = ask(client, field(one.token(), "NTLM"))
        assert reply.status == 401 and not reply.all("Persistent-Auth")
        reply = ask(client, field(one.token(ntlm.challenge(reply, "NTLM")), "NTLM"))
        let_in(lab, reply)
        assert reply.get("Persistent-Auth") == "true"
        assert not ask(client).all("Persistent-Auth")


# --- intermediaries ------------------------------------------------------------------


@pytest.mark.parametrize("tls", BOTH, ids=["http", "https"])
@pytest.mark.parametrize("sign", [VIA, ("Forwarded", "for=10.0.0.1"),
                                  ("X-Forwarded-For", "10.0.0.1")], ids=lambda s: s[0])
@pytest.mark.parametrize("scheme, spnego", SCHEMES, ids=NAMES)
def test_ntlm_through_an_intermediary_is_refused(lab, scheme, spnego, sign, tls):
    with lab.client(tls=tls) as client:
        reply = log_on(client, scheme=scheme, spnego=spnego, fields=[sign])
        refused(reply, "ntlm-proxy")
        # and it is not offered there
        asked(ask(client, sign), "Negotiate")


@pytest.mark.parametrize("tls", BOTH, ids=["http", "https"])
def test_a_sign_that_comes_later(lab, tls):
    """The identity goes, the request is refused, and NTLM is over on this
    connection also without the sign."""
    with lab.client(tls=tls) as client:
        let_in(lab, log_on(client))
        refused(ask(client, VIA), "ntlm-proxy")
        asked(ask(client), "Negotiate")
        refused(log_on(client), "ntlm-proxy")
        # Kerberos proves each request by itself
        assert ask(client, ticket(lab)).status == 200
        asked(ask(client), "Negotiate")


def test_a_sign_between_the_legs(lab):
    for scheme, spnego in SCHEMES:
        one = ntlm.Ntlm(EXCH, EXCH_PASSWORD, spnego=spnego)
        with lab.client() as client:
            reply = ask(client, field(one.token(), scheme))
            answer = one.token(ntlm.challenge(reply, scheme))
            refused(ask(client, field(answer, scheme), VIA), "ntlm-proxy")
            asked(ask(client), "Negotiate")


@pytest.mark.parametrize("tls", BOTH, ids=["http", "https"])
@pytest.mark.parametrize("shows", ["Via", "Forwarded", "X-Forwarded-For"])
@pytest.mark.parametrize("scheme, spnego", SCHEMES, ids=NAMES)
def test_two_clients_behind_a_proxy_that_shares(lab, tmp_path, scheme, spnego, shows, tls):
    """NTLM is refused there, and the second client gets nobody's identity; nor
    does it with Kerberos, which proves each request."""
    with sharing(lab, tmp_path, tls, shows) as proxy:
        with soap.Client(proxy.url()) as first, soap.Client(proxy.url()) as second:
            before = lab.counters()["conns_accepted"]
            refused(log_on(first, scheme=scheme, spnego=spnego), "ntlm-proxy")
            asked(ask(second), "Negotiate")
            for _ in range(3):
                assert ask(first, ticket(lab)).status == 200
                asked(ask(second), "Negotiate")
            # it was the same connection indeed
            assert lab.counters()["conns_accepted"] - before <= 2


@pytest.mark.parametrize("tls", BOTH, ids=["http", "https"])
@pytest.mark.parametrize("scheme, spnego", SCHEMES, ids=NAMES)
def test_two_clients_behind_a_proxy_that_does_not_show_itself(by_default, tmp_path, scheme, spnego,
                                                              tls):
    """haproxy keeps a connection to one client when it sees us ask for NTLM or
    Negotiate; whichever it is, what one proved is good for its one request."""
    with sharing(by_default, tmp_path, tls, "") as proxy:
        with soap.Client(proxy.url()) as first, soap.Client(proxy.url()) as second:
            never_the_others(by_default, first, second, scheme, spnego)


@pytest.mark.parametrize("tls", BOTH, ids=["http", "https"])
@pytest.mark.parametrize("scheme, spnego", SCHEMES, ids=NAMES)
def test_two_clients_behind_a_proxy_that_shares_all_the_same(by_default, scheme, spnego, tls):
    """nginx sends everybody's legs over the one connection that it has."""
    lab = by_default
    way = {"way": (soap.urlsplit(lab.url(tls)).port, tls, None, None)}
    with Nginx(lab, way) as proxy:
        before = lab.counters()["conns_accepted"]
        with soap.Client(proxy.url("way")) as first, soap.Client(proxy.url("way")) as second:
            never_the_others(lab, first, second, scheme, spnego)
            # One's answer behind the other's challenge is nobody's.
            one, two = ntlm.Ntlm(EXCH, EXCH_PASSWORD, spnego=spnego), \
                ntlm.Ntlm(SHARE, SHARE_PASSWORD, spnego=spnego)
            his = ntlm.challenge(ask(first, field(one.token(), scheme)), scheme)
            reply = ask(second, field(two.token(), scheme))
            assert reply.status in (401, 503)
            assert ask(first, field(one.token(his), scheme)).status in (401, 503)
            asked(ask(second), "Negotiate", "NTLM")
            never_the_others(lab, first, second, scheme, spnego)
        assert lab.counters()["conns_accepted"] - before == 1, "not shared: proves nothing"


def never_the_others(lab, first, second, scheme, spnego):
    for _ in range(2):
        for client, other, account, role in ((first, second, EXCH, "exchange"),
                                             (second, first, SHARE, "sharepoint")):
            let_in(lab, log_on(client, account, scheme=scheme, spnego=spnego), account, role)
            asked(ask(other), "Negotiate", "NTLM")
            asked(ask(client), "Negotiate", "NTLM")


@contextlib.contextmanager
def sharing(lab, tmp_path, tls, shows):
    behind = soap.urlsplit(lab.url(tls)).port
    proxy = sharing_proxy.SharingProxy(str(tmp_path), behind, tls, shows)
    try:
        yield proxy
    finally:
        proxy.stop()


def test_what_the_event_of_it_says(lab):
    # the same event of one address would be held back for a minute
    with lab.client(source="127.0.2.106") as client:
        log_on(client, fields=[VIA])
    assert "layer 4" in told(lab, 2106, "ntlm-proxy")["reason"]


def test_the_event_names_who_was_refused(lab):
    """As the client calls itself: nothing is proven."""
    with lab.client(source="127.0.2.107") as client:
        refused(log_on(client, SHARE, "wrong"), "logon")
    event = told(lab, 2000, "logon")
    assert (event["account"], event["mech"]) == (SHARE, "ntlm")
    assert f"(logon): claims to be {SHARE}; " in event["reason"]


# --- bad input ---------------------------------------------------------------------------


def patched(message, **fields):
    """An AUTHENTICATE message with other fields (MS-NLMP 2.2.1.3)."""
    out = bytearray(message)
    if "nt" in fields:  # another response, at the end
        at = len(out)
        out[20:28] = (len(fields["nt"]).to_bytes(2, "little") * 2 + at.to_bytes(4, "little"))
        out += fields["nt"]
    if "user_len" in fields:
        out[36:40] = fields["user_len"].to_bytes(2, "little") * 2
    if "flags" in fields:
        flags = int.from_bytes(out[60:64], "little") | fields["flags"]
        out[60:64] = flags.to_bytes(4, "little")
    return bytes(out)


@pytest.mark.parametrize("change, cause", [
    ({"nt": bytes(24)}, "ntlm-v1"), ({"nt": b""}, "anonymous"), ({"user_len": 0}, "anonymous"),
    ({"flags": 0x800}, "anonymous"), ({"nt": bytes(300)}, "malformed"),
    ({"nt": b"x" * 60_000}, "malformed")],
    ids=["version 1", "no response", "no name", "anonymous", "not v2", "large"])
def test_answers_that_are_never_accepted(lab, change, cause):
    one = ntlm.Ntlm(EXCH, EXCH_PASSWORD)
    with lab.client() as client:
        reply = ask(client, field(one.token(), "NTLM"))
        answer = one.token(ntlm.challenge(reply, "NTLM"))
        refused(ask(client, field(patched(answer, **change), "NTLM")), cause)
        let_in(lab, log_on(client))


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate"])
def test_garbage(lab, scheme):
    with lab.client() as client:
        for data in (b"NTLMSSP\0", NTLMSSP[:-1] + b"\xff" * 50, b"NTLMSSP\0\3\0\0\0",
                     b"NTLMSSP\0\3\0\0\0" + b"\xff" * 80, b"NTLMSSP\0\x09\0\0\0" + bytes(80)):
            reply = ask(client, field(data, scheme))
            assert reply.status in (401, 503), (data, reply.status)
        let_in(lab, log_on(client))


def test_a_token_cut_anywhere(lab):
    one = ntlm.Ntlm(EXCH, EXCH_PASSWORD)
    with lab.client() as client:
        reply = ask(client, field(one.token(), "NTLM"))
        answer = one.token(ntlm.challenge(reply, "NTLM"))
        for n in range(0, len(answer), 41):
            assert ask(client, field(answer[:n] or b"x", "NTLM")).status in (401, 503)


def test_legs_without_end(lab):
    """The first message again and again: each begins anew, none piles up."""
    first = ntlm.Ntlm(EXCH, EXCH_PASSWORD).token()
    with lab.client() as client:
        for _ in range(20):
            assert ask(client, field(first, "NTLM")).status in (401, 503)
        let_in(lab, log_on(client))


# --- operation -------------------------------------------------------------------------------


def test_a_process_that_dies_costs_only_its_handshakes(lab):
    """Half-done ones begin again; who is logged on notices nothing."""
    with lab.client() as done, lab.client() as half:
        let_in(lab, log_on(done))
        one = ntlm.Ntlm(EXCH, EXCH_PASSWORD)
        reply = ask(half, field(one.token(), "NTLM"))
        answer = one.token(ntlm.challenge(reply, "NTLM"))
        for slot in range(2):
            pid = lab.kill("ntlm", slot)
            lab.wait_replaced("ntlm", slot, pid)
        own_error(ask(half, field(answer, "NTLM")), 503, "AUTH_TIMEOUT")
        let_in(lab, ask(done))
        let_in(lab, log_on(half))


def test_a_keeper_that_dies_is_found_again(lab):
    with lab.client() as done:
        let_in(lab, log_on(done))
        pid = lab.kill("keeper")
        lab.wait_replaced("keeper", 0, pid)
        let_in(lab, ask(done))
        with lab.client() as client:
            let_in(lab, log_on(client))


def test_switched_off_and_on_again_while_running(lab):
    with lab.client() as old:
        let_in(lab, log_on(old))
        lab.configure(ntlm="false")
        try:
            assert not [p for p in lab.status()["processes"] if p["role"] == "ntlm"]
            asked(ask(old), "Negotiate")  # an NTLM identity goes with it
            for scheme, spnego in SCHEMES:
                with lab.client() as client:
                    refused(log_on(client, scheme=scheme, spnego=spnego), "ntlm")
            with lab.client() as client:
                assert ask(client, ticket(lab)).status == 200
        finally:
            lab.configure(ntlm="true")
        let_in(lab, log_on(old))


def test_the_accounts_are_read_again(lab):
    with open(lab.env["CONNECTOR_CONF"], encoding="utf-8") as file:
        path = next(l.split('"')[1] for l in file if l.startswith("ntlm_user_file"))
    with open(path, encoding="ascii") as file:
        before = file.read()
    try:
        with open(path, "a", encoding="ascii") as file:
            file.write("CONTOSO:new$:Geheim-3\n")
        lab.rmsctl("reload")
        lab.wait_ready()
        with lab.client() as client:
            own_error(log_on(client, "CONTOSO\\new$", "Geheim-3"), 403, "AUTH_DENIED")
    finally:
        with open(path, "w", encoding="ascii") as file:
            file.write(before)
        lab.rmsctl("reload")
        lab.wait_ready()
    with lab.client() as client:
        refused(log_on(client, "CONTOSO\\new$", "Geheim-3"), "no-winbind")


@pytest.mark.parametrize("text, why", [
    ("CONTOSO:x\n", "no user or no password"), (":x:y\n", "does not begin with a domain"),
    ("# nobody\n", "no account in it")])
def test_a_file_of_accounts_that_is_none(lab, tmp_path, text, why):
    users = tmp_path / "users"
    users.write_text(text)
    users.chmod(0o600)
    check_refused(lab, users, why)


def test_a_file_of_accounts_that_others_can_read(lab, tmp_path):
    users = tmp_path / "users"
    users.write_text("CONTOSO:x:y\n")
    users.chmod(0o644)
    check_refused(lab, users, "group or others may reach it")


def check_refused(lab, users, why):
    """The configuration with that file is refused, with its line."""
    with open(lab.env["CONNECTOR_CONF"], encoding="utf-8") as file:
        lines = [l for l in file if not l.startswith("ntlm_user_file")]
    conf = users.parent / "conf"
    conf.write_text(f'ntlm_user_file = "{users}"\n' + "".join(lines))
    done = subprocess.run([os.path.join(lab.bin, "rms-connectord"), "-t", "-c", conf],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode != 0
    assert f"{conf}:1: ntlm_user_file" in done.stdout.decode() and why in done.stdout.decode()


def test_no_secret_in_any_log(lab):
    with lab.client() as client:
        let_in(lab, log_on(client))
    for name in ("CONNECTOR_LOG", "EVENT_LOG", "ACCESS_LOG"):
        with open(lab.env[name], encoding="utf-8", errors="replace") as file:
            text = file.read()
        assert not any(p in text or base64.b64encode(p.encode()).decode() in text
                       for p in PASSWORD.values())
