"""The cloud agent alone: a driver plays its master and its relays, and a
token endpoint and a DNS on loopback answer it well and badly."""

import base64
import json
import os
import pathlib
import queue
import socket
import subprocess
import sys
import threading
import time

import pytest

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lab"))
import cloud_peers  # noqa: E402
import pki  # noqa: E402
import proxy_peers  # noqa: E402
from cloud_peers import NXDOMAIN, SERVFAIL, SILENT  # noqa: E402
from proxy_peers import ScriptedProxy  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build/debug"))
HOST, TENANT = "token.example.test", "tenant.example.test"
SECRET = "s3cr~t+/=&%~Q\u00e9"
SECRETS = {"client-a": SECRET, "client-b": "other-secret"}
WAIT = 20


class Driver:
    """tests/fault/cloud_driver with one rms-cloud under it."""

    def __init__(self, env=None):
        self.process = subprocess.Popen(
            [BUILD / "fault/cloud_driver", BUILD / "bin/rms-cloud"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})})
        self.lines, self.seen, self.stderr = queue.Queue(), [], []
        for stream, sink in ((self.process.stdout, self.lines.put),
                             (self.process.stderr, self.stderr.append)):
            threading.Thread(target=self._pump, args=(stream, sink), daemon=True).start()

    @staticmethod
    def _pump(stream, sink):
        for line in stream:
            sink(line.decode("utf-8", "replace").rstrip("\n"))

    def do(self, *commands):
        self.process.stdin.write("".join(c + "\n" for c in commands).encode())
        self.process.stdin.flush()

    def expect(self, *starts, seconds=WAIT):
        """The next line that starts so; those before it are kept in seen."""
        end = time.monotonic() + seconds
        while True:
            try:
                line = self.lines.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(
                    f"no line {starts}; seen {self.seen[-12:]}; log {self.log()[-3000:]}") from None
            self.seen.append(line)
            if line.startswith(starts):
                return line

    def quiet(self, *starts, seconds=0.5):
        """Nothing that starts so for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                line = self.lines.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                return
            self.seen.append(line)
            assert not line.startswith(starts), line

    def show(self):
        self.do("show")
        return json.loads(self.expect("show ")[5:])

    def slot(self, credential=1):
        return next((s for s in self.show()["slot"] if s["credential"] == credential), None)

    def failed(self, credential=1):
        """Its slot, once the failure that was reported is published."""
        show = self.until(lambda s: any(x["credential"] == credential and x["state"] == 2
                                        for x in s["slot"]))
        return next(x for x in show["slot"] if x["credential"] == credential)

    def until(self, what, seconds=WAIT):
        """Polls the segment until what(show) holds."""
        end = time.monotonic() + seconds
        while True:
            show = self.show()
            if what(show):
                return show
            assert time.monotonic() < end, (show, self.log()[-3000:])
            time.sleep(0.03)

    def status(self, what):
        """The newest status, or one to come, for which what() holds."""
        line = next((s for s in reversed(self.seen) if s.startswith("status ")), None)
        while True:
            status = json.loads((line or self.expect("status "))[7:])
            if what(status):
                return status
            line = None

    def log(self):
        return "\n".join(self.stderr)

    def close(self):
        if self.process.poll() is None:
            self.do("quit")
        self.process.stdin.close()
        assert self.process.wait(WAIT) == 0, self.log()


@pytest.fixture(scope="module")
def certs(tmp_path_factory):
    where = tmp_path_factory.mktemp("pki")
    pki.make_ca(str(where))
    pki.make_certificate(str(where), "token", [f"DNS:{HOST}", "IP:127.0.0.1"])
    pki.make_certificate(str(where), "wrong", ["DNS:elsewhere.test"])
    other = where / "other"
    other.mkdir()
    pki.make_ca(str(other))
    return where


@pytest.fixture
def dns():
    server = cloud_peers.Dns()
    server.records[HOST] = [("A", "127.0.0.1", 60)]
    server.records[TENANT] = [("A", "127.0.0.9", 60), ("AAAA", "::9", 60)]
    yield server
    server.close()


@pytest.fixture
def endpoint(certs):
    server = cloud_peers.TokenEndpoint(certs / "token.pem", certs / "token.key", SECRETS)
    yield server
    server.close()
    assert server.faults == []


@pytest.fixture
def driver(certs, dns, endpoint):
    # A proxy and a key log that must have no effect.
    d = Driver({"https_proxy": "http://127.0.0.1:1", "ALL_PROXY": "http://127.0.0.1:1",
                "SSLKEYLOGFILE": str(certs / "keys.log")})
    d.do(f"ca {certs}/ca.pem", f"set dns_servers 127.0.0.1:{dns.port}",
         f"set token_url https://{HOST}:{endpoint.port}/t/oauth2/v2.0/token",
         f"set tenant_url https://{TENANT}", "set dns_ttl_min_ms 100",
         "set token_timeout_ms 2000", "set token_retry_max_ms 300",
         f"cred 1 default client-a {SECRET}")
    yield d
    d.close()
    for secret in SECRETS.values():
        assert secret not in d.log() + "\n".join(d.seen)
    assert "BUG" not in d.log()
    assert not (certs / "keys.log").exists()


def start(d):
    d.do("start", "peer 0", "apply")
    d.expect("ready 1")


# --- the good path -----------------------------------------------------------


def test_token_and_addresses_are_published(driver, endpoint):
    start(driver)
    driver.expect("news 0 TOKEN_NEWS")
    show = driver.until(lambda s: s["slot"] and s["slot"][0]["token"] and s["naddr"] == 2)
    slot = show["slot"][0]
    assert slot["token"] == "tok.client-a.1" and slot["serial"] == 1 and slot["state"] == 1
    # 3599 s less the margin of 30 s, and the time that the request took.
    assert 3559000 < slot["expires_ms"] <= 3569000
    assert 0.8 * 3299000 - 10000 <= slot["retry_ms"] <= 0.9 * 3299000
    assert show["host"] == TENANT and show["dns_failed"] == 0
    status = driver.status(lambda s: s["cred"] and s["cred"][0]["state"] == 1 and s["naddr"])
    assert set(status["addrs"].split(",")) == {"127.0.0.9", "::9"}
    assert status["cred"][0]["expires_in_s"] > 3500 and status["cred"][0]["error"] == ""
    assert endpoint.requests[0]["client_secret"] == SECRET
    driver.quiet("event")


def test_refresh_and_expiry(driver, endpoint):
    endpoint.expires_in = 4
    start(driver)
    driver.until(lambda s: s["slot"] and s["slot"][0]["serial"] == 1)
    driver.until(lambda s: s["slot"][0]["serial"] == 2, seconds=4)
    # The service fails: the token stays till its end, not longer.
    endpoint.reply = lambda form: (500, {}, b"")
    line = driver.expect("event 2101")
    assert "HTTP 500" in line and "credential default" in line
    assert driver.failed()["token"] == "tok.client-a.2"
    driver.expect("event 3100")
    driver.until(lambda s: s["slot"][0]["token"] == "" and s["slot"][0]["state"] == 2)
    driver.quiet("event")
    endpoint.reply = endpoint.token
    driver.expect("event 1102")
    driver.until(lambda s: s["slot"][0]["token"] == "tok.client-a.3")


def test_refresh_in_is_the_earliest_moment(driver, endpoint):
    endpoint.extra = {"refresh_in": 1000}
    start(driver)
    slot = driver.until(lambda s: s["slot"] and s["slot"][0]["token"])["slot"][0]
    assert 995000 <= slot["retry_ms"] <= 1260000


def test_agent_restart_keeps_a_valid_token(driver, endpoint):
    start(driver)
    driver.until(lambda s: s["slot"] and s["slot"][0]["token"] and s["naddr"] == 2)
    endpoint.reply = lambda form: (503, {"Retry-After": "100"}, b"")
    driver.do("kill")
    driver.expect("end")
    driver.do("start", "peer 0", "apply")
    driver.expect("ready 2")
    driver.expect("event 2101")
    show = driver.show()
    assert show["slot"][0]["token"] == "tok.client-a.1" and show["slot"][0]["serial"] == 1
    assert show["naddr"] == 2


# --- a token service that fails ----------------------------------------------


AAD = {"error": "invalid_client", "error_codes": [7000215], "error_description":
       "AADSTS7000215: Invalid client secret provided.\r\nTrace ID: 1\x07 Timestamp: now"}


def reply(status, body, **fields):
    body = json.dumps(body).encode() if isinstance(body, dict) else body
    return lambda form: (status, {k.replace("_", "-"): v for k, v in fields.items()}, body)


def good(**change):
    body = {"token_type": "Bearer", "expires_in": 3599, "access_token": "abc", **change}
    return reply(200, {k: v for k, v in body.items() if v is not None})


@pytest.mark.parametrize("answer, words", [
    (reply(400, AAD), ["HTTP 400 invalid_client AADSTS7000215", "secret is wrong",
                       "Trace ID: 1 Timestamp"]),
    (reply(401, AAD), ["HTTP 401 invalid_client AADSTS7000215"]),
    (reply(400, {"error": "invalid_scope"}), ["HTTP 400 invalid_scope"]),
    (reply(401, {"error": "x", "error_description": "you sent " + SECRET}), ["you sent ***"]),
    (reply(500, b"oops"), ["HTTP 500", "not JSON"]),
    (reply(503, b""), ["HTTP 503", "empty"]),
    (reply(429, b"", Retry_After="7"), ["throttling", "HTTP 429"]),
    (reply(200, b"<!DOCTYPE html><html>hello</html>"), ["HTML"]),
    (reply(200, b""), ["the reply is empty"]),
    (reply(200, b"[1,2]"), ["not JSON"]),
    (reply(200, {"a": 1}), ["no access_token"]),
    (reply(302, b"", Location="https://127.0.0.1/"), ["redirect"]),
    (good(token_type="mac"), ["token_type is not Bearer"]),
    (good(expires_in=None), ["no expires_in"]),
    (good(expires_in=-5), ["expires_in is not a positive number"]),
    (good(expires_in=10**9), ["longer than 30 days"]),
    (good(access_token="a b"), ["characters that no token has"]),
    (good(access_token="a\r\nX-Evil: 1"), ["characters that no token has"]),
    (good(access_token="a" * 8193), ["longer than 8192"]),
    (reply(200, b'{"access_token":"' + b"a" * 70000), ["larger than 64 KiB"]),
    (lambda form: None, ["closed the connection without a reply"]),
    (lambda form: b"220 smtp ready\r\n", ["does not speak HTTP"]),
    (lambda form: b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", ["connection broke"]),
])
def test_bad_answer(driver, endpoint, answer, words):
    endpoint.reply = answer
    start(driver)
    line = driver.expect("event")
    assert line.startswith("event 3100 credential default: ")
    for word in words:
        assert word in line, line
    assert not any(ord(c) < 32 for c in line)
    assert driver.failed()["token"] == ""
    status = driver.status(lambda s: s["cred"] and s["cred"][0]["error"])
    assert words[0] in status["cred"][0]["error"]
    driver.quiet("event")  # the same cause again is no news
    endpoint.reply = endpoint.token
    if b"Retry" not in repr(answer({})).encode():
        driver.expect("event 1102")


def test_time_out(driver, endpoint):
    endpoint.reply = lambda form: time.sleep(4)
    driver.do("set token_timeout_ms 300")
    start(driver)
    assert "time-out waiting for the reply: after 300 ms" in driver.expect("event 3100")


def test_connection_refused(driver, endpoint):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        driver.do(f"set token_url https://{HOST}:{s.getsockname()[1]}/t/oauth2/v2.0/token")
        start(driver)
        assert "connection refused" in driver.expect("event 3100")


def test_handshake_time_out(driver):
    with socket.create_server(("127.0.0.1", 0)) as s:
        driver.do(f"set token_url https://{HOST}:{s.getsockname()[1]}/",
                  "set token_timeout_ms 300")
        start(driver)
        assert "time-out in the TLS handshake" in driver.expect("event 3100")


def test_certificate_of_unknown_issuer(driver, certs):
    driver.do(f"ca {certs}/other/ca.pem")
    start(driver)
    line = driver.expect("event 3100")
    assert "certificate is not acceptable" in line and "rms-connector lab CA" in line
    # The right issuers arrive with a reload; the pause is not waited for.
    driver.do(f"ca {certs}/ca.pem", "apply")
    driver.expect("event 1102")


def test_certificate_for_another_name(driver, certs):
    server = cloud_peers.TokenEndpoint(certs / "wrong.pem", certs / "wrong.key", SECRETS)
    driver.do(f"set token_url https://{HOST}:{server.port}/t/oauth2/v2.0/token")
    start(driver)
    line = driver.expect("event 3100")
    assert "certificate is not acceptable" in line and HOST in line
    assert server.requests == []
    server.close()


@pytest.mark.parametrize("record, words", [
    (NXDOMAIN, "there is no such name"), (SERVFAIL, "every name server answered with an error"),
    ([], "has no address"), (SILENT, "no name server answered in time")])
def test_token_host_unresolvable(driver, dns, record, words):
    dns.records[HOST] = record
    start(driver)
    line = driver.expect("event 3100", seconds=30)
    assert HOST in line and words in line
    dns.records[HOST] = [("A", "127.0.0.1", 60)]
    driver.expect("event 1102", seconds=30)


def test_retry_after_is_obeyed(driver, endpoint):
    endpoint.reply = reply(429, b"", Retry_After="3")
    start(driver)
    driver.expect("event 3100")
    slot = driver.failed()
    assert 2000 < slot["retry_ms"] <= 3300
    endpoint.reply = endpoint.token
    driver.do("apply")  # a reload does not shorten it
    driver.expect("ready 2")
    time.sleep(1.5)
    assert len(endpoint.requests) == 1
    driver.expect("event 1102")


def test_retry_after_as_a_date_and_too_long(driver, endpoint):
    then = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 100))
    endpoint.reply = reply(503, b"", Retry_After=then)
    driver.do("cred 2 second client-b other-secret")
    start(driver)
    driver.expect("event 3100")
    driver.expect("event 3100")
    assert 97000 < driver.failed(2)["retry_ms"] <= 111000
    endpoint.reply = reply(503, b"", Retry_After="999999999999999999999")
    # Another secret is another request: not throttled.
    driver.do("cred 1 default client-a x", "apply")
    endpoint.secrets = {**SECRETS, "client-a": "x"}
    driver.expect("event 3100")
    slot = driver.until(lambda s: s["slot"][0]["retry_ms"] > 200000)["slot"][0]
    assert 3590000 < slot["retry_ms"] <= 3961000


def test_refused_request_is_not_repeated_for_a_minute(driver, endpoint):
    driver.do("set token_retry_max_ms 3600000")
    endpoint.reply = reply(400, AAD)
    start(driver)
    driver.expect("event 3100")
    assert 58000 < driver.failed()["retry_ms"] <= 60000


# --- relays that report a stale token ----------------------------------------


def test_stale_token_is_fetched_again_once(driver, endpoint):
    start(driver)
    driver.do("peer 1")
    driver.until(lambda s: s["slot"] and s["slot"][0]["serial"] == 1)
    driver.do("stale 0 1 7", "stale 0 9 1")  # not ours, unknown credential
    driver.quiet("event")
    assert len(endpoint.requests) == 1
    driver.do("stale 0 1 1", "stale 1 1 1", "stale 0 1 1")
    driver.until(lambda s: s["slot"][0]["serial"] == 2)
    driver.do("stale 1 1 1")
    driver.quiet("event")
    assert len(endpoint.requests) == 2
    assert driver.slot()["token"] == "tok.client-a.2"


def test_service_that_repeats_its_token_is_not_asked_in_a_circle(driver, endpoint):
    endpoint.reply = good()
    start(driver)
    driver.until(lambda s: s["slot"] and s["slot"][0]["serial"] == 1)
    driver.do("stale 0 1 1")
    driver.until(lambda s: s["slot"][0]["serial"] == 2)
    driver.do("stale 0 1 2")
    driver.quiet("event")
    assert len(endpoint.requests) == 2


# --- changes -----------------------------------------------------------------


def test_only_what_changed_is_fetched_again(driver, endpoint):
    driver.do("cred 2 second client-b other-secret")
    start(driver)
    driver.until(lambda s: len(s["slot"]) == 2 and all(x["token"] for x in s["slot"]))
    driver.do("apply")
    driver.expect("ready 2")
    driver.quiet("event")
    assert len(endpoint.requests) == 2
    endpoint.secrets = {**SECRETS, "client-b": "new"}
    driver.do("cred 2 second client-b new", "apply")
    driver.until(lambda s: any(x["serial"] == 3 for x in s["slot"]))
    assert [r["client_id"] for r in endpoint.requests[2:]] == ["client-b"]
    driver.do("nocred 1", "apply")
    driver.until(lambda s: [x["credential"] for x in s["slot"]] == [2])
    assert len(endpoint.requests) == 3


def test_another_client_id_drops_the_old_token_at_once(driver, endpoint):
    start(driver)
    driver.until(lambda s: s["slot"] and s["slot"][0]["token"])
    endpoint.reply = reply(500, b"")
    driver.do("cred 1 default client-b other-secret", "apply")
    driver.expect("event 3100")
    assert driver.failed()["token"] == ""


def test_no_tenant(driver):
    driver.do("set token_url ", "set tenant_url ")
    start(driver)
    assert "tenant_id" in driver.expect("event 3100")
    driver.quiet("event")


# --- names -------------------------------------------------------------------


def tenant_addrs(d, count):
    return d.until(lambda s: s["naddr"] == count and s["host"] == TENANT)


def test_ttl_and_change_of_address(driver, dns):
    dns.records[TENANT] = [("A", "127.0.0.7", 1)]
    driver.do("set dns_ttl_max_ms 1000")
    start(driver)
    first = tenant_addrs(driver, 1)
    time.sleep(0.3)
    asked = len([q for q in dns.queries if q == (TENANT, 1)])
    assert asked == 1
    dns.records[TENANT] = [("A", "127.0.0.8", 1), ("A", "127.0.0.7", 1)]
    second = tenant_addrs(driver, 2)
    assert second["addr_serial"] == first["addr_serial"] + 1
    assert asked < len([q for q in dns.queries if q == (TENANT, 1)]) <= 4


@pytest.mark.parametrize("blip, words", [
    (NXDOMAIN, "there is no such name"), (SERVFAIL, "every name server answered with an error"),
    (SILENT, "no name server answered in time")])
def test_old_addresses_stay_when_the_dns_fails(driver, dns, blip, words):
    dns.records[TENANT] = [("A", "127.0.0.7", 0)]
    start(driver)
    before = tenant_addrs(driver, 1)
    dns.records[TENANT] = blip
    assert words in driver.expect("event 2102", seconds=30)
    show = driver.until(lambda s: s["dns_failed"] == 1)
    assert show["naddr"] == 1 and show["addr_serial"] == before["addr_serial"]
    status = driver.status(lambda s: s["dns_failed"])
    assert words in status["dns_error"] and status["addrs"] == "127.0.0.7"
    dns.records[TENANT] = [("A", "127.0.0.7", 0)]
    driver.until(lambda s: s["dns_failed"] == 0, seconds=30)


def test_tenant_never_resolved(driver, dns):
    dns.records[TENANT] = NXDOMAIN
    start(driver)
    line = driver.expect("event 3105")
    assert TENANT in line and "no such name" in line
    driver.quiet("event 3105", "event 2102", seconds=1.5)


def test_given_addresses_and_literals_ask_nobody(driver, dns, endpoint):
    driver.do("set cloud_addresses 10.1.2.3, 2001:db8::1",
              f"set token_url https://127.0.0.1:{endpoint.port}/t/oauth2/v2.0/token")
    start(driver)
    tenant_addrs(driver, 2)
    driver.until(lambda s: s["slot"] and s["slot"][0]["token"])
    assert dns.queries == []
    driver.do("set tenant_url https://127.0.0.5:8443", "set cloud_addresses ", "apply")
    driver.until(lambda s: s["host"] == "127.0.0.5" and s["naddr"] == 1)
    assert dns.queries == []


def test_another_tenant_forgets_the_old_addresses(driver, dns):
    dns.records["new.example.test"] = SERVFAIL
    start(driver)
    tenant_addrs(driver, 2)
    driver.do("set tenant_url https://new.example.test", "apply")
    driver.until(lambda s: s["host"] == "new.example.test" and s["naddr"] == 0)


# --- for whom a token is -------------------------------------------------------


def test_tokens_are_for_the_tenant_that_is_named(driver, endpoint):
    """Relays take them nowhere else; so those of the one before are not said
    to be another's, not even while that one's are fetched."""
    driver.do(f"set tenant_url https://{TENANT}/")
    start(driver)
    show = driver.until(lambda s: s["slot"] and s["slot"][0]["token"])
    assert show["tenant"] == f"https://{TENANT}"
    silent = threading.Event()
    endpoint.reply = lambda form: silent.wait(WAIT) and endpoint.token(form)
    for url in (f"https://{TENANT}:8443", f"https://{TENANT}/other", "https://new.example.test"):
        driver.do(f"set tenant_url {url}", "apply")
        driver.until(lambda s, url=url: s["tenant"] == url)
        slot = driver.slot()
        assert slot["token"] == "" and slot["expires_ms"] == 0, (url, slot)
    endpoint.reply = endpoint.token
    silent.set()
    show = driver.until(lambda s: s["slot"][0]["token"])
    assert show["tenant"] == "https://new.example.test"
    serial = show["slot"][0]["serial"]
    # Nothing else of a set is another tenant.
    driver.do("set dns_ttl_min_ms 200", f"set tenant_url {show['tenant']}/", "apply")
    driver.expect("ready")
    show = driver.show()
    assert show["slot"][0]["token"] and show["slot"][0]["serial"] == serial
    driver.do("set tenant_url ", "apply")
    show = driver.until(lambda s: s["tenant"] == "")
    assert not show["slot"][0]["token"] or show["slot"][0]["serial"] > serial


def test_agent_restart_keeps_no_token_of_another_tenant(driver, endpoint):
    start(driver)
    driver.until(lambda s: s["slot"] and s["slot"][0]["token"])
    endpoint.reply = lambda form: (503, {"Retry-After": "100"}, b"")
    driver.do("kill")
    driver.expect("end")
    driver.do("set tenant_url https://new.example.test", "start", "peer 0", "apply")
    driver.expect("ready 2")
    driver.expect("event 3100")
    show = driver.show()
    assert show["slot"][0]["token"] == "" and show["tenant"] == "https://new.example.test"


# --- its own life ------------------------------------------------------------


def test_drain_ends_at_once(driver):
    start(driver)
    driver.do("drain")
    assert driver.expect("end").endswith("status 0")


# --- through a web proxy -------------------------------------------------------


def test_proxy_is_what_is_resolved(driver, dns, endpoint):
    """Its name, not those behind it; and its password reaches the relays."""
    with ScriptedProxy(names={HOST: "127.0.0.1"}) as proxy:
        dns.records["proxy.example.test"] = [("A", "127.0.0.1", 60)]
        driver.do(f"set proxy http://proxy.example.test:{proxy.port}",
                  "proxycred 2 hq svc-rms p~ss:word", "set proxy_credential hq")
        start(driver)
        show = driver.until(lambda s: s["slot"] and s["slot"][0]["token"] and s["naddr"] == 1)
        assert show["host"] == "proxy.example.test"
        assert base64.b64decode(show["proxy_basic"]) == b"svc-rms:p~ss:word"
        assert [s["credential"] for s in show["slot"]] == [1]  # no token for the proxy's
        assert {name for name, _ in dns.queries} == {"proxy.example.test"}
        assert proxy.tunnels == [(HOST, endpoint.port)]
        assert proxy_peers.basic(proxy.heads[0]) == "svc-rms:p~ss:word"
        # And back, live.
        driver.do("set proxy ", "apply")
        show = driver.until(lambda s: s["host"] == TENANT and s["naddr"] == 2)
        assert show["proxy_basic"] == ""
    assert "p~ss" not in driver.log() + "\n".join(driver.seen)


def test_password_comes_with_its_proxy(driver, dns):
    """Relays go by the old proxy until the new one's name is known: until then
    they are not given the new one's password, which they would send there."""
    dns.records["old.example.test"] = [("A", "127.0.0.1", 60)]
    dns.records["new.example.test"] = SILENT
    driver.do("set proxy http://old.example.test:3128", "proxycred 2 old svc-old one",
              "proxycred 3 new svc-new two", "set proxy_credential old")
    start(driver)
    show = driver.until(lambda s: s["naddr"] == 1)
    assert (show["host"], base64.b64decode(show["proxy_basic"])) == \
        ("old.example.test", b"svc-old:one")
    driver.do("set proxy http://new.example.test:3128", "set proxy_credential new", "apply")
    driver.until(lambda s: "new.example.test" in {name for name, _ in dns.queries})
    show = driver.show()
    assert (show["host"], base64.b64decode(show["proxy_basic"])) == \
        ("old.example.test", b"svc-old:one")
    dns.records["new.example.test"] = [("A", "127.0.0.1", 60)]
    show = driver.until(lambda s: s["host"] == "new.example.test" and s["naddr"] == 1)
    assert base64.b64decode(show["proxy_basic"]) == b"svc-new:two"
    # The same proxy, another password: at once.
    driver.do("set proxy_credential old", "apply")
    driver.until(lambda s: base64.b64decode(s["proxy_basic"]) == b"svc-old:one")


