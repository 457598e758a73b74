"""HTTP as the relay speaks it: framing, fields, limits, local answers, and
what it will not touch."""

import email.utils
import gzip
import hashlib
import socket
import ssl
import time
import xml.etree.ElementTree as tree

import pytest

import services
import soap
import standin_soap
from conftest import read_json_lines, using
from procs import wait_until
from relay_peers import NAME, PATH, ask, challenge, own_error, ticket

BODY = soap.acquire_license()
MIB = 1 << 20
TLS = pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])


def exactly(size):
    """A request of exactly so many bytes."""
    body = soap.acquire_license()
    assert size >= len(body) + 7
    return body + b"<!--" + b"x" * (size - len(body) - 7) + b"-->"


def answered(lab, body, size=None):
    fields = {n.lower(): v for n, v in soap.soap_fields(NAME)}
    reply = standin_soap.answer(lab.env["CLOUD_URL"], services.BY_NAME[NAME].paths[0], fields,
                                body)
    return (standin_soap.sized(reply, size) if size else reply).body


def sha(data):
    return hashlib.sha256(data).hexdigest()


def cloud_fields(lab):
    """The fields of the last request as the cloud got them, lower case."""
    return {n.lower(): v for n, v in lab.cloud()["last"]["fields"]}


@pytest.fixture
def server(lab):
    """An Exchange server's connection that has authenticated."""
    with lab.server() as made:
        assert made.call(NAME, BODY).status == 200
        lab.cloud(reset=True)
        yield made


# ---- bodies ------------------------------------------------------------------

@TLS
@pytest.mark.parametrize("size, chunks", [
    (30_000, None), (65_535, None), (65_536, 65_536), (65_537, 65_535), (131_072, 1),
    (200_001, 8_191), (8 * MIB, None), (8 * MIB, 100_000)])
def test_request_bodies(lab, tls, size, chunks):
    if chunks == 1:  # each byte a chunk of its own: fewer of them
        size = 30_000
    body = exactly(size)
    with lab.server(tls=tls) as server:
        assert server.call(NAME, BODY).status == 200
        reply = ask(server, body=body, chunks=chunks)
        assert reply.status == 200 and reply.get("X-Standin-Body-SHA256") == sha(body)
        last = lab.cloud()["last"]
        assert (last["bytes_in"], last["chunked"]) == (size, bool(chunks))
        line = lab.access(reply)
        assert (line["bytes_in"], line["end"]) == (size, "OK")


@TLS
@pytest.mark.parametrize("rule", [
    {}, {"chunked": True}, {"chunked": True, "chunk_bytes": 1}, {"until_close": True},
    {"chunked": True, "chunk_bytes": 70_000}, {"close": True}],
    ids=["length", "chunked", "chunks of 1", "until close", "large chunks", "close"])
def test_reply_bodies(lab, tls, rule):
    sizes = (4000, 65_536, 65_537) if rule.get("chunk_bytes") == 1 else (4000, 65_536, 8 * MIB)
    with lab.server(tls=tls) as server:
        assert server.call(NAME, BODY).status == 200
        for size in sizes:
            lab.cloud(clear=True, rules=[dict(rule, op=NAME, reply_bytes=size)])
            reply = ask(server)
            assert reply.status == 200 and len(reply.body) == size
            assert reply.body == answered(lab, BODY, size)
            assert (reply.get("Content-Length") is None) == (
                rule.get("chunked", False) or rule.get("until_close", False))
            assert lab.access(reply)["bytes_out"] == size


def test_large_both_ways_at_once(lab, server):
    body = exactly(8 * MIB)
    lab.cloud(rules=[{"op": NAME, "reply_bytes": 8 * MIB, "chunked": True,
                      "chunk_bytes": 9999}])
    for chunks in (None, 12_345):
        reply = ask(server, body=body, chunks=chunks)
        assert reply.get("X-Standin-Body-SHA256") == sha(body)
        assert sha(reply.body) == sha(answered(lab, body, 8 * MIB))


def test_gzip_passes_through(lab, server):
    lab.cloud(rules=[{"op": NAME, "gzip": "accept"}])
    plain = ask(server)
    assert plain.get("Content-Encoding") is None and plain.body == answered(lab, BODY)
    coded = ask(server, ("Accept-Encoding", "gzip, deflate"))
    assert coded.get("Content-Encoding") == "gzip"
    assert coded.body == gzip.compress(plain.body, 6, mtime=0) and coded.content() == plain.body


def test_pieces_of_every_size(lab, server):
    """However the bytes are cut on the way, it is the same request."""
    head = server.head("POST", PATH, soap.soap_fields(NAME) +
                       [("Content-Length", str(len(BODY)))])
    chunked = server.head("POST", PATH, soap.soap_fields(NAME) +
                          [("Transfer-Encoding", "chunked")])
    whole = head + BODY
    for cut in (1, len(head) - 3, len(head) - 1, len(head), len(head) + 1, len(whole) - 1):
        server.send(whole[:cut])
        time.sleep(0.01)  # a segment of its own
        server.send(whole[cut:])
        assert server.read().body == answered(lab, BODY)
    server.send_split(head, 1)
    server.send_split(BODY, 1000)
    assert server.read().status == 200
    data = soap.chunked(BODY[:50], 5)[:-5] + soap.chunked(BODY[50:], len(BODY))
    server.send_split(chunked + data[:200], 1)
    server.send(data[200:])
    assert server.read().body == answered(lab, BODY)


