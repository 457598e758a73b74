"""Where one connection's affairs could become another's, or a relay's end:
what a cloud or a client may do that is neither good nor usual."""

import os
import signal
import socket
import threading
import time

import pytest

import pki
import soap
from conftest import using
from relay_peers import NAME, PATH, ask, own_error, ticket

BODY = soap.acquire_license()


@pytest.fixture(scope="module")
def _edges(module_lab):
    return module_lab(workers=1, conf='drain_bytes_max = "16M"')


@pytest.fixture
def edges(_edges):
    """A lab with one relay, so that connections to the cloud are shared."""
    yield from using(_edges)


def old_request(lab, *fields):
    """The same request as HTTP/1.0 has it."""
    lines = [f"POST {PATH} HTTP/1.0", f"Content-Length: {len(BODY)}"]
    lines += [f"{n}: {v}" for n, v in [ticket(lab), *fields] + soap.soap_fields(NAME)]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + BODY


def test_broken_chunk_behind_a_large_one(edges):
    """To an HTTP/1.0 client a chunk's bytes go as they are, and are half way
    out when the next chunk turns out to be none."""
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nTransfer-Encoding: chunked\r\n\r\n"
    pid = edges.pid("relay")
    for size in (100_000, 150_000, 300_000):
        edges.cloud(clear=True, rules=[{"raw": f"{head}{size:x}\r\n{'x' * size}\r\nzz\r\n",
                                        "op": NAME, "times": 1}])
        for tls in (True, False):
            edges.cloud(clear=True, rules=[
                {"raw": f"{head}{size:x}\r\n{'x' * size}\r\nzz\r\n", "op": NAME, "times": 1}])
            with edges.client(tls=tls) as client:
                client.send(old_request(edges))
                try:
                    client.read()
                except soap.BadReply:
                    pass
    assert edges.pid("relay") == pid
    assert edges.client().get("/healthz").status == 200


@pytest.mark.parametrize("path", ["/healthz", "/_wmcs/GetRmsoUri.aspx"])
def test_announced_body_of_a_local_answer(edges, path):
    """A client that is answered before its body need not send it: what comes
    next must not be taken for it."""
    with edges.client(see_end=True) as client:
        client.send(client.head("GET", path, [
            ("Content-Length", "60"), ("Expect", "100-continue")]))
        reply = client.read()
        assert reply.get("Connection") == "close"
        assert client.at_end()


def room():
    """How many bytes a connection on this host takes that nobody reads."""
    with socket.create_server(("127.0.0.1", 0)) as listener, \
            socket.create_connection(listener.getsockname()) as silent:
        sender, _ = listener.accept()
        with sender:
            sender.setblocking(False)
            taken, last = 0, -1
            while taken != last:
                last = taken
                try:
                    while True:
                        taken += sender.send(bytes(65_536))
                except BlockingIOError:
                    time.sleep(0.05)
            assert silent
            return taken


@pytest.mark.parametrize("half", [False, True], ids=["open", "half closed"])
def test_slow_reader_of_a_last_reply(edges, half):
    """All of it, when nothing but the end of the connection tells where it
    ends: also what is still here when the cloud has no more."""
    full = room()
    sizes = list(range(full - 320_000, full + 60_000, 20_000))
    edges.cloud(rules=[{"op": NAME, "times": 1, "chunked": True, "chunk_bytes": 60_000,
                        "reply_bytes": size} for size in sizes])
    clients = [edges.client(tls=False) for _ in sizes]
    for client in clients:
        client.send(old_request(edges))
        if half:
            client.sock.shutdown(socket.SHUT_WR)
    time.sleep(4)
    got = []
    for client in clients:
        with client:
            got.append(len(client.read().body))
    assert sorted(got) == sizes


def test_bytes_behind_a_reply_are_not_the_next_one(edges):
    """They fill a block to its last byte, so that none shows behind it."""
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n"
    poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
    size = 65_536 - len(head % 65_000)
    with edges.server() as one, edges.server("SHAREPOINT") as two:
        assert two.call(NAME, BODY).status == 200
        assert one.call(NAME, BODY).status == 200
        edges.cloud(rules=[{"raw": head % size + "x" * size + poison, "op": NAME,
                            "times": 1}])
        reply = ask(one)
        assert reply.status == 200 and len(reply.body) == size
        reply = ask(two)
        assert b"poison" not in reply.body
        assert reply.status == 200


def test_name_gone_while_a_request_waits_for_a_token(private_lab):
    """The token comes, and there is no address any more to use it at."""
    lab = private_lab(workers=1)
    with lab.server() as server:
        assert server.call(NAME, BODY).status == 200
        lab.cloud(rules=[{"op": NAME, "status": 401, "times": 1},
                         {"part": "token", "delay_ms": 4000}])
        server.send(server.head("POST", PATH, soap.soap_fields(NAME) + [
            ("Content-Length", str(len(BODY)))]) + BODY)
        time.sleep(0.5)
        lab.edit(cloud_addresses='""')
        lab.rmsctl("reload")
        lab.rmsctl("set", "tenant_url", "https://nosuch.lab.test:9")
        own_error(server.read(), 503, "NO_ADDRESS")


