"""The web proxy between the connector and the cloud: real ones, and one that
does what no proxy should."""

import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import labctl
import pki
import services
import soap
import standin_soap
from conftest import using
from procs import wait_until
from proxy_peers import ScriptedProxy, Squid, Tinyproxy, basic
from relay_peers import NAME, own_error, wait_halfway

BODY = soap.acquire_license()
LARGE = soap.acquire_issuance_license(size=2 << 20)
HOST = labctl.TENANT_HOST
NAMES = {HOST: "127.0.0.1"}
LAB_CA = "rms-connector lab CA (tests only)"
CONF = "\n".join((
    'cloud_connect_timeout_ms = "600ms"', 'cloud_tls_timeout_ms = "800ms"',
    'proxy_timeout_ms = "700ms"', 'token_timeout_ms = "2s"', 'token_retry_max_ms = "300ms"',
    'no_proxy = "127.0.0.1"'))


@pytest.fixture(scope="module")
def _proxied(module_lab):
    lab = module_lab(workers=1, conf=CONF)
    tls = lab.path("tls")
    pki.make_certificate(tls, "proxy", ["DNS:localhost", "IP:127.0.0.1"], pki.EC)
    return lab


@pytest.fixture
def proxied(_proxied):
    """A lab with one relay whose tests set `proxy` and leave none."""
    yield from using(_proxied)
    _proxied.edit(proxy=None, proxy_credential=None, proxy_ca_file=None,
                  no_proxy='"127.0.0.1"')
    _proxied.rmsctl("set", "cloud_issuers", "")
    _proxied.configure()
    good(_proxied)  # whatever was told is over


def pair(lab, stem="proxy"):
    return lab.path(f"tls/{stem}.pem"), lab.path(f"tls/{stem}.key")


def use(lab, proxy, scheme="http", host="127.0.0.1", **more):
    lab.configure(proxy=f'"{scheme}://{host}:{proxy.port}"', **more)


def failed(lab, reply, status, reason, *words):
    text = own_error(reply, status, reason)
    assert "fault of: network;" in text, text
    for word in words:
        assert word in text, text
    line = lab.access(reply)
    assert (line["status"], line["end"]) == (status, reason)
    return text


def good(lab, server=None, large=False):
    """A call that does well; its reply."""
    if server is None:
        with lab.server() as server:
            return good(lab, server, large)
    reply = server.call(NAME, BODY)
    assert reply.status == 200, reply.body[:300]
    fields = {n.lower(): v for n, v in soap.soap_fields(NAME)}
    assert reply.body == standin_soap.answer(
        lab.env["CLOUD_URL"], services.BY_NAME[NAME].paths[0], fields, BODY).body
    if large:
        assert server.call("AcquireIssuanceLicense", LARGE).status == 200
    return reply


# ---- real ones ----------------------------------------------------------------------

@pytest.mark.parametrize("scheme", ["http", "https"])
def test_squid(proxied, scheme):
    with Squid(NAMES, pair(proxied) if scheme == "https" else None) as squid:
        use(proxied, squid, scheme)
        before = proxied.counters()
        with proxied.server() as server:
            good(proxied, server, large=True)
            for _ in range(5):
                good(proxied, server)
        now = proxied.counters()
        assert now["up_connects"] - before["up_connects"] == 1
        assert now["up_reused"] - before["up_reused"] == 6
        wanted = f"CONNECT {HOST}:{proxied.ports['cloud']}"
        proxied.cloud(drop_connections=True)  # squid writes its line at the end
        assert wait_until(lambda: wanted in squid.log(), 5), squid.log()


def test_squid_resumes_sessions_with_the_cloud(proxied):
    with Squid(NAMES, pair(proxied)) as squid:
        use(proxied, squid, "https")
        with proxied.server() as server:
            good(proxied, server)
            before = proxied.counters()
            proxied.cloud(drop_connections=True)
            good(proxied, server)
            assert proxied.counters()["up_tls_resumed"] == before["up_tls_resumed"] + 1


