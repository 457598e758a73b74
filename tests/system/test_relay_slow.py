"""Peers that are slow and never stop: drop by drop nobody holds a connection
for longer than the rates and the total allow, and many of them do not make a
relay work more for the others."""

import contextlib
import resource
import socket
import threading
import time

import pytest

import soap
from conftest import using
from procs import wait_until
from relay_peers import NAME, PATH, ask, own_error, ticket

BODY = soap.acquire_license()
TLS = pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])
PAUSE = '"700ms"'
TIMES = ("body_rate_min", "write_rate_min", "cloud_rate_min", "request_timeout_ms")


@pytest.fixture(scope="module")
def _slow(module_lab):
    return module_lab(workers=1, conf="\n".join((
        f"body_timeout_ms = {PAUSE}", 'write_timeout_ms = "700ms"',
        'cloud_body_timeout_ms = "700ms"', 'head_timeout_ms = "60s"', "connections_max = 20000")))


@pytest.fixture
def slow(_slow):
    """A lab with one relay that waits for a byte 0.7 s at most."""
    yield from using(_slow)
    _slow.configure(body_timeout_ms=PAUSE, **{name: None for name in TIMES})


@contextlib.contextmanager
def dripping(client, data, every=0.1):
    """Sends a byte now and then, until the other side has had enough."""
    stop = threading.Event()

    def drip():
        with contextlib.suppress(OSError):
            for at in range(len(data)):
                if stop.wait(every):
                    return
                client.send(data[at:at + 1])
    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def begin(server, chunked=False):
    framing = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(BODY)))
    server.send(server.head("POST", PATH, soap.soap_fields(NAME) + [framing]))


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_body_drop_by_drop(slow, chunked):
    """Over plain HTTP: a TLS connection cannot be read and written by two
    threads at once."""
    slow.configure(body_rate_min=1000)
    with slow.server(tls=False, see_end=True) as server:
        assert server.call(NAME, BODY).status == 200
        slow.cloud(reset=True)
        begin(server, chunked)
        with dripping(server, soap.chunked(BODY, 1) if chunked else BODY):
            reply = server.read()
        own_error(reply, 408, "CLIENT_SLOW_BODY")
        line = slow.access(reply)
        # Longer than a pause, so it was not for that; and not for long.
        assert line["total_ms"] > 650 and line["bytes_in"] < 200
    assert slow.cloud()["total"] == 0


def test_body_that_is_fast_enough(slow):
    """As long as it may take at the rate; pauses do not add up against it."""
    slow.configure(body_rate_min=1000)
    body = BODY + b"<!--" + b"x" * 6000 + b"-->"
    with slow.server(tls=False) as server:
        assert server.call(NAME, BODY).status == 200
        server.send(server.head("POST", PATH, soap.soap_fields(NAME) + [
            ("Content-Length", str(len(body)))]))
        for at in range(0, len(body), 1000):
            server.send(body[at:at + 1000])
            time.sleep(0.3)
        assert server.read().status == 200


def test_request_as_a_whole(slow):
    slow.configure(body_rate_min=0, request_timeout_ms='"1500ms"')
    with slow.server(tls=False, see_end=True) as server:
        assert server.call(NAME, BODY).status == 200
        begin(server)
        with dripping(server, BODY):
            reply = server.read()
        own_error(reply, 408, "CLIENT_SLOW_BODY")
        assert slow.access(reply)["total_ms"] >= 1400


@TLS
def test_reply_drop_by_drop(slow, tls):
    slow.configure(cloud_rate_min=20_000)
    slow.cloud(rules=[{"op": NAME, "times": 1, "trickle": {"bytes": 10, "every_ms": 100}}])
    with slow.server(tls=tls) as server:
        with pytest.raises((soap.BadReply, OSError)):
            server.call(NAME, BODY, eager=True)
    line = slow.wait_line("ACCESS_LOG", lambda l: l["end"] == "CLOUD_SLOW_BODY", 10)
    assert line["total_ms"] > 650


def test_reply_as_a_whole(slow):
    slow.configure(cloud_rate_min=0, request_timeout_ms='"1500ms"')
    slow.cloud(rules=[{"op": NAME, "times": 1, "trickle": {"bytes": 10, "every_ms": 100}}])
    with slow.server() as server:
        reply = server.call(NAME, BODY, eager=True)
        text = own_error(reply, 504, "TIME_OVER_CLOUD")  # its head came, but not in time
        assert "fault of: cloud" in text
        assert slow.access(reply)["total_ms"] >= 1400


