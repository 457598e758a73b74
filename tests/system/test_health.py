"""What a relay does not ask of a cloud that is not well: the circuit,
Retry-After, bad addresses; shared by the relays."""

import contextlib
import socket

import pytest

import labctl
import soap
from conftest import using
from procs import wait_until
from proxy_peers import ScriptedProxy
from relay_peers import NAME, own_error

BODY = soap.acquire_license()
CONF = "\n".join((
    "cloud_breaker_failures = 3", 'cloud_breaker_ms = "700ms"',
    'cloud_connect_timeout_ms = "30s"', 'cloud_tls_timeout_ms = "1s"',
    'cloud_reply_timeout_ms = "700ms"'))


@pytest.fixture(scope="module")
def _pair(module_lab):
    return module_lab(workers=2, conf=CONF)


@pytest.fixture
def pair(_pair):
    """A lab with two relays."""
    yield from using(_pair)
    _pair.cloud(clear=True, listening={"soap": True})
    _pair.configure(cloud_addresses='"127.0.0.1"', cloud_retry_after_max_ms=None,
                    cloud_breaker_ms='"700ms"')


def worker_of(lab, server):
    return lab.access(server.call(NAME, BODY))["worker"]


@contextlib.contextmanager
def one_of_each(lab):
    """A connection to each of the two relays, both with a good reply."""
    with contextlib.ExitStack() as stack:
        found = {}
        for _ in range(64):  # the kernel chooses
            server = stack.enter_context(lab.server())
            assert wait_until(lambda: server.call(NAME, BODY).status == 200, 5, 0.1)
            found.setdefault(worker_of(lab, server), server)
            if len(found) == 2:
                break
        assert sorted(found) == [0, 1]
        yield found[0], found[1]


def call(server):
    return server.call(NAME, BODY)


# ---- the circuit -----------------------------------------------------------------------

def test_circuit_opens_tries_and_closes(pair):
    with one_of_each(pair) as (one, _):
        pair.cloud(listening={"soap": False})
        for _ in range(3):
            own_error(call(one), 502, "CLOUD_CONNECT")
        before = pair.counters()
        reply = call(one)
        text = own_error(reply, 503, "CLOUD_DOWN")
        assert "Connection refused" in text and int(reply.get("Retry-After")) == 1
        after = pair.counters()
        assert after["up_connects"] == before["up_connects"]  # nothing was tried
        assert after["circuit_open"] >= 1 and after["circuit_refused"] > before["circuit_refused"]
        assert "Connection refused" in pair.event(2130, level="warning")["reason"]
        assert "circuit    open in" in pair.rmsctl("status", check=False).stdout
        # One tries, in vain: open again, for longer.
        assert wait_until(lambda: call(one).status == 502, 5, 0.05)
        assert pair.event(1130)
        own_error(call(one), 503, "CLOUD_DOWN")
        # And with success.
        pair.cloud(listening={"soap": True})
        assert wait_until(lambda: call(one).status == 200, 10, 0.05)
        assert pair.event(1131)
        for _ in range(20):
            assert call(one).status == 200


def test_circuit_is_the_other_relays_too(pair):
    pair.configure(cloud_breaker_ms='"60s"')
    with one_of_each(pair) as (one, two):
        pair.cloud(listening={"soap": False})
        for _ in range(3):
            own_error(call(one), 502, "CLOUD_CONNECT")
        assert wait_until(lambda: call(two).status == 503, 3, 0.02)
        before = pair.counters()["up_connects"]
        for server in (one, two):
            own_error(call(server), 503, "CLOUD_DOWN")
        assert pair.counters()["up_connects"] == before
        pair.cloud(listening={"soap": True})
        # No success here tells of a circuit that is open for a minute: a
        # relay that is replaced starts with one that is closed, and its good
        # reply is news to nobody but itself.
        pair.kill("relay", 0)
        pair.kill("relay", 1)
        pair.wait_ready()
        with pair.server() as fresh:
            own_error(call(fresh), 503, "CLOUD_DOWN")
    pair.expected |= {3101}


def test_answers_of_whatever_kind_keep_it_closed(pair):
    """500 is a SOAP fault: the cloud is well."""
    with one_of_each(pair) as (one, _):
        pair.cloud(rules=[{"op": NAME, "status": 500, "times": 12}])
        for _ in range(12):
            assert call(one).status == 500
        assert call(one).status == 200


