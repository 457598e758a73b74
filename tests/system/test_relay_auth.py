"""Who is let in by the relay, who is not, and what each of them is told."""

import itertools
import json
import os
import signal
import subprocess
import threading
import time

import pytest

import kdc as kdc_module
import keeper_peers
import negotiate
import soap
from conftest import using
from procs import free_ports, port_lock, wait_until
from relay_peers import NAME, PATH, ask, challenge, field, own_error, ticket, token

BODY = soap.acquire_license()
EXCH, SP = "exch01$@LAB.TEST", "sp01$@LAB.TEST"
OTHER_REALM = "OTHER.TEST"
_addresses = itertools.count(1)


# ---- the handshake -----------------------------------------------------------

@pytest.mark.parametrize("chunks", [None, 4000], ids=["length", "chunked"])
def test_first_body_is_drained_and_the_connection_survives(lab, chunks):
    body = soap.acquire_issuance_license(size=900_000)
    assert len(body) < 1 << 20  # drain_bytes_max
    with lab.server() as server:
        server.connect()
        sock, before = server.sock, lab.counters()["conns_accepted"]
        reply = server.call("AcquireIssuanceLicense", body, chunks=chunks)
        assert reply.status == 200 and server.challenges == 1
        assert server.sock is sock and lab.counters()["conns_accepted"] == before
    assert lab.cloud()["total"] == 1


def test_body_beyond_the_bound_is_not_read_to_its_end(lab):
    """The 401 comes at once and says that the connection ends."""
    with lab.client(see_end=True) as client:
        client.send(client.head("POST", PATH, soap.soap_fields(NAME) + [
            ("Content-Length", str((1 << 20) + 1))]))
        reply = client.read()
        challenge(reply)
        assert reply.get("Connection") == "close"
        assert client.at_end()
    # A chunked body does not say how long it will be: the 401 comes at the bound.
    with lab.client(see_end=True, tls=False) as client:
        client.send(client.head("POST", PATH, soap.soap_fields(NAME) + [
            ("Transfer-Encoding", "chunked")]))
        for _ in range(17):
            client.send(b"10000\r\n" + bytes(65536) + b"\r\n")
        reply = client.read()
        challenge(reply)
        assert reply.get("Connection") == "close"
        assert client.at_end()
    assert lab.cloud()["total"] == 0


@pytest.mark.parametrize("chunks", [None, 4000, 500_000],
                         ids=["length", "chunked", "large chunks"])
@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
def test_large_body_without_a_ticket_gets_its_answer(lab, chunks, tls):
    """A client that sends all of it before it reads is told that the connection
    ends, and is served on another one."""
    body = soap.acquire_issuance_license(size=5_000_000)
    with lab.server(tls=tls) as server:
        server.connect()
        sock = server.sock
        reply = server.call("AcquireIssuanceLicense", body, chunks=chunks)
        assert reply.status == 200 and server.challenges == 1
        assert server.sock is not sock
    assert lab.cloud()["total"] == 1


def test_body_of_unauthenticated_stranger_does_not_reach_the_cloud(lab):
    with lab.client() as client:
        challenge(ask(client))
        challenge(ask(client, chunks=100))
        assert client.get("/healthz").status == 200
    assert lab.cloud()["total"] == 0


def test_expect_is_answered_by_us(lab):
    with lab.server() as server:
        reply = server.call(NAME, BODY, expect=True, eager=True)
        assert reply.status == 200 and reply.interim == [100]
        # The body does not wait for the word: it may come or not.
        reply = ask(server, ("Expect", "100-continue"))
        assert reply.status == 200 and reply.interim in ([], [100])
    fields = dict(map(tuple, lab.cloud()["last"]["fields"]))
    assert "Expect" not in fields and lab.cloud()["total"] == 2


def test_expect_without_credentials_sends_no_body(lab):
    with lab.server() as server:
        reply = server.post(PATH, BODY, soap.soap_fields(NAME), expect=True)
        challenge(reply)
        assert reply.interim == []
        reply = server.call(NAME, BODY, expect=True, eager=True)
        assert reply.status == 200 and reply.interim == [100]