def test_no_wait_for_a_token(private_lab):
    """A wait of 0 is none, not one without end."""
    lab = private_lab(workers=1, conf="token_wait_ms = 0")
    with lab.server() as server:
        assert server.call(NAME, BODY).status == 200
        lab.cloud(rules=[{"op": NAME, "status": 401, "times": 1},
                         {"part": "token", "delay_ms": 6000}])
        start = time.monotonic()
        own_error(ask(server), 502, "CLOUD_UNAUTHORIZED")
        assert time.monotonic() - start < 3


def test_identity_field_with_a_name_that_passes(private_lab):
    lab = private_lab(workers=1)
    lab.rmsctl("set", "header_account", "Client-Request-Id")
    lab.wait_ready()
    with lab.server() as server:
        assert server.call(NAME, BODY, fields=[
            ("client-request-id", "sp01$@LAB.TEST")]).status == 200
    values = [v for n, v in lab.cloud()["last"]["fields"]
              if n.lower() == "client-request-id"]
    assert values == ["exch01$@LAB.TEST"]


def test_binding_of_the_certificate_that_the_client_saw(private_lab):
    """A connection outlives the listener's certificate."""
    lab = private_lab(workers=1)
    with lab.server(bindings=True) as old:
        assert old.call(NAME, BODY).status == 200
        before = old.peer_certificate()
        pki.make_certificate(lab.path("tls"), "connector", [
            "DNS:localhost", "DNS:connector.lab.test", "IP:127.0.0.1"])
        lab.rmsctl("reload")
        lab.wait_ready()
        with lab.server(bindings=True) as new:
            assert new.call(NAME, BODY).status == 200
            assert new.peer_certificate() != before
        assert old.call(NAME, BODY, eager=True).status == 200


def test_slow_reader_when_the_connector_stops(private_lab):
    """What is complete and waits to be taken is still given."""
    lab = private_lab(workers=1, conf='drain_ms = "20s"')
    full = room()
    sizes = list(range(full - 320_000, full + 60_000, 20_000))
    lab.cloud(rules=[{"op": NAME, "times": 1, "reply_bytes": size} for size in sizes])
    clients = [lab.server(tls=False) for _ in sizes]
    for client in clients:
        client.connect()
        client.send(client.head("POST", PATH, soap.soap_fields(NAME) + [
            client.authorization()[1], ("Content-Length", str(len(BODY)))]) + BODY)
    time.sleep(2)
    lab.expected.add("death")
    os.kill(lab.process("rms-connectord").pid, signal.SIGTERM)
    time.sleep(1)
    got = []
    for client in clients:
        with client:
            got.append(len(client.read().body))
    assert sorted(got) == sizes


def test_connection_of_another_tenant_is_not_used_again(private_lab):
    """One that was busy when the tenant changed, to the same name."""
    lab = private_lab(workers=1)
    url = lab.env["CLOUD_URL"]
    with lab.server() as server:
        assert server.call(NAME, BODY).status == 200
        lab.cloud(rules=[{"op": NAME, "delay_ms": 1500, "times": 1}])
        server.send(server.head("POST", PATH, soap.soap_fields(NAME) + [
            ("Content-Length", str(len(BODY)))]) + BODY)
        time.sleep(0.5)
        for value in (url + "/other", url):
            lab.rmsctl("set", "tenant_url", value)
            lab.wait_ready()
        reply = server.read()
        assert reply.status == 200 and lab.access(reply)["reused"]
        reply = ask(server)
        assert reply.status == 200 and not lab.access(reply)["reused"]
        assert lab.access(ask(server))["reused"]


def test_early_refusal_reaches_the_client(edges):
    """The cloud refuses a large body after its head and hangs up: what it
    said counts, not that the rest could not be sent.  Over plain HTTP: a TLS
    connection cannot be read and written by two threads at once."""
    body = soap.acquire_issuance_license(size=6_000_000)
    with edges.server(tls=False) as server:
        assert server.call(NAME, BODY).status == 200
        edges.cloud(rules=[{"early": True, "status": 413, "times": 1}])
        edges.expected |= {"violations"}
        path = soap.path_of("AcquireIssuanceLicense")
        head = server.head("POST", path, soap.soap_fields("AcquireIssuanceLicense") + [
            ("Content-Length", str(len(body)))])

        def send():
            try:
                server.send(head + body)
            except OSError:
                pass  # the connector hung up on us, as it may
        sender = threading.Thread(target=send)
        sender.start()
        reply = server.read()
        sender.join()
        assert (reply.status, reply.body) == (413, b"early\n")