def test_squid_that_wants_a_password(proxied):
    password = "p\u00e4ss:w/rd+"
    with Squid(NAMES, users={"svc-rms": password}) as squid:
        use(proxied, squid)
        with proxied.server() as server:
            text = failed(proxied, server.call(NAME, BODY), 502, "PROXY_AUTH", "HTTP 407", "no proxy_credential")
            assert squid.dir not in text
            told = proxied.event(3110, level="error")
            assert "HTTP 407" in told["reason"] and "rmsctl credentials proxy" in told["remedy"] \
                if "remedy" in told else True
            secret = proxied.path("proxy.secret")
            with open(secret, "w", encoding="utf-8", opener=lambda p, f: os.open(p, f, 0o600)) as f:
                f.write("wrong")
            proxied.rmsctl("credentials", "proxy", "hq", "--user", "svc-rms",
                           "--secret-file", secret)
            proxied.configure(proxy_credential='"hq"')
            failed(proxied, server.call(NAME, BODY), 502, "PROXY_AUTH", "does not take the proxy_credential")
            with open(secret, "w", encoding="utf-8") as f:
                f.write(password)
            proxied.rmsctl("credentials", "proxy", "hq", "--user", "svc-rms",
                           "--secret-file", secret)
            proxied.wait_ready()
            good(proxied, server)
            # Tokens take the same way with the same password.
            proxied.configure(no_proxy=None)
            mark = proxied.counters()["token_fetches"]
            proxied.cloud(rules=[{"op": NAME, "status": 401, "times": 1}])
            assert server.call(NAME, BODY).status == 200
            assert proxied.counters()["token_fetches"] > mark
            proxied.cloud(drop_connections=True)
            assert wait_until(lambda: f"CONNECT 127.0.0.1:{proxied.ports['token']}" in squid.log(),
                              5), squid.log()
        assert f"CONNECT {HOST}" in squid.log() and " svc-rms " in squid.log()
    listed = proxied.rmsctl_json("credentials", "list")["credentials"]
    assert [(k["name"], k["kind"], k["client_id"]) for k in listed if k["kind"] == "proxy"] == \
        [("hq", "proxy", "svc-rms")]
    for name in ("CONNECTOR_LOG", "EVENT_LOG", "ACCESS_LOG"):
        with open(proxied.env[name], encoding="utf-8") as file:
            assert password not in file.read()


def test_tinyproxy(proxied):
    url = proxied.env["CLOUD_URL"]
    with Tinyproxy() as tiny:
        use(proxied, tiny)
        proxied.cloud(set={"host": "localhost"})
        proxied.rmsctl("set", "tenant_url", f"https://localhost:{proxied.ports['cloud']}")
        try:
            proxied.wait_ready()
            with proxied.server() as server:
                assert server.call(NAME, BODY).status == 200
                assert server.call("AcquireIssuanceLicense", LARGE).status == 200
            assert f"localhost:{proxied.ports['cloud']}" in tiny.log(), tiny.log()
        finally:
            proxied.cloud(set={"host": HOST})
            proxied.rmsctl("set", "tenant_url", url)


# ---- what it is told, and what not --------------------------------------------------

def test_connect_says_no_more_than_it_must(proxied):
    with ScriptedProxy(names=NAMES) as proxy:
        use(proxied, proxy)
        good(proxied)
        [head] = proxy.heads
    target = f"{HOST}:{proxied.ports['cloud']}"
    assert re.fullmatch(rf"CONNECT {target} HTTP/1\.1\r\nHost: {target}\r\n"
                        r"User-Agent: rms-connector/[\d.]+", head), head


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxy_at_an_ipv6_address(proxied, scheme):
    pki.make_certificate(proxied.path("tls"), "proxy6", ["IP:::1"], pki.EC)
    with ScriptedProxy(names=NAMES, address="::1",
                       tls=pair(proxied, "proxy6") if scheme == "https" else None) as proxy:
        use(proxied, proxy, scheme, host="[::1]")
        good(proxied)
        assert len(proxy.tunnels) == 1