def test_server_proves_itself(lab):
    with lab.server() as server:
        reply = server.call(NAME, BODY)
        assert reply.status == 200 and server.mutual
        assert len(reply.all("WWW-Authenticate")) == 1
        # What needs no authentication brings no token.
        assert not ask(server).all("WWW-Authenticate")


def test_mechanisms(lab):
    for mech in (negotiate.SPNEGO, negotiate.KERBEROS):
        with lab.server(mech=mech) as server:
            assert server.call(NAME, BODY).status == 200 and server.mutual


def test_channel_binding(lab):
    with lab.server(bindings=True) as server:
        assert server.call(NAME, BODY).status == 200
    with lab.server() as server:
        server.connect()
        wrong = negotiate.channel_bindings(b"another certificate")
        reply = ask(server, ticket(lab, bindings=wrong))
        assert "channel binding" in own_error(reply, 401, "AUTH_FAILED")


def test_replayed_token_is_refused(lab):
    again = ticket(lab)
    with lab.server() as one, lab.server(tls=False) as two:
        assert ask(one, again).status == 200
        own_error(ask(two, again), 401, "AUTH_FAILED")
        assert ask(two, ticket(lab)).status == 200


# ---- whose request is it? ------------------------------------------------------

def test_identity_stays_with_a_direct_connection(lab):
    with lab.server() as server:
        assert server.call(NAME, BODY).status == 200
        for _ in range(3):
            reply = ask(server)
            assert reply.status == 200 and lab.access(reply)["account"] == EXCH
        # A request that brings credentials is decided by them alone.
        reply = ask(server, ticket(lab, "SHAREPOINT"))
        assert reply.status == 200 and lab.access(reply)["account"] == SP
        reply = ask(server)
        assert lab.access(reply)["role"] == "sharepoint"
        # And when they are wrong, what was before does not come back.
        own_error(ask(server, field(b"nonsense")), 401, "AUTH_FAILED")
        challenge(ask(server))


@pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])
@pytest.mark.parametrize("name, values", [
    ("Via", ("1.1 proxy-a", "1.1 proxy-b")),
    ("Forwarded", ("for=10.0.0.1", "for=10.0.0.2")),
    ("X-Forwarded-For", ("10.0.0.1", "10.0.0.2"))])
def test_two_clients_behind_one_proxy_connection(lab, tls, name, values):
    first, second = ((name, value) for value in values)
    with lab.client(tls=tls) as proxy:
        reply = ask(proxy, first, ticket(lab))
        assert reply.status == 200 and lab.access(reply)["account"] == EXCH
        challenge(ask(proxy, second))
        reply = ask(proxy, second, ticket(lab, "SHAREPOINT"))
        assert reply.status == 200
        assert (lab.access(reply)["account"], lab.access(reply)["role"]) == (SP, "sharepoint")
        challenge(ask(proxy, first))
        # Nor does one get it that the proxy forgot to mark.
        challenge(ask(proxy))
    assert lab.cloud()["total"] == 2


def test_a_proxy_that_shows_itself_late_costs_the_identity(lab):
    with lab.server() as server:
        assert server.call(NAME, BODY).status == 200
        assert ask(server).status == 200
        challenge(ask(server, ("Via", "1.1 late")))
        challenge(ask(server))
    with lab.server() as server:
        assert server.get("/healthz", [("X-Forwarded-For", "10.0.0.9")]).status == 200
        assert ask(server, ticket(lab)).status == 200
        challenge(ask(server))


def test_connection_auth_off(lab):
    """As it is by default."""
    with lab.server() as before:
        assert before.call(NAME, BODY).status == 200
        lab.configure(connection_auth=None)
        try:
            challenge(ask(before))  # what it had does not count any more
            with lab.server() as server:
                assert server.call(NAME, BODY).status == 200
                challenge(ask(server))
                assert ask(server, ticket(lab)).status == 200
                challenge(ask(server))
        finally:
            lab.configure(connection_auth="true")
        challenge(ask(before))  # nor does it come back
    with lab.server() as server:
        assert server.call(NAME, BODY).status == 200 and ask(server).status == 200