def test_pipelining(lab, server):
    """Sent ahead, answered one after another in order."""
    bodies = [soap.acquire_license(f"user{n}@lab.test") for n in range(5)]
    data = b""
    for n, body in enumerate(bodies):
        framing = ("Transfer-Encoding", "chunked") if n % 2 else ("Content-Length", str(len(body)))
        data += server.head("POST", PATH, soap.soap_fields(NAME) + [framing])
        data += soap.chunked(body, 3000) if n % 2 else body
    server.send(data + server.head("GET", "/healthz"))
    for body in bodies:
        assert server.read().body == answered(lab, body)
    assert server.read("GET").body == b"ok\n"
    assert lab.cloud()["total"] == len(bodies)


@TLS
@pytest.mark.parametrize("how", ["end", "half", "reset", "farewell"])
def test_client_that_leaves_in_the_middle_of_its_body(lab, tls, how):
    with lab.server(tls=tls) as server:
        assert server.call(NAME, BODY).status == 200
        lab.cloud(reset=True)
        server.send(server.head("POST", PATH, soap.soap_fields(NAME) + [
            ("Content-Length", str(len(BODY)))]) + BODY[:-1])
        wait_until(lambda: lab.counters()["requests_open"] == 1, 3)
        leave(server, how)
        # While the half-closed one can still be read, it is told nothing.
        lab.wait_line("ACCESS_LOG", lambda l: l["end"] in ("CLIENT_SHORT_BODY", "CLIENT_IO")
                      and l["bytes_in"] == len(BODY) - 1)
    assert lab.cloud()["total"] == 0


def leave(client, how):
    """Ends a connection: with FIN, with FIN while still reading, with RST, or
    as TLS wants it (on a plain one that is FIN)."""
    if how == "reset":
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    if how == "half":
        client.sock.shutdown(socket.SHUT_WR)
    elif how == "farewell" and client.tls:
        client.sock.settimeout(0.2)
        try:
            client.sock.unwrap()
        except OSError:
            pass
    else:
        client.close()


# ---- versions and connections --------------------------------------------------

def test_http10_client(lab):
    def request(*fields):
        lines = [f"POST {PATH} HTTP/1.0", f"Content-Length: {len(BODY)}"]
        lines += [f"{n}: {v}" for n, v in list(fields) + soap.soap_fields(NAME)]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + BODY

    with lab.client(see_end=True) as client:
        client.send(request(ticket(lab)))
        reply = client.read()
        assert reply.status == 200 and reply.get("Transfer-Encoding") is None
        assert reply.body == answered(lab, BODY) and client.at_end()
    # A length that is not known: up to the end of the connection.
    lab.cloud(rules=[{"op": NAME, "chunked": True}])
    with lab.client() as client:
        client.send(request(ticket(lab)))
        reply = client.read()
        assert reply.get("Content-Length") is None and reply.get("Transfer-Encoding") is None
        assert reply.body == answered(lab, BODY)
    with lab.client() as client:
        lab.cloud(clear=True)
        client.send(request(ticket(lab), ("Connection", "keep-alive")))
        assert client.read().get("Connection") == "keep-alive"
        client.send(request(("Connection", "keep-alive")))
        assert client.read().status == 200


def test_connection_close(lab, server):
    server.see_end = True
    reply = ask(server, ("Connection", "close"))
    assert reply.status == 200 and reply.get("Connection") == "close" and server.at_end()


def test_head(lab, server):
    for path in ("/healthz", PATH, "/_wmcs/GetRmsoUri.aspx"):
        page = server.get(path)
        server.send(server.head("HEAD", path))
        reply = server.read("HEAD")
        assert reply.status == page.status == 200
        assert reply.get("Content-Length") == str(len(page.body)) and int(len(page.body)) > 0
        assert reply.get("Content-Type") == page.get("Content-Type")
    assert ask(server).status == 200  # nothing was left over
    server.send(server.head("HEAD", "/nowhere"))
    assert server.read("HEAD").status == 404
    server.see_end = True
    server.send(server.head("HEAD", PATH, [("Content-Length", "5")]) + b"hello")
    reply = server.read("HEAD")
    assert (reply.status, reply.get("Connection")) == (400, "close")
    assert server.at_end()
    assert lab.access(reply)["end"] == "BODY_UNEXPECTED"


def test_cloud_connections_are_used_again(lab):
    with lab.server() as server:
        assert server.call(NAME, BODY).status == 200
        lab.cloud(reset=True)
        before = lab.counters()
        for _ in range(20):
            assert ask(server).status == 200
        after = lab.counters()
    assert after["up_reused"] - before["up_reused"] == 20
    assert after["up_connects"] == before["up_connects"]
    assert lab.cloud()["connections"]["accepted"]["soap"] == 0 and lab.cloud()["total"] == 20
    # A connection that the cloud says it closes is not used again.
    lab.cloud(rules=[{"op": NAME, "close": True, "times": 1}])
    with lab.server() as server:
        replies = [server.call(NAME, BODY), ask(server)]
        assert [r.status for r in replies] == [200, 200]
        assert not lab.access(replies[1])["reused"]


