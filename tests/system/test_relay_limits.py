"""Limits of connections, of pace and of requests under way; the queue, whose
turn it is, and what happens when memory is short.  All are changed while the
connector runs."""

import contextlib
import threading
import time

import pytest

import soap
from conftest import using
from procs import wait_until
from relay_peers import NAME, PATH, ask, own_error

BODY = soap.acquire_license()
FCI = "fci01$@LAB.TEST"
LIMITS = ("source_connections_max", "account_connections_max", "account_requests_max",
          "account_rate_max", "cloud_requests_max", "queue_max", "queue_timeout_ms", "memory_max",
          "connections_max")


@pytest.fixture(scope="module")
def _limited(module_lab):
    return module_lab(workers=1)


@pytest.fixture
def limited(_limited):
    """A lab with one relay whose limits a test may set."""
    yield from using(_limited)
    _limited.configure(**{name: None for name in LIMITS})


@pytest.fixture
def servers(limited):
    """servers(account, ...): connections that have authenticated."""
    with contextlib.ExitStack() as stack:
        def make(*accounts):
            made = []
            for account in accounts:
                server = stack.enter_context(limited.server(account))
                assert server.call(NAME, BODY).status == 200
                made.append(server)
            limited.cloud(reset=True)
            return made
        yield make


def send(server):
    """A request whose reply is read later."""
    server.send(server.head("POST", PATH, soap.soap_fields(NAME) + [
        ("Content-Length", str(len(BODY)))]) + BODY)


def hold(lab, server, delay_ms, *rules):
    """A request of which the cloud is slow to reply, and that it has; for the
    next ones, the rules."""
    lab.cloud(rules=[{"op": NAME, "delay_ms": delay_ms, "times": 1}, *rules])
    send(server)
    assert wait_until(lambda: lab.cloud()["total"] == 1, 5, 0.02)


def told(lab, reason, **members):
    return lab.wait_line("EVENT_LOG", lambda e: e["id"] == 2110 and e["reason"].startswith(
        reason + ":") and all(e.get(k) == v for k, v in members.items()))


def retry_after(reply):
    return int(reply.get("Retry-After"))


def waiting(lab, count):
    assert wait_until(lambda: lab.counters()["queue_length"] == count, 5, 0.02)


# ---- connections -----------------------------------------------------------------

def closed_at_once(client):
    with client:
        client.connect()
        client.sock.settimeout(5)
        try:
            return client.sock.recv(1) == b""
        except ConnectionResetError:
            return True


def test_connections_of_one_address(limited):
    assert wait_until(lambda: limited.counters()["conns_open"] == 0, 5)
    before = limited.counters()["conns_refused"]
    limited.configure(source_connections_max=3)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(limited.client(tls=False)) for _ in range(3)]
        assert all(c.get("/healthz").status == 200 for c in clients)
        assert closed_at_once(limited.client(tls=False))
        with limited.client(tls=False, source="127.0.9.1") as other:
            assert other.get("/healthz").status == 200
        assert told(limited, "SOURCE_CONNECTIONS")["address"] == "127.0.0.1"
        assert limited.counters()["conns_refused"] == before + 1
        clients.pop().close()
        assert wait_until(lambda: limited.counters()["conns_open"] == 2, 5)
        with limited.client(tls=False) as again:
            assert again.get("/healthz").status == 200


def test_connections_of_one_account(limited, servers):
    limited.configure(account_connections_max=2)
    one, two = servers("SHAREPOINT", "SHAREPOINT")
    with limited.server("SHAREPOINT", see_end=True) as three:
        reply = three.call(NAME, BODY)
        own_error(reply, 429, "ACCOUNT_CONNECTIONS")
        assert retry_after(reply) > 0 and three.at_end()
    assert limited.cloud()["total"] == 0
    told(limited, "ACCOUNT_CONNECTIONS", account="sp01$@LAB.TEST")
    servers("EXCHANGE")
    assert ask(one).status == ask(two).status == 200
    one.close()
    assert wait_until(lambda: limited.counters()["conns_open"] == 2, 5)
    servers("SHAREPOINT")


# ---- pace --------------------------------------------------------------------------

def test_pace_of_an_account(limited, servers):
    server, exchange = servers("SHAREPOINT", "EXCHANGE")
    limited.configure(account_rate_max=1)
    time.sleep(2.5)  # what came before is forgotten
    replies = [ask(server) for _ in range(5)]
    assert [r.status for r in replies] == [200, 200, 429, 429, 429]
    own_error(replies[-1], 429, "ACCOUNT_RATE")
    assert retry_after(replies[-1]) == 1
    assert ask(exchange).status == 200
    assert limited.cloud()["total"] == 3
    assert limited.counters()["limited"] >= 3
    told(limited, "ACCOUNT_RATE", account="sp01$@LAB.TEST")
    time.sleep(retry_after(replies[-1]))
    assert ask(server).status == 200  # on the same connection
    limited.configure(account_rate_max=0)
    assert [ask(server).status for _ in range(5)] == [200] * 5


# ---- requests under way -----------------------------------------------------------------

def test_requests_of_an_account(limited, servers):
    """One at a time: the others wait, those of another account do not."""
    one, two, three, exchange = servers(*["SHAREPOINT"] * 3, "EXCHANGE")
    limited.configure(account_requests_max=1)
    hold(limited, one, 1500, {"op": NAME, "delay_ms": 300})
    send(two)
    send(three)
    waiting(limited, 2)
    assert ask(exchange).status == 200
    assert limited.counters()["queue_length"] == 2
    lines = []
    for server in (one, two, three):
        reply = server.read()
        assert reply.status == 200
        lines.append(limited.access(reply))
    assert lines[0]["queue_ms"] == 0
    assert lines[1]["queue_ms"] > 100
    assert lines[2]["queue_ms"] > lines[1]["queue_ms"] + 100
    assert limited.counters()["queue_length"] == 0