def test_client_is_told_whether_it_has_to_prove_itself_again(lab):
    """Persistent-Auth, where a request's own Authorization was good."""
    def said(reply, status=200):
        assert reply.status == status
        return reply.all("Persistent-Auth")
    with lab.server() as server:
        assert said(ask(server), 401) == []
        assert said(ask(server, field(b"nonsense")), 401) == []
        assert said(ask(server, ticket(lab))) == ["true"]
        assert said(ask(server)) == []
        assert said(server.get(PATH, [ticket(lab)])) == ["true"]
        assert said(ask(server, ticket(lab), ("Via", "1.1 proxy"))) == ["false"]
        assert said(ask(server, ticket(lab))) == ["false"]
    with lab.client() as client:
        assert said(ask(client, ticket(lab, "STRANGER")), 403) == ["true"]
    lab.configure(connection_auth=None)
    try:
        with lab.client() as client:
            assert said(ask(client, ticket(lab))) == ["false"]
            assert said(client.get(PATH, [ticket(lab)])) == ["false"]
    finally:
        lab.configure(connection_auth="true")


@pytest.mark.parametrize("on", ["true", None], ids=["on", "off"])
def test_curl_takes_the_hint(lab, on):
    """Two requests of one curl on one connection: it brings a token with each,
    unless it was told that it need not."""
    if on is None:
        lab.configure(connection_auth=None)
    try:
        before = lab.counters()
        url = lab.env["CONNECTOR_HTTPS"] + PATH
        done = subprocess.run(
            ["curl", "-s", "-o", "/dev/null", "-o", "/dev/null", "-w", "%{http_code} ",
             "--negotiate", "-u", ":", "--cacert", lab.env["CONNECTOR_CA"], url, url], check=True,
            env=dict(os.environ, KRB5CCNAME=lab.env["KRB5CCNAME_EXCHANGE"]),
            stdout=subprocess.PIPE)
        assert done.stdout == b"200 200 "
        after = lab.counters()
        assert after["conns_accepted"] - before["conns_accepted"] == 1
        assert after["auth_challenges"] == before["auth_challenges"]
        assert after["auth_ok"] - before["auth_ok"] == (1 if on else 2)
    finally:
        if on is None:
            lab.configure(connection_auth="true")


# ---- who is refused, and what the one who must act is told ---------------------

@pytest.fixture(scope="module")
def _own(module_lab):
    return module_lab()


@pytest.fixture
def own(_own):
    """A lab whose events are not held back by those of other tests."""
    yield from using(_own)


def refused(lab, authorization, cause, remedy, event=2000):
    """A request with this field is refused for this cause; an event says so
    with what would do; and an authorized server goes on."""
    address = f"127.0.1.{next(_addresses)}"  # the same event would be held back for a minute
    with lab.server() as other, lab.client(source=address) as client:
        assert other.call(NAME, BODY).status == 200
        reply = ask(client, authorization)
        text = own_error(reply, 401, "AUTH_FAILED")
        [scheme] = reply.all("WWW-Authenticate")  # with the library's words for the client
        assert scheme.split()[0] == "Negotiate"
        told = lab.event(event, request_id=reply.get("X-RMS-Request-Id"))
        assert told["level"] == "warning" and told["address"] == address, told
        assert f"({cause})" in told["reason"] and remedy in told["reason"], told
        assert told["reason"].partition(" (")[0] in text
        # The same connection may try again; the others were not touched.
        assert ask(client, ticket(lab)).status == 200
        assert ask(other).status == 200
        assert lab.access(reply)["end"] == "AUTH_FAILED"
    return told


def test_no_key_for_the_spn(own):
    own.kdc.admin("addprinc -randkey HTTP/nokey.lab.test\n")
    told = refused(own, field(token(own, host="nokey.lab.test")), "no-key-for-spn", "SPN")
    assert "HTTP/nokey.lab.test@LAB.TEST" in told["reason"]