def test_it_is_said_which_proxy_the_password_is_for(driver, dns):
    """Relays send it to no other, not even one of the same name."""
    def published(show):
        return (show["host"], show["proxy_port"], show["proxy_tls"],
                base64.b64decode(show["proxy_basic"]), show["naddr"])
    dns.records["proxy.example.test"] = [("A", "127.0.0.1", 60)]
    driver.do("set proxy http://proxy.example.test:3128", "proxycred 2 old svc-old one",
              "proxycred 3 new svc-new two", "set proxy_credential old")
    start(driver)
    name, old, new = "proxy.example.test", b"svc-old:one", b"svc-new:two"
    driver.until(lambda s: published(s) == (name, 3128, 0, old, 1))
    driver.do("set proxy http://proxy.example.test:3129", "set proxy_credential new", "apply")
    driver.until(lambda s: published(s) == (name, 3129, 0, new, 1))
    driver.do("set proxy https://proxy.example.test:3129", "set proxy_credential old", "apply")
    driver.until(lambda s: published(s) == (name, 3129, 1, old, 1))
    driver.do("set proxy ", "apply")
    driver.until(lambda s: published(s) == (TENANT, 0, 0, b"", 2))


def test_proxy_exempts_by_host(driver, dns, endpoint):
    driver.do("set proxy http://127.0.0.1:1", f"set no_proxy {HOST}")
    start(driver)
    driver.until(lambda s: s["slot"] and s["slot"][0]["token"] and s["host"] == "127.0.0.1")
    assert {name for name, _ in dns.queries} == {HOST}


