"""Behind a balancer: the PROXY protocol; traces and timings that pass through."""

import contextlib
import re
import socket
import struct
import time

import pytest

import soap
from conftest import using
from procs import wait_until
from relay_peers import NAME, PATH, ask, challenge, own_error

BODY = soap.acquire_license()
V2 = b"\r\n\r\n\0\r\nQUIT\n"
BALANCER = "127.0.8.0/24"
FROM = "127.0.8.1"
TLS = pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])


def v1(client="10.1.2.3", port=40000):
    family = "TCP6" if ":" in client else "TCP4"
    return f"PROXY {family} {client} {'::1' if ':' in client else '127.0.0.1'} {port} 443\r\n".encode()


def v2(client="10.1.2.3", tlvs=b"", command=0x21):
    family = socket.AF_INET6 if ":" in client else socket.AF_INET
    ours = "::1" if ":" in client else "127.0.0.1"
    data = socket.inet_pton(family, client) + socket.inet_pton(family, ours)
    data += struct.pack(">HH", 40000, 443) + tlvs
    return V2 + bytes([command, 0x21 if ":" in client else 0x11]) + struct.pack(
        ">H", len(data)) + data


def listen(lab, **directives):
    """Puts these directives, and no others of before, into each listener."""
    with open(lab.env["CONNECTOR_CONF"], encoding="utf-8") as file:
        text = re.sub(r"(?m)^\t(proxy_protocol|connection_auth) .*\n", "", file.read())
    for name, value in directives.items():
        text = re.sub(r"(?m)^(listener .*)\n", rf"\1\n\t{name} = {value}\n", text)
    with open(lab.env["CONNECTOR_CONF"], "w", encoding="utf-8") as file:
        file.write(text)
    lab.rmsctl("reload")
    lab.wait_ready()


@pytest.fixture(scope="module")
def _behind(module_lab):
    return module_lab(workers=1)


@pytest.fixture
def behind(_behind):
    """A lab whose listeners know a balancer."""
    for lab in using(_behind):
        listen(lab, proxy_protocol=f'"{BALANCER}, ::1"')
        yield lab


@TLS
@pytest.mark.parametrize("header, client", [
    (v1(), "10.1.2.3"), (v1("fd00::7"), "fd00::7"), (v2(), "10.1.2.3"), (v2("fd00::7"), "fd00::7"),
    (v2(tlvs=b"\x01\x00\x02h2"), "10.1.2.3")], ids=["v1", "v1-6", "v2", "v2-6", "v2 with TLV"])
def test_client_is_named(behind, tls, header, client):
    with behind.server(tls=tls, source=FROM, preface=header) as server:
        reply = server.call(NAME, BODY)
        assert reply.status == 200
        line = behind.access(reply)
        assert (line["client"], line["balancer"]) == (client, FROM)
        # One client has it for itself: its identity stays.
        assert ask(server).status == 200


@TLS
@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", v2(command=0x20), V2 + b"\x20\0\0\0"],
                         ids=["UNKNOWN", "LOCAL", "LOCAL, empty"])
def test_balancer_speaks_for_itself(behind, tls, header):
    with behind.client(tls=tls, source=FROM, preface=header) as client:
        reply = client.get("/healthz")
        assert reply.status == 200
        assert behind.access(reply)["client"] == FROM


@TLS
def test_others_are_direct_clients(behind, tls):
    with behind.server(tls=tls) as server:
        reply = server.call(NAME, BODY)
        assert reply.status == 200
        line = behind.access(reply)
        assert (line["client"], line["balancer"]) == ("127.0.0.1", "")


def test_header_of_others_is_no_header(behind):
    with behind.client(tls=False, preface=v1(), see_end=True) as client:
        client.send(client.head("GET", "/healthz"))
        own_error(client.read(), 400, "BAD_REQUEST_LINE", fault=False)
        assert client.at_end()
    with behind.client(preface=v1()) as client, pytest.raises(OSError):
        client.connect()