def test_cloud_at_an_ipv6_address(proxied):
    """The literal keeps its brackets on the way."""
    url = proxied.env["CLOUD_URL"]
    with ScriptedProxy(ScriptedProxy.says(b"HTTP/1.1 503 no\r\n\r\n")) as proxy:
        use(proxied, proxy)
        proxied.rmsctl("set", "tenant_url", "https://[2001:db8::7]:4443")
        try:
            proxied.wait_ready()
            with proxied.server() as server:
                assert server.call(NAME, BODY).status == 502
            assert proxy.heads[0].startswith(
                "CONNECT [2001:db8::7]:4443 HTTP/1.1\r\nHost: [2001:db8::7]:4443\r\n")
        finally:
            proxied.rmsctl("set", "tenant_url", url)


def test_no_proxy_goes_straight(proxied):
    with ScriptedProxy(names=NAMES) as proxy:
        use(proxied, proxy, no_proxy='"127.0.0.1, .lab.test"')
        good(proxied)
        assert proxy.connections == 0


def test_tokens_take_the_same_way(proxied):
    with ScriptedProxy(names=NAMES, tls=pair(proxied)) as proxy:
        use(proxied, proxy, "https", no_proxy=f'"{HOST}"')
        proxied.cloud(rules=[{"op": NAME, "status": 401, "times": 1}])
        with proxied.server() as server:
            assert server.call(NAME, BODY).status == 200
        assert ("127.0.0.1", proxied.ports["token"]) in proxy.tunnels
        assert all("Authorization" not in h for h in proxy.heads)


# ---- live ----------------------------------------------------------------------------

def test_changes_are_live_and_lose_no_request(proxied):
    with ScriptedProxy(names=NAMES) as one, ScriptedProxy(names=NAMES) as two, \
            proxied.server() as server:
        good(proxied, server)
        for proxy in (one, two):
            use(proxied, proxy)
            good(proxied, server)
            assert len(proxy.tunnels) == 1
        proxied.configure(proxy=None)
        good(proxied, server)
        assert (len(one.tunnels), len(two.tunnels)) == (1, 1)
        # Without a pause in between: the way is the old one until the new
        # one's addresses are there.
        for number in range(6):
            proxied.edit(proxy=f'"http://localhost:{(one, two)[number % 2].port}"')
            proxied.rmsctl("reload")
            for _ in range(10):
                good(proxied, server)


def passwords(lab, *names):
    """Each with a user of its name, and so with the password NAME:word-NAME."""
    for name in names:
        secret = lab.path(f"{name}.secret")
        with open(secret, "w", encoding="utf-8", opener=lambda p, f: os.open(p, f, 0o600)) as f:
            f.write(f"word-{name}")
        lab.rmsctl("credentials", "proxy", name, "--user", name, "--secret-file", secret)


def heard(proxy):
    """The passwords that it was told."""
    return {basic(head) for head in proxy.heads}


@pytest.mark.parametrize("late", ["cloud", "relay"])
def test_no_proxy_gets_the_password_of_another_port(proxied, late):
    """Cloud agent and relay take a set one after the other, in either order."""
    other = {"cloud": "relay", "relay": "cloud"}[late]
    with ScriptedProxy(names=NAMES) as one, ScriptedProxy(names=NAMES) as two, \
            proxied.server() as server, ThreadPoolExecutor() as pool:
        passwords(proxied, "one", "two")
        use(proxied, one, proxy_credential='"one"')
        good(proxied, server)
        proxied.cloud(drop_connections=True)
        assert wait_until(lambda: proxied.counters()["up_idle"] == 0, 5)
        pid = proxied.kill(late, 0, signal.SIGSTOP)
        try:
            proxied.edit(proxy=f'"http://127.0.0.1:{two.port}"', proxy_credential='"two"')
            reload = pool.submit(proxied.rmsctl, "reload")
            wait_halfway(proxied, late, other)
            if late == "cloud":
                good(proxied, server)
                assert len(one.heads) == 2 and two.connections == 0
            else:
                call = pool.submit(good, proxied)
                time.sleep(0.2)
        finally:
            os.kill(pid, signal.SIGCONT)
        reload.result()
        if late == "relay":
            call.result()
        proxied.cloud(drop_connections=True)
        good(proxied, server)
        assert (heard(one), heard(two)) == ({"one:word-one"}, {"two:word-two"})
        # Under way all the time.
        for number in range(8):
            proxy, name = ((one, "one"), (two, "two"))[number % 2]
            proxied.edit(proxy=f'"http://127.0.0.1:{proxy.port}"', proxy_credential=f'"{name}"')
            reload = pool.submit(proxied.rmsctl, "reload")
            while not reload.done():
                proxied.cloud(drop_connections=True)
                good(proxied, server)
            reload.result()
        assert (heard(one), heard(two)) == ({"one:word-one"}, {"two:word-two"})