# ---- fields ------------------------------------------------------------------------

def test_hundred_fields(lab, server):
    fields = soap.soap_fields(NAME) + [("Content-Length", str(len(BODY)))]
    fields += [(f"X-Field-{n}", "v") for n in range(100 - 1 - len(fields))]  # and Host
    server.send(server.head("POST", PATH, fields) + BODY)
    assert server.read().status == 200
    assert not [n for n in cloud_fields(lab) if n.startswith("x-field")]
    server.see_end = True
    server.send(server.head("POST", PATH, fields + [("X-One", "too many")]) + BODY)
    own_error(server.read(), 431, "HEAD_TOO_LARGE", fault=False)
    assert server.at_end() and lab.cloud()["total"] == 1


def test_head_too_large(lab, server):
    assert ask(server, ("X-Large", "x" * 31_000)).status == 200
    server.see_end = True
    own_error(ask(server, ("X-Large", "x" * 33_000)), 431, "HEAD_TOO_LARGE")
    assert server.at_end()
    with lab.client(see_end=True) as client:  # and one without an end
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Large: " + b"x" * 200_000)
        own_error(client.read(), 431, "HEAD_TOO_LARGE", fault=False)
        assert client.at_end()
    assert lab.cloud()["total"] == 1


def test_what_a_client_cannot_tell_the_cloud(lab, server):
    """The stand-in objects to most of these itself."""
    reply = ask(server, ("X-Forwarded-Host", "evil"), ("X-Forwarded-Proto", "http"),
                ("X-Real-IP", "10.0.0.1"), ("X-Client-IP", "10.0.0.1"),
                ("Keep-Alive", "timeout=5"), ("TE", "trailers"), ("Trailer", "X"),
                ("Upgrade", "h2c"), ("Proxy-Authorization", "Basic eDp5"),
                ("Proxy-Connection", "keep-alive"), ("Cookie", "a=b"), ("X-Other", "1"),
                ("X-RMS-Request-Id", "mine"), ("Referer", "http://x"),
                ("Connection", "X-Named, keep-alive"), ("X-Named", "1"))
    assert reply.status == 200
    got = cloud_fields(lab)
    assert set(got) <= {"host", "authorization", "content-type", "content-length", "soapaction",
                        "user-agent", "x-rms-request-id", "via", "traceparent"}, got
    assert got["via"] == "1.1 rms-connector"
    assert got["x-rms-request-id"] == reply.get("X-RMS-Request-Id") != "mine"
    assert got["authorization"].startswith("Bearer")
    assert got["user-agent"] == soap.USER_AGENT


def test_fields_that_pass(lab, server):
    fields = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
              "tracestate": "a=1", "Accept-Language": "de", "Client-Request-Id": "4711",
              "Accept": "text/xml"}
    assert ask(server, *fields.items()).status == 200
    got = cloud_fields(lab)
    assert {n: got.get(n.lower()) for n in fields} == fields
    # A field that Connection names belongs to this connection only.
    assert ask(server, ("Connection", "tracestate"), ("tracestate", "a=1")).status == 200
    assert "tracestate" not in cloud_fields(lab)


def test_identity_fields_are_ours(lab):
    lab.rmsctl("set", "header_account", "X-Connector-Account")
    lab.rmsctl("set", "header_role", "X-Connector-Role")
    try:
        lab.wait_ready()
        with lab.server("FCI") as server:
            reply = server.call(NAME, BODY, fields=[("X-Connector-Role", "exchange"),
                                                    ("x-connector-account", "exch01$@LAB.TEST")])
        assert reply.status == 200
        pairs = [(n, v) for n, v in lab.cloud()["last"]["fields"] if "onnector-" in n]
        assert sorted(pairs) == [("X-Connector-Account", "fci01$@LAB.TEST"),
                                 ("X-Connector-Role", "fci")]
    finally:
        lab.rmsctl("set", "header_account", "")
        lab.rmsctl("set", "header_role", "")
        lab.wait_ready()


def test_fields_of_the_reply(lab, server):
    lab.cloud(rules=[{"op": NAME, "continue": True, "fields": {
        "X-Cloud": "kept", "Set-Cookie": "a=b", "Keep-Alive": "timeout=9", "X-Hop": "1",
        "Connection": "keep-alive, X-Hop", "Strict-Transport-Security": "max-age=1",
        "X-RMS-Request-Id": "theirs", "WWW-Authenticate": "Bearer",
        "Persistent-Auth": "true", "Retry-After": "7"}}])
    reply = ask(server)
    assert reply.status == 200 and reply.interim == [] and reply.body == answered(lab, BODY)
    assert reply.get("X-Cloud") == "kept" and reply.get("Retry-After") == "7"
    for name in ("Set-Cookie", "Keep-Alive", "X-Hop", "Connection", "Strict-Transport-Security",
                 "WWW-Authenticate", "Persistent-Auth"):
        assert not reply.all(name), name
    assert reply.get("X-RMS-Request-Id") not in ("theirs", None)