BAD = {
    "no header": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS at once": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "not an address": b"PROXY TCP4 localhost 127.0.0.1 1 2\r\n",
    "endless": b"PROXY UNKNOWN " + b"x" * 200,
    "bare LF": b"PROXY TCP4 10.1.2.3 127.0.0.1 1 2\n",
    "version 3": V2 + b"\x31\x11\0\x0c" + bytes(12),
    "too long": V2 + b"\x21\x11\xff\xff",
    "datagrams": V2 + b"\x21\x12\0\x0c" + bytes(12),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_header(behind, name):
    """Closed without a word, and nothing of it is taken for a request."""
    before = behind.counters()["proxy_bad"]
    with behind.client(tls=False, source=FROM, preface=BAD[name]) as client:
        client.connect()
        client.sock.settimeout(5)
        with contextlib.suppress(ConnectionResetError):
            assert client.sock.recv(1) == b""
    assert wait_until(lambda: behind.counters()["proxy_bad"] == before + 1, 5)
    assert behind.cloud()["total"] == 0


def test_events_name_the_client(private_lab):
    """Each is told once a minute: in a lab that has told of none."""
    lab = private_lab(workers=1)
    listen(lab, proxy_protocol=f'"{FROM}"')
    with lab.client(source=FROM, preface=v1()) as nobody:
        fields = soap.soap_fields(NAME) + [("Authorization", "Negotiate YIIB")]
        assert nobody.post(PATH, BODY, fields).status == 401
        assert lab.event(2000)["address"] == "10.1.2.3"
    with lab.client(tls=False, source=FROM, preface=b"GET ") as client:
        client.connect()
        told = lab.event(2112, level="warning")
        assert told["address"] == FROM and told["reason"].startswith("BAD_PROXY:")


@TLS
def test_header_in_pieces(behind, tls):
    """A byte at a time; what is behind it comes with its last byte."""
    for header in (v1(), v2()):
        with behind.client(tls=False, source=FROM) as client:
            client.connect()
            for at in range(len(header) - 1):
                client.send(header[at:at + 1])
                if at % 10 == 0:
                    time.sleep(0.01)
            client.send(header[-1:] + client.head("GET", "/healthz"))
            reply = client.read("GET")
            assert reply.status == 200 and behind.access(reply)["client"] == "10.1.2.3"
    with behind.client(tls=tls, source=FROM, preface=v1()[:20]) as client:
        if tls:
            return
        client.connect()
        time.sleep(0.1)
        client.close()  # in the middle: nothing becomes of it
    assert wait_until(lambda: behind.counters()["conns_open"] == 0, 5)


def test_shared_connections(behind):
    """A balancer of layer 7 mixes clients: an identity is of one request."""
    listen(behind, proxy_protocol=f'"{BALANCER}"', connection_auth="false")
    with behind.server(source=FROM, preface=v1()) as server:
        assert server.call(NAME, BODY, eager=True).status == 200
        challenge(ask(server))


def test_limit_counts_the_client(behind):
    """Not the balancer, from which all connections come."""
    assert wait_until(lambda: behind.counters()["conns_open"] == 0, 5)
    behind.configure(source_connections_max=2)
    try:
        with contextlib.ExitStack() as stack:
            for address in ("10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.2"):
                client = stack.enter_context(behind.client(source=FROM, preface=v2(address)))
                assert client.get("/healthz").status == 200
            third = stack.enter_context(behind.client(tls=False, source=FROM,
                                                      preface=v2("10.0.0.1")))
            third.connect()
            third.sock.settimeout(5)
            with contextlib.suppress(ConnectionResetError):
                assert third.sock.recv(1) == b""
            told = behind.event(2110)
            assert told["address"] == "10.0.0.1"
            assert told["reason"].startswith("SOURCE_CONNECTIONS")
    finally:
        behind.configure(source_connections_max=None)


# ---- traces and timings ---------------------------------------------------------------

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
GOOD = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture
def server(behind):
    with behind.server() as made:
        assert made.call(NAME, BODY).status == 200
        behind.cloud(reset=True)
        yield made


def cloud_fields(lab, name):
    return [v for n, v in lab.cloud()["last"]["fields"] if n.lower() == name]


def test_trace_is_passed_on(behind, server):
    reply = ask(server, ("Traceparent", GOOD), ("tracestate", "a=1"))
    assert cloud_fields(behind, "traceparent") == [GOOD]
    assert cloud_fields(behind, "tracestate") == ["a=1"]
    assert behind.access(reply)["trace"] == TRACE
    later = "cc" + GOOD[2:] + "-more"
    ask(server, ("traceparent", later))
    assert cloud_fields(behind, "traceparent") == [later]


@pytest.mark.parametrize("fields", [
    [], [GOOD.upper()], [GOOD[:-1]], ["00-" + "0" * 32 + GOOD[35:]], [GOOD, GOOD], ["x"]],
    ids=["none", "upper case", "short", "zero", "two", "junk"])
def test_trace_is_begun(behind, server, fields):
    """What is not valid is not passed on, and its state is not either."""
    reply = ask(server, *[("traceparent", f) for f in fields], ("tracestate", "a=1"))
    [trace] = cloud_fields(behind, "traceparent")
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", trace) and TRACE not in trace
    assert not cloud_fields(behind, "tracestate")
    assert behind.access(reply)["trace"] == trace[3:35]
    ask(server)
    assert cloud_fields(behind, "traceparent") != [trace]


def test_no_trace_of_ours(behind, server):
    behind.configure(cloud_traceparent="false")
    try:
        assert behind.access(ask(server))["trace"] == ""
        assert not cloud_fields(behind, "traceparent")
        ask(server, ("traceparent", GOOD))
        assert cloud_fields(behind, "traceparent") == [GOOD]
    finally:
        behind.configure(cloud_traceparent=None)


def test_server_timing(behind, server):
    assert not ask(server).all("Server-Timing")
    behind.configure(server_timing="true")
    try:
        behind.cloud(rules=[{"op": NAME, "delay_ms": 200, "times": 1}])
        reply = ask(server)
        [text] = reply.all("Server-Timing")
        parts = dict(p.strip().split(";dur=") for p in text.split(","))
        assert set(parts) == {"auth", "queue", "connect", "service"}
        assert 150 < float(parts["service"]) < 5000 and float(parts["queue"]) == 0
        assert server.get("/nowhere").all("Server-Timing")
    finally:
        behind.configure(server_timing=None)