@pytest.mark.parametrize("answer, words", [
    (b"HTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n",
     ["wants authentication (407)", "no proxy_credential"]),
    (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", ["does not open the way", "HTTP 403"]),
    (b"HTTP/1.1 200 OK\r\n\r\njunk" * 3, ["TLS failed"]),
    (b"", ["through the web proxy"]),
], ids=["407", "403", "junk", "closes"])
def test_proxy_that_fails(driver, answer, words):
    with ScriptedProxy(ScriptedProxy.says(answer)) as proxy:
        driver.do(f"set proxy http://127.0.0.1:{proxy.port}")
        start(driver)
        line = driver.expect("event 3100")
        assert f"through the web proxy 127.0.0.1:{proxy.port}" in line
        for word in words:
            assert word in line, line


def test_proxy_that_is_not_there(driver):
    driver.do("set proxy http://127.0.0.1:1")
    start(driver)
    assert "the proxy refuses connections" in driver.expect("event 3100")


def test_proxy_with_a_wrong_certificate(driver, certs):
    with ScriptedProxy(tls=(certs / "wrong.pem", certs / "wrong.key")) as proxy:
        driver.do(f"set proxy https://127.0.0.1:{proxy.port}")
        start(driver)
        assert "the proxy's certificate is not acceptable" in driver.expect("event 3100")
        assert proxy.heads == []