def test_every_reply_has_a_date(lab, server):
    """Ours, and the cloud's also when it has none itself."""
    def is_now(reply):
        [date] = reply.all("Date")
        sent = email.utils.parsedate_to_datetime(date)
        assert abs(sent.timestamp() - time.time()) < 30
        assert date == email.utils.format_datetime(sent, usegmt=True)
    lab.cloud(rules=[{"op": NAME, "times": 1, "raw": "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}])
    for reply in (server.get("/healthz"), server.get("/nowhere"), ask(server)):
        is_now(reply)
    theirs = "Sun, 06 Nov 1994 08:49:37 GMT"
    lab.cloud(rules=[{"op": NAME, "times": 1, "raw": "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
                      f"DATE: {theirs}\r\n\r\n"}])
    assert ask(server).all("Date") == [theirs]


def test_request_ids_differ(lab, server):
    ids = {ask(server).get("X-RMS-Request-Id") for _ in range(10)}
    ids |= {server.get("/healthz").get("X-RMS-Request-Id") for _ in range(10)}
    assert len(ids) == 20


# ---- what is relayed ------------------------------------------------------------------

def test_the_cloud_decides_on_what_we_do_not_know(lab, server):
    lab.expected.add("violations")
    for fields in ([("Content-Type", "application/json")],
                   [("Content-Type", "text/xml"), ("SOAPAction", '"http://x/NoSuchThing"')],
                   [("Content-Type", "text/xml")], []):
        reply = server.post(PATH, b"<x/>", fields)
        assert reply.status == 500 and b"faultstring" in reply.body
        assert b"RmsConnector" not in reply.body
        assert lab.access(reply)["op"] == "" and lab.cloud()["last"]["bytes_in"] == 4
        got = cloud_fields(lab)
        assert [got.get(n.lower()) for n, _ in fields] == [v for _, v in fields]
    # Without SOAPAction the body says what it is.
    reply = server.post(PATH, BODY, [("Content-Type", "text/xml")])
    assert reply.status == 200 and lab.access(reply)["op"] == NAME
    reply = server.post(PATH, b"", soap.soap_fields(NAME))
    assert reply.status == 500 and lab.cloud()["last"]["bytes_in"] == 0


@pytest.mark.parametrize("path", ["/_WMCS/LICENSING/LICENSE.ASMX", "/_wmcs/Licensing/License.asmx",
                                  "//_wmcs///licensing//license.asmx",
                                  "/_wmcs/licensing/license.asmx?x=1"])
def test_paths_without_regard_to_case(lab, server, path):
    assert server.post(path, BODY, soap.soap_fields(NAME)).status == 200
    assert lab.cloud()["last"]["target"] == "/_wmcs/licensing/license.asmx"


@pytest.mark.parametrize("path", [
    "/", "/_wmcs", "/_wmcs/", "/_wmcs/licensing/", "/_wmcs/licensing/license.asmx/x",
    "/_wmcs/licensing/license.asmx.bak", "/_wmcs/licensing/other.asmx", "/x/_wmcs/license.asmx",
    "/_wmcs/admin/admin.asmx", "/licensing/license.asmx", "/_wmcs/licensing/licens%65.asmx",
    "/oauth2/v2.0/token", "/healthz/x", "/" + "x" * 3000])
def test_unknown_paths_are_never_relayed(lab, server, path):
    own_error(server.post(path, BODY, soap.soap_fields(NAME)), 404, "NOT_FOUND")
    own_error(server.get(path), 404, "NOT_FOUND", fault=False)
    # Neither does one need to be known to be told so.
    with lab.client() as client:
        own_error(client.post(path, BODY, soap.soap_fields(NAME)), 404, "NOT_FOUND")
    assert lab.cloud()["total"] == 0


@pytest.mark.parametrize("path", [
    "/_wmcs/../_wmcs/licensing/license.asmx", "/_wmcs/licensing/../licensing/license.asmx",
    "/_wmcs/./licensing/license.asmx", "/_wmcs%2flicensing/license.asmx",
    "/_wmcs/%2e%2e/licensing/license.asmx", "/_wmcs/licensing%5Clicense.asmx", "/_wmcs/licensing/license.asmx%00"])
def test_paths_with_a_trick(lab, server, path):
    own_error(server.post(path, BODY, soap.soap_fields(NAME)), 400, "BAD_TARGET")
    assert lab.cloud()["total"] == 0


def test_methods(lab, server):
    for method in ("PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"):
        server.send(server.head(method, PATH, [("Content-Length", "0")]))
        reply = server.read()
        own_error(reply, 405, "METHOD", fault=False)
        assert reply.get("Allow") == "POST, GET, HEAD"
    own_error(server.post("/healthz", b"x"), 405, "METHOD", fault=False)
    server.send(server.head("POST", PATH, soap.soap_fields(NAME)))
    own_error(server.read(), 411, "LENGTH_REQUIRED")
    assert lab.cloud()["total"] == 0


# ---- local answers ---------------------------------------------------------------------

PAGES = [p for op in services.OPERATIONS for p in op.paths]


def test_pages_of_the_services(lab, server):
    for path in dict.fromkeys(PAGES):
        reply = server.get("/_wmcs" + path)
        assert reply.status == 200 and reply.get("Content-Type").startswith("text/html"), path
        assert b"Web Service" in reply.body
        ops = [op for op in services.OPERATIONS if path in op.paths]
        assert all(op.name.encode() in reply.body for op in ops), path
        wsdl = server.get(f"/_wmcs{path}?WSDL")
        assert wsdl.get("Content-Type").startswith("text/xml")
        root = tree.fromstring(wsdl.body)
        [address] = root.iter("{http://schemas.xmlsoap.org/wsdl/soap/}address")
        assert address.get("location").lower() == f"{lab.url()}/_wmcs{path}".lower()
        actions = {e.get("soapAction")
                   for e in root.iter("{http://schemas.xmlsoap.org/wsdl/soap/}operation")}
        assert {op.action for op in ops} <= actions, path
    page = server.get("/_wmcs/certification/servercertification.asmx").body
    assert b"ServerCertificationWebService" in page
    assert lab.cloud()["total"] == 0


@TLS
def test_where_the_tenant_is(lab, tls):
    """What GenConnectorConfig.ps1 asks for."""
    with lab.client(tls=tls) as client:
        own_error(client.get("/_wmcs/GetRmsoUri.aspx"), 401, "AUTH_REQUIRED", fault=False)
        reply = client.get("/_WMCS/getrmsouri.ASPX", [ticket(lab)])
        assert reply.status == 200 and reply.body.decode() == lab.env["CLOUD_URL"]
        assert reply.get("Content-Type").startswith("text/plain")
        own_error(client.post("/_wmcs/GetRmsoUri.aspx", b"x"), 405, "METHOD", fault=False)


@TLS
def test_health_without_authentication(lab, tls):
    with lab.client(tls=tls) as client:
        for _ in range(2):
            reply = client.get("/healthz")
            assert (reply.status, reply.body) == (200, b"ok\n")
        own_error(client.get(PATH), 401, "AUTH_REQUIRED", fault=False)
        own_error(client.get("/_wmcs/licensing/publish.asmx?wsdl"), 401, "AUTH_REQUIRED",
                  fault=False)


def test_own_errors_fit_the_caller(lab):
    with lab.client() as client:
        for fields in ([("Content-Type", "text/xml; charset=utf-8")], [("SOAPAction", '""')],
                       [("Content-Type", "application/soap+xml")]):
            own_error(client.post("/none", b"x", fields), 404, "NOT_FOUND")
        for fields in ([], [("Content-Type", "application/json")]):
            own_error(client.post("/none", b"x", fields), 404, "NOT_FOUND", fault=False)
        challenge(ask(client))


# ---- limits ---------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def _hasty(module_lab):
    return module_lab(workers=1, conf='\n'.join((
        'head_timeout_ms = "700ms"', 'body_timeout_ms = "700ms"', 'idle_timeout_ms = "1500ms"',
        'tls_timeout_ms = "700ms"', "body_bytes_max = 262144", "connections_max = 50")))


@pytest.fixture
def hasty(_hasty):
    """A lab with small limits."""
    yield from using(_hasty)


def test_body_over_the_limit(hasty):
    with hasty.server(see_end=True) as server:
        assert server.call(NAME, exactly(262_144)).status == 200
        assert ask(server, body=exactly(262_144), chunks=10_000).status == 200
        hasty.cloud(reset=True)
        server.send(server.head("POST", PATH, soap.soap_fields(NAME) +
                                [("Content-Length", "262145")]))
        reply = server.read()  # before a byte of the body
        own_error(reply, 413, "BODY_TOO_LARGE")
        assert reply.get("Connection") == "close" and server.at_end()
        assert hasty.access(reply)["end"] == "BODY_TOO_LARGE"
    with hasty.server(see_end=True) as server:
        assert server.call(NAME, BODY).status == 200
        hasty.cloud(reset=True)
        reply = ask(server, body=exactly(262_145), chunks=10_000)
        own_error(reply, 413, "BODY_TOO_LARGE")
        assert server.at_end()
    assert hasty.cloud()["total"] == 0


def test_slow_clients(hasty):
    """Each is told, and the connection ends; all of them at the same time."""
    def part(length):
        return tls.head("POST", PATH, soap.soap_fields(NAME) + [("Content-Length", length)])

    with hasty.client(see_end=True) as tls, hasty.client(see_end=True, tls=False) as plain, \
            hasty.server(see_end=True) as body, hasty.server(see_end=True) as chunked, \
            hasty.client(see_end=True) as idle, hasty.client(tls=False) as drip, \
            socket.create_connection(("127.0.0.1", hasty.ports["https"])) as silent:
        assert idle.get("/healthz").status == 200
        for client in (body, chunked):
            assert client.call(NAME, BODY).status == 200
        hasty.cloud(reset=True)
        start = time.monotonic()
        tls.send(b"POST / HTT")
        plain.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
        body.send(part(str(len(BODY))) + BODY[:100])
        chunked.send(chunked.head("POST", PATH, soap.soap_fields(NAME) + [
            ("Transfer-Encoding", "chunked")]) + b"5\r\n<x")
        drip.send(b"G")
        with pytest.raises(OSError):  # each byte in time, the head as a whole not
            while time.monotonic() < start + 10:
                drip.send(b"E")
                time.sleep(0.1)
        for client in (tls, plain):
            own_error(client.read(), 408, "CLIENT_SLOW_HEAD", fault=False)
            assert client.at_end()
        for client in (body, chunked):
            own_error(client.read(), 408, "CLIENT_SLOW_BODY")
            assert client.at_end()
        assert silent.recv(100) == b""
        assert idle.at_end()
        assert time.monotonic() - start < 8
    assert hasty.cloud()["total"] == 0


def test_more_connections_than_may_be(hasty):
    clients = [hasty.client(tls=False) for _ in range(50)]
    try:
        for client in clients:
            client.connect()
        assert wait_until(lambda: hasty.counters()["conns_open"] == 50, 5)
        with socket.create_connection(("127.0.0.1", hasty.ports["http"])) as extra:
            assert extra.recv(1) == b""
        assert clients[0].get("/healthz").status == 200
    finally:
        for client in clients:
            client.close()
    assert wait_until(lambda: hasty.counters()["conns_open"] == 0, 5)
    with hasty.server() as server:
        assert server.call(NAME, BODY).status == 200


# ---- smuggling ---------------------------------------------------------------------------------

LENGTH = b"Content-Length: 5\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
HOST = b"Host: localhost\r\n"
LINE = b"POST /_wmcs/licensing/license.asmx HTTP/1.1\r\n"
# As the connection's first request: another one would have to prove itself.
AGENT = f"User-Agent: {soap.USER_AGENT}\r\n".encode()
END = AGENT + b"Content-Type: text/xml\r\n\r\n"
ZERO = b"0\r\n\r\n"


def with_field(field, body=b"hello"):
    return LINE + HOST + field + END + body


HEADS = {
    "length and chunked": (with_field(LENGTH + CHUNKED, ZERO), "LENGTH_AND_TE"),
    "chunked and length": (with_field(CHUNKED + LENGTH, ZERO), "LENGTH_AND_TE"),
    "length twice": (with_field(LENGTH + LENGTH), "BAD_LENGTH"),
    "two lengths": (with_field(LENGTH + b"Content-Length: 50\r\n"), "BAD_LENGTH"),
    "list of lengths": (with_field(b"Content-Length: 5, 5\r\n"), "BAD_LENGTH"),
    "length with plus": (with_field(b"Content-Length: +5\r\n"), "BAD_LENGTH"),
    "negative length": (with_field(b"Content-Length: -5\r\n"), "BAD_LENGTH"),
    "hexadecimal length": (with_field(b"Content-Length: 0x5\r\n"), "BAD_LENGTH"),
    "empty length": (with_field(b"Content-Length:\r\n"), "BAD_LENGTH"),
    "length with a blank": (with_field(b"Content-Length: 5 5\r\n"), "BAD_LENGTH"),
    "length beyond 64 bits": (with_field(b"Content-Length: 18446744073709551621\r\n"),
                              "BAD_LENGTH"),
    "length named away": (with_field(b"Connection: Content-Length\r\n" + LENGTH + CHUNKED, ZERO),
                          "LENGTH_AND_TE"),
    "coding named away": (with_field(b"Connection: close, Transfer-Encoding\r\n" + LENGTH + CHUNKED,
                                     ZERO), "LENGTH_AND_TE"),
    "two codings": (with_field(CHUNKED + CHUNKED, ZERO), "BAD_TE"),
    "chunked, chunked": (with_field(b"Transfer-Encoding: chunked, chunked\r\n", ZERO), "BAD_TE"),
    "chunked, nothing": (with_field(b"Transfer-Encoding: chunked,\r\n", ZERO), "BAD_TE"),
    "chunked;q": (with_field(b"Transfer-Encoding: chunked;q=1\r\n", ZERO), "BAD_TE"),
    "no coding": (with_field(b"Transfer-Encoding:\r\n", ZERO), "BAD_TE"),
    "chunked, identity": (with_field(b"Transfer-Encoding: chunked, identity\r\n", ZERO), "BAD_TE"),
    "gzip, chunked": (with_field(b"Transfer-Encoding: gzip, chunked\r\n", ZERO), "BAD_TE"),
    "xchunked": (with_field(b"Transfer-Encoding: xchunked\r\n", ZERO), "BAD_TE"),
    "chunked in quotes": (with_field(b'Transfer-Encoding: "chunked"\r\n', ZERO), "BAD_TE"),
    "identity": (with_field(b"Transfer-Encoding: identity\r\n" + LENGTH), "LENGTH_AND_TE"),
    "vertical tab before chunked": (with_field(b"Transfer-Encoding: \vchunked\r\n", ZERO),
                                    "BAD_FIELD"),
    "chunked in HTTP/1.0": (with_field(CHUNKED, ZERO).replace(b"1.1", b"1.0"), "BAD_TE"),
    "blank before the colon": (with_field(b"Content-Length : 5\r\n"), "BAD_FIELD"),
    "field without colon": (with_field(b"Content-Length 5\r\n"), "BAD_FIELD"),
    "field without name": (with_field(b": 5\r\n"), "BAD_FIELD"),
    "NUL in a value": (with_field(b"X: a\0b\r\n"), "BAD_FIELD"),
    "NUL in a name": (with_field(b"X\0: a\r\n"), "BAD_FIELD"),
    "folded": (with_field(b"X: a\r\n b\r\n" + LENGTH), "OBS_FOLD"),
    "folded at once": (LINE + b" X: a\r\n" + HOST + END, "OBS_FOLD"),
    "bare LF": (with_field(LENGTH.replace(b"\r\n", b"\n")), "BAD_LINE_END"),
    "bare LF after the line": (LINE.replace(b"\r\n", b"\n") + HOST + LENGTH + END + b"hello",
                               "BAD_LINE_END"),
    "bare LF at the end": (LINE + HOST + LENGTH + b"\n" + b"hello", "BAD_LINE_END"),
    "CR in a value": (with_field(b"X: a\rContent-Length: 5\r\n"), "BAD_LINE_END"),
    "CR CR LF": (with_field(b"X: a\r\r\n"), "BAD_LINE_END"),
    "no Host": (LINE + LENGTH + END + b"hello", "BAD_HOST"),
    "two Hosts": (LINE + HOST + HOST + LENGTH + END + b"hello", "BAD_HOST"),
    "two names in Host": (LINE + b"Host: a, b\r\n" + LENGTH + END + b"hello", "BAD_HOST"),
    "path in Host": (LINE + b"Host: localhost/x\r\n" + LENGTH + END + b"hello", "BAD_HOST"),
    "two names in the target": (
        LINE.replace(b"/_wmcs", b"http://localhost,other/_wmcs") +
        b"Host: localhost,other\r\n" + LENGTH + END + b"hello", "BAD_HOST"),
    "port only in the target": (
        LINE.replace(b"/_wmcs", b"http://localhost:80/_wmcs") + HOST + LENGTH + END + b"hello",
        "BAD_HOST"),
    "user in Host": (LINE + b"Host: a@b\r\n" + LENGTH + END + b"hello", "BAD_HOST"),
    "another host in the target": (
        LINE.replace(b"/_wmcs", b"http://other/_wmcs") + HOST + LENGTH + END + b"hello",
        "BAD_HOST"),
    "two blanks": (LINE.replace(b" HTTP", b"  HTTP") + HOST + LENGTH + END + b"hello",
                   "BAD_REQUEST_LINE"),
    "more after the version": (LINE.replace(b"1.1", b"1.1 x") + HOST + LENGTH + END + b"hello",
                               "BAD_REQUEST_LINE"),
    "no version": (b"GET /\r\n" + HOST + END, "BAD_REQUEST_LINE"),
    "tab as blank": (LINE.replace(b"POST ", b"POST\t") + HOST + LENGTH + END + b"hello",
                     "BAD_REQUEST_LINE"),
    "authority as target": (b"CONNECT tenant:443 HTTP/1.1\r\n" + HOST + END, "METHOD"),
    "path as target of CONNECT": (LINE.replace(b"POST", b"CONNECT") + HOST + END, "BAD_TARGET"),
    "asterisk as target": (b"OPTIONS * HTTP/1.1\r\n" + HOST + END, "METHOD"),
    "asterisk as target of POST": (b"POST * HTTP/1.1\r\n" + HOST + LENGTH + END, "BAD_TARGET"),
    "fragment in the target": (LINE.replace(b".asmx", b".asmx#x") + HOST + LENGTH + END + b"hello",
                               "BAD_TARGET"),
    "target too long": (LINE.replace(b".asmx", b".asmx?" + b"x" * 8192) + HOST + LENGTH + END,
                        "TARGET_TOO_LONG"),
    "endless target": (b"GET /" + b"x" * 140_000, "TARGET_TOO_LONG"),
    "no such method": (LINE.replace(b"POST", b"POSTT") + HOST + END, "METHOD_UNKNOWN"),
    "method in lower case": (LINE.replace(b"POST", b"post") + HOST + END, "METHOD_UNKNOWN"),
    "GET with a body": (LINE.replace(b"POST", b"GET") + HOST + LENGTH + END + b"hello",
                        "BODY_UNEXPECTED"),
    "GET with chunks": (LINE.replace(b"POST", b"GET") + HOST + CHUNKED + END + ZERO,
                        "BODY_UNEXPECTED"),
    "two SOAPActions": (with_field(LENGTH + b"SOAPAction: a\r\nSOAPAction: b\r\n"), "BAD_FIELD"),
    "two Authorizations": (with_field(LENGTH + b"Authorization: a\r\nAuthorization: b\r\n"),
                           "BAD_FIELD"),
    "empty lines before": (b"\r\n\r\n\r\n" + with_field(LENGTH), "BAD_LINE_END"),
    "TLS to a plain port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
                            "BAD_REQUEST_LINE"),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "VERSION"),
}
STATUS = {"VERSION": 505, "METHOD": 405, "TARGET_TOO_LONG": 414, "METHOD_UNKNOWN": 501}
CHUNKS = {
    "no size": b"\r\nhello\r\n" + ZERO,
    "size with 0x": b"0x5\r\nhello\r\n" + ZERO,
    "negative size": b"-5\r\nhello\r\n" + ZERO,
    "blank before the size": b" 5\r\nhello\r\n" + ZERO,
    "blank after the size": b"5 \r\nhello\r\n" + ZERO,
    "huge size": b"fffffffffffffffff\r\nhello\r\n" + ZERO,
    "chunk longer than its size": b"5\r\nhello!\r\n" + ZERO,
    "bare LF after the size": b"5\nhello\r\n" + ZERO,
    "bare LF after the data": b"5\r\nhello\n" + ZERO,
    "blank before an extension": b"5 ;a\r\nhello\r\n" + ZERO,
    "extension without name": b"5;=b\r\nhello\r\n" + ZERO,
    "extension without value": b"5;a=\r\nhello\r\n" + ZERO,
    "quote without end": b'5;a="\r\nhello\r\n' + ZERO,
    "line end in a quote": b'5;a="b\r\nhello\r\n' + ZERO + b'"\r\n',
    "size with an underscore": b"0_5\r\nhello\r\n" + ZERO,
    "size of 64 bits": b"10000000000000005\r\nhello\r\n" + ZERO,
    "LF in an extension": b"5;a\n=b\r\nhello\r\n" + ZERO,
    "CR in an extension": b"5;a\rb\r\nhello\r\n" + ZERO,
    "endless extension": b"5;" + b"a" * 20_000,
    "bare LF at the end": b"5\r\nhello\r\n0\n\n",
    "trailer without colon": b"0\r\nnonsense\r\n\r\n",
    "folded trailer": b"0\r\nX: a\r\n b\r\n\r\n",
    "trailer without name": b"0\r\n: a\r\n\r\n",
    "blank before a trailer's colon": b"0\r\nX : a\r\n\r\n",
    "NUL in a trailer": b"0\r\nX: a\0b\r\n\r\n",
    "LF in a trailer": b"0\r\nX: a\nY: b\r\n\r\n",
    "endless trailers": b"0\r\n" + b"X: a\r\n" * 2000,
}


_refused = {}  # request id: status and reason of what was refused_and_closed()


def refused_and_closed(lab, server, data, status, reason):
    """One reply, then the end: what follows the bad request is not looked at."""
    server.see_end = True
    sneaked = server.head("POST", PATH, soap.soap_fields(NAME) + [
        ("Content-Length", str(len(BODY)))]) + BODY
    try:
        server.send(data + sneaked)
    except ssl.SSLError:
        pass
    reply = server.read()
    assert reply.status == status, reply.body
    assert f"RmsConnector.{reason}: ".encode() in reply.body, reply.body
    assert reply.get("Connection") == "close"
    assert server.at_end()
    assert lab.cloud()["total"] == 0
    _refused[reply.get("X-RMS-Request-Id")] = (status, reason)


@pytest.mark.parametrize("name", HEADS)
def test_ambiguous_heads(lab, server, name):
    data, reason = HEADS[name]
    refused_and_closed(lab, server, data, STATUS.get(reason, 400), reason)


@pytest.mark.parametrize("name", CHUNKS)
def test_ambiguous_chunks(lab, server, name):
    refused_and_closed(lab, server, LINE + HOST + CHUNKED + END + CHUNKS[name], 400, "BAD_CHUNK")


def test_other_expectations(lab, server):
    refused_and_closed(lab, server, with_field(LENGTH + b"Expect: miracle\r\n"), 417, "BAD_EXPECT")


def test_versions(lab, server):
    refused_and_closed(lab, server, with_field(LENGTH).replace(b"1.1", b"1.2"), 505, "VERSION")


def test_access_log_tells_of_each(lab):
    """All together: a look at the log takes a while."""
    logged = {}

    def look():
        lines = read_json_lines(lab.env["ACCESS_LOG"])
        logged.update((l["request_id"], (l["status"], l["end"])) for l in lines)
        return _refused.keys() <= logged.keys()
    assert wait_until(look, 3, 0.1)
    assert _refused.items() <= logged.items()


def test_what_is_not_ambiguous(lab, server):
    """Unusual, and right."""
    good = [with_field(b"Content-Length: %d\r\n" % len(BODY), BODY),
            with_field(b"content-LENGTH:%d\r\n" % len(BODY), BODY),
            with_field(b"Content-Length: \t%d \t\r\n" % len(BODY), BODY),
            with_field(b"Content-Length: %05d\r\n" % len(BODY), BODY),
            with_field(b"TRANSFER-encoding: Chunked\r\n", soap.chunked(BODY, 7000)),
            with_field(CHUNKED, b"%X;ext=\"a\\\"b\" ; c; d\t= e\r\n" % len(BODY) + BODY +
                       b"\r\n000;x\r\nX-Trailer: dropped\r\n\r\n"),
            b"\r\n" + with_field(b"Content-Length: %d\r\n" % len(BODY), BODY),
            with_field(b"Content-Length: %d\r\nX-Empty:\r\n" % len(BODY), BODY),
            LINE.replace(b"/_wmcs", b"https://LOCALHOST/_wmcs") + HOST +
            b"Content-Length: %d\r\n" % len(BODY) + END + BODY]
    for data in good:
        server.send(data)
        reply = server.read()
        assert reply.status == 200, (data[:200], reply.body)
        assert reply.get("X-Standin-Body-SHA256") == sha(BODY)
    assert lab.cloud()["total"] == len(good)