def test_silence_opens_it(pair):
    with one_of_each(pair) as (one, _):
        pair.cloud(rules=[{"op": NAME, "stall": "head"}])
        for _ in range(3):
            own_error(call(one), 504, "CLOUD_SLOW")
        own_error(call(one), 503, "CLOUD_DOWN")
        pair.cloud(clear=True)
        assert wait_until(lambda: call(one).status == 200, 10, 0.05)


# ---- Retry-After ---------------------------------------------------------------------------

@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_obeyed_by_all(pair, status):
    with one_of_each(pair) as (one, two):
        pair.cloud(reset=True, rules=[{"op": NAME, "status": status, "retry_after": 8,
                                       "times": 1}])
        reply = call(one)
        assert reply.status == status and reply.get("Retry-After") == "8"
        assert wait_until(lambda: call(two).status == 503, 3, 0.02)
        for server in (one, two):
            reply = call(server)
            own_error(reply, 503, "CLOUD_WAIT")
            assert 0 < int(reply.get("Retry-After")) <= 8
        assert "Retry-After 8 s" in pair.event(2131)["reason"]
        # 429 is about the caller's credential, which all roles share here.
        total = pair.cloud()["total"]
        with pair.server("FCI") as other:
            own_error(other.call(NAME, BODY), 503, "CLOUD_WAIT")
        assert pair.cloud()["total"] == total
        for server in (one, two):
            assert wait_until(lambda: call(server).status == 200, 15, 0.1)


def test_retry_after_of_one_credential(pair):
    secret = pair.path("client.secret")
    pair.rmsctl("credentials", "add", "files", "--client-id", labctl.CLIENT_ID,
                "--secret-file", secret)
    pair.rmsctl("set", "credential_fci", "files")
    pair.wait_ready()
    try:
        with pair.server() as exchange, pair.server("FCI") as files:
            assert call(exchange).status == 200 and call(files).status == 200
            pair.cloud(rules=[{"op": NAME, "status": 429, "retry_after": 8, "times": 1}])
            assert call(files).status == 429
            own_error(call(files), 503, "CLOUD_WAIT")
            assert call(exchange).status == 200  # mail flows on
            assert wait_until(lambda: call(files).status == 200, 15, 0.1)
    finally:
        pair.rmsctl("set", "credential_fci", "default")


# ---- the pool --------------------------------------------------------------------------------

def test_connections_are_of_one_credential(pair):
    secret = pair.path("client.secret")
    pair.rmsctl("credentials", "add", "files", "--client-id", labctl.CLIENT_ID,
                "--secret-file", secret)
    pair.rmsctl("set", "credential_fci", "files")
    pair.wait_ready()
    try:
        pair.cloud(drop_connections=True)
        assert wait_until(lambda: pair.counters()["up_idle"] == 0, 5)
        with pair.server() as exchange:
            assert call(exchange).status == 200
            first = pair.access(call(exchange))
            assert first["reused"]
            for _ in range(64):
                with pair.server("FCI") as files:
                    line = pair.access(call(files))
                    if line["worker"] == first["worker"]:
                        break
            assert line["worker"] == first["worker"]
            assert not line["reused"]
            assert pair.access(call(exchange))["reused"]
    finally:
        pair.rmsctl("set", "credential_fci", "default")


@pytest.mark.parametrize("directive, value", [("cloud_conn_uses_max", "3"),
                                              ("cloud_conn_age_ms", '"1s"')])
def test_connections_are_not_used_for_ever(pair, directive, value):
    pair.configure(**{directive: value})
    with pair.server() as server:
        assert call(server).status == 200
        seen = []
        assert wait_until(lambda: seen.append(pair.access(call(server))["reused"]) or
                          seen.count(False) >= 2, 10, 0.05)
        if directive == "cloud_conn_uses_max":
            assert seen[:8] == [True, True, False, True, True, False, True, True][:len(seen[:8])]
    pair.configure(**{directive: None})


# ---- addresses ----------------------------------------------------------------------------------