@TLS
def test_client_takes_drop_by_drop(slow, tls):
    slow.configure(write_rate_min=1_000_000)
    size = 20 << 20
    slow.cloud(rules=[{"op": NAME, "times": 1, "reply_bytes": size}])
    with slow.server(tls=tls) as server:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        sock.connect(("127.0.0.1", slow.ports["https" if tls else "http"]))
        if tls:
            sock = server.context.wrap_socket(sock, server_hostname="localhost")
        server.sock = sock
        server.send(server.head("POST", PATH, soap.soap_fields(NAME) + [
            server.authorization()[1], ("Content-Length", str(len(BODY)))]) + BODY)
        over = threading.Event()

        def read():
            with contextlib.suppress(OSError):
                while not over.wait(0.02) and sock.recv(16_384):
                    pass
        thread = threading.Thread(target=read)
        thread.start()
        try:
            assert slow.wait_line("ACCESS_LOG", lambda l: l["end"] == "CLIENT_SLOW_WRITE", 15)
        finally:
            over.set()
            thread.join()


# ---- many -------------------------------------------------------------------------------

BATCH, BATCHES = 250, 6
MANY = 10_000
DESCRIPTORS = MANY + 1000  # of this process, and of the relay


@contextlib.contextmanager
def many_descriptors():
    """As many as the hard limit allows; fails when that is too few, which
    nobody would notice of a test that does with fewer connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard >= DESCRIPTORS, (f"{MANY} connections need {DESCRIPTORS} open files, and the hard "
                                 f"limit is {hard}: raise it (ulimit -Hn {DESCRIPTORS})")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def cpu_ns(pid):
    """What a process has used."""
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0])


def cost(lab, server, between=lambda: None):
    """What BATCH requests of an honest client cost the relay at least: others
    on the machine only add to it.  between() is called before each try; what
    it sent is read before the count begins."""
    pid, costs = lab.pid("relay"), []
    for _ in range(BATCHES):
        between()
        assert ask(server).status == 200  # its event is behind all theirs
        before = cpu_ns(pid)
        for _ in range(BATCH):
            assert ask(server).status == 200
        costs.append(cpu_ns(pid) - before)
    return min(costs)


def slow_one(lab, kind, n):
    """A connection that is slow in its "head", "handshake" or "body"."""
    sock = socket.create_connection(
        ("127.0.0.1", lab.ports["https" if kind == "handshake" else "http"]),
        source_address=(f"127.0.{10 + n // 5000}.1", 0))
    if kind == "handshake":
        sock.sendall(b"\x16\x03\x01")
    elif kind == "head":
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n")
    else:
        fields = soap.soap_fields(NAME) + [("Host", "localhost"), ("Content-Length", "9000"),
                                           ticket(lab)]
        sock.sendall((f"POST {PATH} HTTP/1.1\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in fields) + "\r\n").encode() + b"<")
    return sock


def kind_of(n):
    return {0: "handshake", 1: "body"}.get(n % 10, "head")


def test_thousands_of_slow_ones(slow):
    """10,000: in their head, in their handshake, and, let in, in their body,
    byte by byte.  What an honest client's requests cost does not grow with
    them; time on a busy machine would tell little."""
    slow.configure(body_timeout_ms='"120s"')
    with many_descriptors(), slow.server() as server, contextlib.ExitStack() as stack:
        assert server.call(NAME, BODY).status == 200
        alone = cost(slow, server)
        asked = slow.counters()["auth_ok"]
        socks = [(kind_of(n), stack.enter_context(slow_one(slow, kind_of(n), n)))
                 for n in range(MANY)]
        bodies = [sock for kind, sock in socks if kind == "body"]
        assert wait_until(lambda: slow.counters()["auth_ok"] == asked + len(bodies), 60)

        def drip():
            for sock in bodies:
                sock.sendall(b"x")
        among = cost(slow, server, drip)
        counters = slow.counters()
        assert counters["conns_open"] > MANY * 8 / 10  # handshakes end sooner
        assert counters["requests_open"] >= len(bodies)
        assert among <= alone * 1.5, (alone, among)
    assert wait_until(lambda: slow.counters()["conns_open"] <= 1, 20)