def test_pooled_connections_of_the_old_way_end(proxied):
    with ScriptedProxy(names=NAMES) as proxy:
        use(proxied, proxy)
        good(proxied)
        assert proxied.counters()["up_idle"] == 1
        proxied.configure(proxy=None)
        assert wait_until(lambda: proxied.counters()["up_idle"] == 0, 3)


@pytest.mark.parametrize("value, words", [
    ("proxy.example.com:3128", "neither http:// nor https://"),
    ("http://proxy.example.com", "the port is missing"),
    ("http://user:word@proxy.example.com:3128", "name a proxy_credential"),
    ("socks5://proxy.example.com:1080", "neither http:// nor https://")])
def test_values_that_are_refused(proxied, value, words):
    proxied.edit(proxy=f'"{value}"')
    result = proxied.rmsctl("reload", check=False)
    assert result.returncode == 1 and words in result.stdout + result.stderr
    good(proxied)


# ---- proxies that do not do what they should -------------------------------------------

OK = b"HTTP/1.1 200 Connection established\r\n"
JUNK = {
    "closes at once": (ScriptedProxy.says(b""), 502, "PROXY_CLOSED", "instead of an answer"),
    "closes in the head": (ScriptedProxy.says(OK), 502, "PROXY_CLOSED", "in its answer"),
    "says nothing": (ScriptedProxy.says(b"", "stall"), 504, "PROXY_SLOW", "no answer"),
    "stalls in the head": (ScriptedProxy.says(OK, "stall"), 504, "PROXY_SLOW", "does not end"),
    "403": (ScriptedProxy.says(b"HTTP/1.1 403 Forbidden by \x07policy\r\n\r\n"[:26] +
                               b"by policy\r\nContent-Length: 0\r\n\r\n"), 502, "PROXY_REFUSED",
            "HTTP 403"),
    "503": (ScriptedProxy.says(b"HTTP/1.0 503 Service Unavailable\r\n\r\n<html>"), 502,
            "PROXY_REFUSED", "HTTP 503"),
    "302": (ScriptedProxy.says(b"HTTP/1.1 302 Found\r\nLocation: https://evil/\r\n\r\n"), 502,
            "PROXY_REFUSED", "HTTP 302"),
    "101": (ScriptedProxy.says(b"HTTP/1.1 101 Switching\r\n\r\n"), 502, "PROXY_REFUSED", "101"),
    "SSH": (ScriptedProxy.says(b"SSH-2.0-OpenSSH\r\n\r\n"), 502, "PROXY_BAD_REPLY", ""),
    "bare LF": (ScriptedProxy.says(b"HTTP/1.1 200 OK\n\n"), 502, "PROXY_BAD_REPLY", "CR LF"),
    "binary": (ScriptedProxy.says(bytes(range(256)) * 4), 502, "PROXY_BAD_REPLY", ""),
    "endless head": (ScriptedProxy.says(OK + b"X: " + b"x" * 20000, "stall"), 502,
                     "PROXY_BAD_REPLY", "has no end"),
    "too many fields": (ScriptedProxy.says(OK + b"X: y\r\n" * 200 + b"\r\n"), 502,
                        "PROXY_BAD_REPLY", ""),
    "endless 100": (ScriptedProxy.says(b"HTTP/1.1 100 Continue\r\n\r\n" * 2000, "stall"), 502,
                    "PROXY_BAD_REPLY", "has no end"),
    "200, then nothing": (ScriptedProxy.says(OK + b"\r\n", "stall"), 502, "CLOUD_TLS",
                          "took too long"),
    "200, then close": (ScriptedProxy.says(OK + b"\r\n"), 502, "CLOUD_TLS", ""),
    "200, then junk": (ScriptedProxy.says(OK + b"\r\n<html>junk</html>" * 9, "stall"), 502,
                       "CLOUD_TLS", ""),
}


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("what", JUNK)
def test_proxies_that_answer_wrong(proxied, what, scheme):
    serve, status, reason, words = JUNK[what]
    with ScriptedProxy(serve, tls=pair(proxied) if scheme == "https" else None) as proxy:
        use(proxied, proxy, scheme)
        with proxied.server() as server:
            start = time.monotonic()
            text = failed(proxied, server.call(NAME, BODY), status, reason, words,
                          f"web proxy 127.0.0.1 (127.0.0.1:{proxy.port})")
            assert "\x07" not in text and time.monotonic() - start < 10
            assert proxy.connections == 1
            number = 3107 if reason == "CLOUD_TLS" else 3111
            assert proxied.event(number, level="error")
            proxied.configure(proxy=None)
            good(proxied, server)
            assert proxied.event(1104)