def test_exchange_is_served_first(limited, servers):
    """Of those that wait, whoever came first of them."""
    accounts = ["SHAREPOINT", "SHAREPOINT", "FCI", "EXCHANGE", "EXCHANGE"]
    crawl, *others = servers("SHAREPOINT", *accounts)
    limited.configure(cloud_requests_max=1)
    hold(limited, crawl, 1200, {"op": NAME, "delay_ms": 100})
    for n, server in enumerate(others):
        send(server)
        waiting(limited, n + 1)
    order, lock = [], threading.Lock()

    def read(n, server):
        assert server.read().status == 200
        with lock:
            order.append(n)
    threads = [threading.Thread(target=read, args=pair) for pair in enumerate(others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert crawl.read().status == 200
    assert order == [3, 4, 0, 1, 2]


def test_place_is_kept_for_exchange(limited, servers):
    """A crawl takes all places but an eighth, however long its requests last."""
    *crawl, exchange = servers(*["SHAREPOINT"] * 9, "EXCHANGE")
    limited.configure(cloud_requests_max=8)
    limited.cloud(rules=[{"op": NAME, "delay_ms": 2500, "times": 7}])
    for server in crawl:
        send(server)
    waiting(limited, 2)
    start = time.monotonic()
    assert ask(exchange).status == 200
    assert time.monotonic() - start < 2
    assert limited.counters()["queue_length"] == 2
    assert [s.read().status for s in crawl] == [200] * 9


def test_queue_is_full_or_too_slow(limited, servers):
    one, two, three = servers("SHAREPOINT", "SHAREPOINT", "SHAREPOINT")
    limited.configure(cloud_requests_max=1, queue_max=1, queue_timeout_ms='"700ms"')
    hold(limited, one, 2500)
    send(two)
    waiting(limited, 1)
    before = limited.counters()["queue_refused"]
    reply = ask(three)
    own_error(reply, 503, "QUEUE_FULL")
    assert retry_after(reply) > 0
    reply = two.read()
    own_error(reply, 503, "QUEUE_TIMEOUT")
    assert retry_after(reply) > 0 and limited.access(reply)["end"] == "QUEUE_TIMEOUT"
    assert one.read().status == 200
    assert limited.cloud()["total"] == 1
    assert limited.counters()["queue_refused"] == before + 2
    for reason in ("QUEUE_FULL", "QUEUE_TIMEOUT"):
        told(limited, reason)
    assert [ask(s).status for s in (one, two, three)] == [200] * 3


@pytest.mark.parametrize("limit", ["cloud_requests_max", "account_requests_max"])
def test_who_leaves_while_waiting_is_not_sent(limited, servers, limit):
    one, gone, two = servers("SHAREPOINT", "SHAREPOINT", "SHAREPOINT")
    limited.configure(**{limit: 1})
    hold(limited, one, 1200)
    send(gone)
    send(two)
    waiting(limited, 2)
    gone.sock.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # RST, not FIN: it reads no more
    gone.close()
    waiting(limited, 1)
    assert limited.wait_line("ACCESS_LOG", lambda l: l["end"] == "CLIENT_CLOSED")
    assert one.read().status == two.read().status == 200
    assert limited.cloud()["total"] == 2


def test_removed_while_waiting(limited, servers):
    """The newest table decides, also about who was let in to wait."""
    fci, one = servers("FCI", "SHAREPOINT")
    limited.configure(cloud_requests_max=1)
    hold(limited, one, 1500)
    send(fci)
    waiting(limited, 1)
    limited.rmsctl("servers", "remove", FCI)
    try:
        assert one.read().status == 200
        own_error(fci.read(), 403, "AUTH_DENIED")
        assert limited.cloud()["total"] == 1
    finally:
        limited.rmsctl("servers", "add", "--role", "fci", FCI)
        limited.wait_ready()


def test_raised_limit_lets_those_go_on_that_wait(limited, servers):
    one, two = servers("SHAREPOINT", "SHAREPOINT")
    limited.configure(cloud_requests_max=1)
    hold(limited, one, 6000)
    send(two)
    waiting(limited, 1)
    limited.configure(cloud_requests_max=5)
    start = time.monotonic()
    assert two.read().status == 200
    assert time.monotonic() - start < 4
    assert one.read().status == 200


# ---- memory ------------------------------------------------------------------------------

def test_memory_is_short(limited, servers):
    """Exchange is served, the rest comes back later, and idle ones go."""
    exchange, sharepoint, idle = servers("EXCHANGE", "SHAREPOINT", "SHAREPOINT")
    idle.see_end = True
    before = limited.counters()["shed"]
    limited.configure(memory_max='"1M"')
    assert "memory_max 1)" in limited.event(2111, level="warning")["reason"]
    assert idle.at_end()
    for server in (exchange, sharepoint):
        server.close()  # it was idle, too
    reply = sharepoint.call(NAME, BODY)
    own_error(reply, 503, "MEMORY_SHORT")
    assert retry_after(reply) > 0
    assert exchange.call(NAME, BODY).status == 200
    assert limited.counters()["shed"] == before + 1
    limited.configure(memory_max=0)
    assert limited.event(1110)
    assert sharepoint.call(NAME, BODY).status == 200