def test_key_of_another_version(own):
    """The service's password was changed after the keytab was made."""
    own.kdc.admin("cpw -randkey HTTP/connector.lab.test\n")
    refused(own, field(token(own, host="connector.lab.test")), "kvno", "export the keytab again")
    own.kdc.admin(f"ktadd -norandkey -k {own.env['KEYTAB']} HTTP/connector.lab.test\n")
    own.rmsctl("reload")
    own.wait_ready()
    with own.client() as client:
        assert ask(client, field(token(own, host="connector.lab.test"))).status == 200


@pytest.mark.parametrize("data, cause, remedy, event", [
    (b"\x60\x82", "malformed", "between client and connector", 2000),
    (keeper_peers.NTLMSSP, "ntlm", "SPN", 2106),
    (keeper_peers.spnego_init([keeper_peers.OID_NTLM], keeper_peers.NTLMSSP), "ntlm", "SPN", 2106),
], ids=["garbage", "raw NTLM", "NTLM in SPNEGO"])
def test_useless_token(own, data, cause, remedy, event):
    refused(own, field(data), cause, remedy, event)


def test_other_schemes(own):
    refused(own, field(keeper_peers.NTLMSSP, "NTLM"), "ntlm", "SPN", 2106)
    refused(own, field(b"user:password", "Basic"), "no-mech", "Kerberos", 2106)


def test_authorization_that_is_not_base64(lab):
    with lab.client() as client:
        for value in ("Negotiate", "Negotiate !", "Negotiate YIIB=YII", "Negotiate a"):
            own_error(ask(client, ("Authorization", value)), 400, "AUTH_MALFORMED")
            client.close()


def test_token_of_66_kb(own):
    """So large is one with a thousand groups: it must get through; a byte of
    nonsense in the same size is refused like any other."""
    unknown = keeper_peers.der(6, b"\x2b\x06\x01\x04\x01" + bytes([1]) * 65_300)
    large = keeper_peers.spnego_init([keeper_peers.OID_KRB5, unknown],
                                     token(own, mech=negotiate.KERBEROS))
    assert 66_000 < len(large) < 66_300
    with own.client() as client:
        reply = ask(client, field(large))
        assert reply.status == 200, own.new("EVENT_LOG")
        assert own.access(reply)["account"] == EXCH
    refused(own, field(os.urandom(66_000)), "malformed", "between client")


def test_token_that_is_too_large(own):
    refused(own, field(bytes(67_000)), "too-large", "groups")
    with own.client(see_end=True) as client:
        own_error(ask(client, field(bytes(90_000))), 431, "AUTH_TOO_LARGE")
        assert client.at_end()


@pytest.fixture
def other_realm(own, tmp_path):
    """A second realm with an account of the same name and the connector's
    service, trusted by the lab's KDC; where its tickets are."""
    with port_lock():
        [port] = free_ports(1)
        kdc = kdc_module.Kdc(str(tmp_path / "other"), port, OTHER_REALM)
        kdc.create(["exch01$"], ["HTTP/localhost"])
        process = kdc.start()
    try:
        trust = f"addprinc -pw trust krbtgt/LAB.TEST@{OTHER_REALM}\n"
        kdc.admin(trust)
        own.kdc.admin(trust)
        kdc.kinit("exch01$", str(tmp_path / "cc"))
        kdc.cache = f"FILE:{tmp_path}/cc"
        yield kdc
    finally:
        process.stop()


def realms(kdc, own, home):
    """Points Kerberos to both realms, localhost being in `home`."""
    with open(kdc.config, encoding="ascii") as file:
        text = file.read()
    with open(kdc.config + ".both", "w", encoding="ascii") as file:
        file.write(text.partition("[domain_realm]")[0]
                   + f" LAB.TEST = {{\n  kdc = 127.0.0.1:{own.ports['kdc']}\n }}\n"
                   f"[domain_realm]\n localhost = {home}\n")
    os.environ["KRB5_CONFIG"] = kdc.config + ".both"