def test_bytes_behind_the_answer_belong_to_tls(proxied):
    """The answer and the first bytes of the cloud may come together, and both
    in the smallest pieces."""
    def serve(proxy, sock, head):
        there = proxy.connect(head)
        for byte in proxy.answer[:-1]:
            sock.sendall(bytes([byte]))
        # The client's hello comes only after the last byte.
        sock.sendall(proxy.answer[-1:])
        hello = sock.recv(65536)
        there.sendall(hello)
        for byte in there.recv(65536):
            sock.sendall(bytes([byte]))
        proxy.pump(sock, there)
    with ScriptedProxy(serve, names=NAMES) as proxy:
        use(proxied, proxy)
        good(proxied)


def test_alert_behind_the_answer_reaches_tls(proxied):
    """A TLS record in the same segment as the 200: it is read as TLS, not
    dropped and not taken for HTTP."""
    alert = bytes.fromhex("15030300020228")  # fatal, handshake_failure
    with ScriptedProxy(ScriptedProxy.says(OK + b"\r\n" + alert, "stall")) as proxy:
        use(proxied, proxy)
        with proxied.server() as server:
            failed(proxied, server.call(NAME, BODY), 502, "CLOUD_TLS", "alert handshake failure")


def test_interim_answers_and_framing_of_the_200_are_ignored(proxied):
    with ScriptedProxy(names=NAMES) as proxy:
        proxy.answer = (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nX: y\r\n\r\n"
                        b"HTTP/1.0 200 OK\r\nContent-Length: 500\r\nConnection: close\r\n\r\n")
        use(proxied, proxy)
        with proxied.server() as server:
            good(proxied, server)
            good(proxied, server)
        assert len(proxy.tunnels) == 1


def test_proxy_that_is_not_there(proxied):
    with ScriptedProxy() as proxy:
        port = proxy.port
    proxied.configure(proxy=f'"http://127.0.0.1:{port}"')
    with proxied.server() as server:
        failed(proxied, server.call(NAME, BODY), 502, "PROXY_CONNECT", "Connection refused")
        assert proxied.event(3111)


def test_name_of_the_proxy_that_does_not_resolve(proxied):
    proxied.configure()
    proxied.edit(proxy='"http://proxy.invalid:3128"')
    proxied.rmsctl("reload")
    with proxied.server() as server:
        assert wait_until(lambda: server.call(NAME, BODY).status == 503, 10, 0.1)
        reply = server.call(NAME, BODY)
        own_error(reply, 503, "NO_ADDRESS")
    assert "web proxy proxy.invalid" in proxied.event(3105)["reason"]


# ---- the TLS of an https proxy -----------------------------------------------------------

def test_https_proxy_with_an_issuer_of_its_own(proxied, tmp_path):
    pki.make_ca(str(tmp_path))
    pki.make_certificate(str(tmp_path), "p", ["IP:127.0.0.1"], pki.EC)
    files = str(tmp_path / "p.pem"), str(tmp_path / "p.key")
    with ScriptedProxy(names=NAMES, tls=files) as proxy:
        use(proxied, proxy, "https")
        with proxied.server() as server:
            failed(proxied, server.call(NAME, BODY), 502, "PROXY_CERT", "self-signed certificate in")
            assert proxy.heads == []
            assert proxied.event(3111)
            proxied.configure(proxy_ca_file=f'"{tmp_path}/ca.pem"')
            good(proxied, server)
            # It vouches for the proxy, not for the cloud.
            assert len(proxy.tunnels) == 1