@contextlib.contextmanager
def full(address, port):
    """A socket that takes no more connections, and does not say so."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # after another's connections
        sock.bind((address, port))
        sock.listen(0)
        fillers = [socket.socket(family) for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex((address, port))
            yield
        finally:
            for filler in fillers:
                filler.close()


def test_address_that_does_not_answer_holds_up_nobody(pair):
    """The connect time-out is half a minute here: the other address is tried
    long before.  The silent one had its head start, so it is tried last from
    then on, and nobody waits for it again."""
    port = pair.ports["cloud"]
    with full("127.0.0.77", port):
        pair.configure(cloud_addresses='"127.0.0.77, 127.0.0.1"')
        with contextlib.ExitStack() as stack:
            before = pair.counters()
            waited = 0
            for _ in range(6):
                server = stack.enter_context(pair.server())
                pair.cloud(drop_connections=True)
                line = pair.access(call(server))
                assert (line["status"], line["upstream"]) == (200, f"127.0.0.1:{port}")
                assert line["connect_ms"] < 15_000
                waited += line["connect_ms"] >= 250
            after = pair.counters()
            # Once for all: by each relay, when the report was not there yet.
            assert 1 <= waited <= 2
            assert 1 <= after["up_ejected"] - before["up_ejected"] <= 2
            assert after["up_connects"] - before["up_connects"] <= 6 + 2


def test_address_that_refuses_is_tried_last(pair):
    port = pair.ports["cloud"]
    start = pair.counters()
    pair.configure(cloud_addresses='"127.0.0.78, 127.0.0.1"')
    with one_of_each(pair) as (one, two):
        before = pair.counters()
        for _ in range(6):
            for server in (one, two):
                pair.cloud(drop_connections=True)
                line = pair.access(call(server))
                assert (line["status"], line["upstream"]) == (200, f"127.0.0.1:{port}")
        after = pair.counters()
        # Known to both from one's report, within the half minute that it is for.
        assert after["up_ejected"] - start["up_ejected"] <= 2
        assert after["up_connects"] - before["up_connects"] <= 12 + 2


# ---- two families (RFC 8305) ---------------------------------------------------------------------

def cloud6(port):
    """The cloud at ::1, too."""
    def serve(peer, sock, _head):
        there = socket.create_connection(("127.0.0.1", port), 5)
        peer.sockets.append(there)
        peer.pump(sock, there)
    return ScriptedProxy(serve, read=False, address="::1", port=port)


def fresh(lab):
    """A request over a new connection to the cloud; its line in the log."""
    lab.cloud(drop_connections=True)
    assert wait_until(lambda: lab.counters()["up_idle"] == 0, 5)
    with lab.server() as server:
        line = lab.access(call(server))
    assert (line["status"], line["reused"]) == (200, False)
    return line


@pytest.mark.parametrize("order", ["::1, 127.0.0.1", "127.0.0.1, ::1"])
def test_the_sixth_family_is_first(pair, order):
    port = pair.ports["cloud"]
    with cloud6(port) as six:
        pair.configure(cloud_addresses=f'"{order}"')
        before = pair.counters()["up_connects"]
        for n in range(1, 5):
            assert fresh(pair)["upstream"] == f"[::1]:{port}"
            assert six.connections == n
        assert pair.counters()["up_connects"] == before + 4  # the other is not even tried


def test_a_family_that_answers_nothing_holds_up_nobody(pair):
    """The time-out is half a minute; the other family has its turn long before,
    and is first once the silent one is known to each relay."""
    port = pair.ports["cloud"]
    with full("::1", port):
        pair.configure(cloud_addresses='"::1, 127.0.0.1"')
        waits = []
        for _ in range(4):
            line = fresh(pair)
            assert line["upstream"] == f"127.0.0.1:{port}"
            waits.append(line["connect_ms"])
        assert 250 <= waits[0] < 15_000  # RFC 8305 8: after a quarter of a second
        assert sum(wait >= 250 for wait in waits) <= 2
    with cloud6(port), full("127.0.0.79", port):
        pair.configure(cloud_addresses='"127.0.0.79, ::1"')
        for _ in range(4):
            assert fresh(pair)["upstream"] == f"[::1]:{port}"


def test_a_family_that_refuses_is_left_at_once(pair):
    """As on a host whose IPv6 leads nowhere: known after one try."""
    port = pair.ports["cloud"]
    with cloud6(port):  # an earlier test's judgement of ::1 ends with this
        pair.configure(cloud_addresses='"::1"')
        pair.cloud(drop_connections=True)
        with one_of_each(pair):
            pass
    pair.configure(cloud_addresses='"::1, 127.0.0.1"')
    before = pair.counters()
    for _ in range(4):
        assert fresh(pair)["upstream"] == f"127.0.0.1:{port}"
    after = pair.counters()
    assert 1 <= after["up_ejected"] - before["up_ejected"] <= 2  # by each relay, once
    assert after["up_connects"] - before["up_connects"] <= 4 + 2


def test_two_families_and_neither_is_there(pair):
    pair.configure(cloud_addresses='"::1, 127.0.0.78"')
    with pair.server() as server:
        own_error(call(server), 502, "CLOUD_CONNECT")