def test_ticket_of_another_realm(own, other_realm):
    realms(other_realm, own, OTHER_REALM)
    data = negotiate.Negotiate("localhost", other_realm.cache).token()
    told = refused(own, field(data), "wrong-realm", "trust")
    assert f"HTTP/localhost@{OTHER_REALM}" in told["reason"]


def test_namesake_from_a_trusted_realm_is_somebody_else(own, other_realm):
    realms(other_realm, own, "LAB.TEST")
    data = negotiate.Negotiate("localhost", other_realm.cache).token()
    with own.client() as client:
        reply = ask(client, field(data))
    own_error(reply, 403, "AUTH_DENIED")
    assert own.event(2001, account=f"exch01$@{OTHER_REALM}")
    assert own.cloud()["total"] == 0


def test_expired_ticket(private_lab, tmp_path):
    """Beyond its end by more than the clocks may differ (here a second)."""
    config = tmp_path / "krb5.conf"
    config.write_text("[libdefaults]\n default_realm = LAB.TEST\n clockskew = 1\n"
                      " dns_lookup_kdc = false\n")
    lab = private_lab(conf=f'krb5_config = "{config}"')
    lab.kdc.kinit("exch01$", str(tmp_path / "cc"), "-l", "1s")
    data = negotiate.Negotiate("localhost", f"FILE:{tmp_path}/cc").token()
    made = time.time()
    assert wait_until(lambda: time.time() > made + 3.1, 5)
    refused(lab, field(data), "expired", "fetches a new ticket")


def test_clock_of_the_client_is_wrong(own):
    """Tickets of the right time, an authenticator of another."""
    ticket(own)  # with a wrong clock the KDC would give none
    code = (f"import sys; sys.path.insert(0, {os.path.dirname(soap.__file__)!r}); "
            "import negotiate; print(negotiate.header('localhost'))")
    header = kdc_module.run(
        ["/usr/bin/python3", "-c", code],
        env=dict(os.environ, KRB5CCNAME=own.env["KRB5CCNAME_EXCHANGE"],
                 **keeper_peers.faketime_env("+6m")))
    refused(own, ("Authorization", header.strip()), "clock-skew", "NTP")


def test_account_that_is_not_on_the_list(own):
    with own.server("STRANGER") as server, own.server() as other:
        reply = server.call(NAME, BODY)
        text = own_error(reply, 403, "AUTH_DENIED")
        assert "authorization table" in text and server.mutual
        told = own.event(2001, account="stranger$@LAB.TEST")
        assert told["reason"] and told["request_id"] == reply.get("X-RMS-Request-Id")
        assert told["mech"] == "kerberos" and told["address"] == "127.0.0.1"
        line = own.access(reply)
        assert (line["status"], line["end"], line["account"]) == (
            403, "AUTH_DENIED", "stranger$@LAB.TEST")
        # Pages need no authorization, and the connection goes on.
        assert server.get(PATH).status == 200
        assert other.call(NAME, BODY).status == 200
    assert own.cloud()["total"] == 1


def test_insecure_transport_is_told(own):
    """Once; the way back to HTTPS after a pause (tests/unit/master/test_seen.c)."""
    with own.server("FCI") as secure, own.server("FCI", tls=False) as plain:
        assert secure.call(NAME, BODY).status == 200
        assert plain.call(NAME, BODY).status == 200
        told = own.event(2002, account="fci01$@LAB.TEST")
        assert told["level"] == "warning" and told["role"] == "fci"
        for server in (plain, secure, plain):
            own.access(ask(server))
    assert len([e for e in own.new("EVENT_LOG") if e["id"] in (1003, 2002)]) == 1


def test_expired_entry(own):
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
    own.rmsctl("servers", "add", "--role", "fci", "--expires", soon, "stranger$@LAB.TEST")
    try:
        with own.server("STRANGER") as server:
            assert server.call(NAME, BODY).status == 200
            wait_until(lambda: ask(server).status != 200, 5, 0.1)
            own_error(ask(server), 403, "AUTH_EXPIRED")
    finally:
        own.rmsctl("servers", "remove", "stranger$@LAB.TEST")