def test_https_proxy_of_another_name(proxied):
    pki.make_certificate(proxied.path("tls"), "other", ["DNS:other.lab.test"], pki.EC)
    with ScriptedProxy(tls=pair(proxied, "other")) as proxy:
        use(proxied, proxy, "https")
        with proxied.server() as server:
            failed(proxied, server.call(NAME, BODY), 502, "PROXY_CERT", "mismatch")
            assert proxy.heads == []


def test_https_proxy_that_speaks_no_tls(proxied):
    with ScriptedProxy(ScriptedProxy.says(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
                       read=False) as proxy:
        use(proxied, proxy, "https")
        with proxied.server() as server:
            failed(proxied, server.call(NAME, BODY), 502, "PROXY_TLS")


# ---- TLS inspection -----------------------------------------------------------------------

def inspector(tmp_path):
    """A proxy that answers in the cloud's place, with a certificate for its
    name by an issuer of its own."""
    pki.make_ca(str(tmp_path))
    pki.make_certificate(str(tmp_path), "fake", ["DNS:" + HOST], pki.EC)
    files = str(tmp_path / "fake.pem"), str(tmp_path / "fake.key")

    def serve(proxy, sock, _head):
        import ssl
        sock.sendall(proxy.answer)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
        with context.wrap_socket(sock, server_side=True) as inner:
            while data := inner.recv(65536):
                proxy.heads.append(data.decode("latin-1"))
    return ScriptedProxy(serve)


def test_inspection_is_named(proxied, tmp_path):
    good(proxied)
    with inspector(tmp_path) as proxy:
        use(proxied, proxy)
        with proxied.server() as server:
            failed(proxied, server.call(NAME, BODY), 502, "CLOUD_INSPECTED", "issuer found: /CN=" + LAB_CA,
                   "issuer expected: ")
        told = proxied.event(3112, level="error")
        assert "issuer found" in told["reason"] and "issuer expected" in told["reason"]
        assert len(proxy.heads) == 1  # CONNECT, and no byte of a request


def test_inspection_by_a_trusted_issuer_is_named_too(proxied):
    """cloud_ca_file holds it; cloud_issuers does not."""
    proxied.rmsctl("set", "cloud_issuers", "DigiCert, Inc.; Microsoft Corporation")
    with proxied.server() as server:
        proxied.wait_ready()
        failed(proxied, server.call(NAME, BODY), 502, "CLOUD_INSPECTED", "none of cloud_issuers",
               f"issuer found: /CN={LAB_CA}", "issuer expected: DigiCert, Inc.; Microsoft")
        assert proxied.event(3112)
        assert proxied.cloud()["total"] == 0
        proxied.rmsctl("set", "cloud_issuers", LAB_CA)
        proxied.wait_ready()
        good(proxied, server)
        pin = os.popen(f"openssl x509 -in {proxied.path('tls/ca.pem')} -pubkey -noout | openssl "
                       "pkey -pubin -outform DER | sha256sum").read().split()[0]
        proxied.rmsctl("set", "cloud_issuers", f"sha256:{pin}")
        good(proxied, server)
        proxied.rmsctl("set", "cloud_issuers", f"sha256:{'0' * 64}")
        failed(proxied, server.call(NAME, BODY), 502, "CLOUD_INSPECTED", "none of cloud_issuers")


def test_inspection_of_the_token_service_is_named(proxied):
    proxied.rmsctl("set", "cloud_issuers", "DigiCert, Inc.")
    proxied.cloud(rules=[{"op": NAME, "status": 401, "times": 1}])
    # A token that is refused has to be fetched anew.
    told = None
    proxied.rmsctl("credentials", "add", "second", "--client-id", labctl.CLIENT_ID,
                   "--secret-file", proxied.path("client.secret"))
    told = proxied.event(3100, seconds=10)
    assert "issuer found" in told["reason"] and "issuer expected: DigiCert, Inc." in told["reason"]
    proxied.rmsctl("set", "cloud_issuers", "")