# ---- the keeper is not there -----------------------------------------------------

def test_keeper_killed(private_lab):
    lab = private_lab(workers=1, conf='auth_timeout_ms = "2s"')
    with lab.server() as tls, lab.server(tls=False) as plain, lab.server(tls=False) as late:
        for server in (tls, plain):
            assert server.call(NAME, BODY).status == 200
        late.connect()
        # It does not answer: whoever waits for it is told so when it ends.
        keeper = lab.kill("keeper", number=signal.SIGSTOP)
        answers = []
        waiting = threading.Thread(target=lambda: answers.append(ask(late, ticket(lab))))
        waiting.start()
        try:
            for server in (tls, plain):  # their identity is known
                assert ask(server).status == 200
            assert wait_until(lambda: lab.counters()["requests_open"] == 1, 5)
        finally:
            lab.kill("keeper")
            waiting.join(10)
        assert answers[0].status == 503 and answers[0].get("Retry-After")
        for server in (tls, plain):
            assert ask(server).status == 200
        lab.wait_replaced("keeper", 0, keeper)
        assert lab.event(3101)["reason"].startswith("keeper 0")
        assert ask(late, ticket(lab)).status == 200
    with lab.server() as server:  # TLS handshakes need it too
        assert server.call(NAME, BODY).status == 200


def test_keeper_that_does_not_answer(private_lab):
    """Each waits no longer than auth_timeout_ms, and no more wait than may."""
    lab = private_lab(workers=1, conf='auth_timeout_ms = "400ms"\nwatchdog_ms = "30s"')
    with lab.server(tls=False) as server, lab.server(tls=False) as known:
        assert known.call(NAME, BODY).status == 200
        lab.kill("keeper", number=signal.SIGSTOP)
        try:
            reply = ask(server, ticket(lab))
            assert "did not answer in time" in own_error(reply, 503, "AUTH_TIMEOUT")
            assert int(reply.get("Retry-After")) > 0
            assert lab.event(2104)["reason"].startswith("AUTH_TIMEOUT")
            assert ask(known).status == 200
        finally:
            lab.kill("keeper", number=signal.SIGCONT)
        assert ask(server, ticket(lab)).status == 200


def test_keeper_with_more_than_it_can_do(private_lab):
    lab = private_lab(workers=1, conf='keeper_queue_max = 1\nauth_timeout_ms = "5s"')
    clients = [lab.server(tls=False) for _ in range(12)]
    fields, answers = [ticket(lab) for _ in clients], []
    lab.kill("keeper", number=signal.SIGSTOP)
    threads = [threading.Thread(target=lambda c=c, f=f: answers.append(ask(c, f)))
               for c, f in zip(clients, fields)]
    for thread in threads:
        thread.start()
    assert wait_until(lambda: lab.counters()["requests_open"] == len(clients), 5)
    lab.kill("keeper", number=signal.SIGCONT)
    for thread in threads:
        thread.join(10)
    statuses = [a.status for a in answers]
    assert statuses.count(200) >= 1 and statuses.count(503) >= 1, statuses
    assert statuses.count(200) + statuses.count(503) == len(clients), statuses
    for answer in answers:
        if answer.status == 503:
            own_error(answer, 503, "AUTH_BUSY")
            assert int(answer.get("Retry-After")) > 0
    assert lab.event(2104, level="warning")["reason"].startswith("AUTH_BUSY")
    for client in clients:
        client.close()


def test_nothing_secret_is_logged(own):
    """No token of a client, whole or in part, in any log."""
    authorization = ticket(own)
    with own.server() as server:
        assert ask(server, authorization).status == 200
        reply = ask(server, field(b"\x60" + os.urandom(60)))
        own.access(reply)
    needle = authorization[1].split()[1][200:260].encode()
    for name in ("ACCESS_LOG", "EVENT_LOG", "CONNECTOR_LOG"):
        with open(own.env[name], "rb") as file:
            data = file.read()
        assert needle not in data, name
    assert all(json.dumps(line) for line in own.new("ACCESS_LOG"))
