"""The relay and the cloud when one of them, the network between them or the
token service is not as it should be."""

import contextlib
import itertools
import os
import re
import shutil
import signal
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import cloud_peers
import labctl
import pki
import services
import soap
import standin_soap
from conftest import using
from procs import run, wait_until
from relay_peers import NAME, PATH, ask, own_error, ticket, wait_halfway

BODY = soap.acquire_license()
LARGE = soap.acquire_issuance_license(size=2 << 20)  # more than a relay holds
CONF = "\n".join((
    'cloud_connect_timeout_ms = "500ms"', 'cloud_tls_timeout_ms = "600ms"',
    'cloud_reply_timeout_ms = "700ms"', 'cloud_body_timeout_ms = "700ms"',
    'write_timeout_ms = "900ms"', 'token_wait_ms = "1500ms"', 'token_timeout_ms = "1s"',
    'token_retry_max_ms = "300ms"', 'cloud_retry_after_max_ms = "900ms"', 'dns_ttl_min_ms = "100ms"', 'dns_ttl_max_ms = "200ms"'))


@pytest.fixture(scope="module")
def _small(module_lab):
    return module_lab(workers=1, conf=CONF)


@pytest.fixture
def small(_small):
    """A lab with one relay and small time-outs towards the cloud."""
    yield from using(_small)


@pytest.fixture
def server(small):
    """A connection that has authenticated, and a pooled one to the cloud."""
    with small.server() as made:
        assert made.call(NAME, BODY).status == 200
        small.cloud(reset=True)
        yield made


def expected(lab, size=None):
    fields = {n.lower(): v for n, v in soap.soap_fields(NAME)}
    reply = standin_soap.answer(lab.env["CLOUD_URL"], services.BY_NAME[NAME].paths[0], fields,
                                BODY)
    return (standin_soap.sized(reply, size) if size else reply).body


def failed(lab, reply, status, reason, fault):
    """Checks the error that the caller gets, the log's line and the event;
    the event's reason."""
    text = own_error(reply, status, reason)
    assert f"fault of: {fault};" in text, text
    line = lab.access(reply)
    assert (line["status"], line["end"]) == (status, reason)
    return text


class Peer:
    """A server in the place of the cloud that does as serve(socket) says."""

    def __init__(self, lab, serve, certificate=None):
        self.lab, self.serve = lab, serve
        self.context = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate + ".pem", certificate + ".key")
        self.connections, self.received, self.open = 0, 0, True
        self.sockets = []

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        self.lab.rmsctl("set", "tenant_url", f"https://{labctl.TENANT_HOST}:{self.port}")
        self.lab.wait_ready()
        return self

    def __exit__(self, *_):
        self.open = False
        for sock in [self.listener] + self.sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        self.lab.rmsctl("set", "tenant_url", self.lab.env["CLOUD_URL"])
        self.lab.wait_ready()

    def _accept(self):
        while self.open:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self.sockets.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            if self.context:
                sock = self.context.wrap_socket(sock, server_side=True)
                self.sockets.append(sock)
            self.serve(self, sock)
        except (OSError, ValueError):
            pass

    def read_for_ever(self, sock):
        while data := sock.recv(65536):
            self.received += len(data)


# ---- not to be reached ---------------------------------------------------------

def test_cloud_is_down(small, server):
    small.cloud(listening={"soap": False})
    text = failed(small, ask(server), 502, "CLOUD_CONNECT", "network")
    assert f"127.0.0.1:{small.ports['cloud']}: Connection refused" in text
    assert "Connection refused" in small.event(3107, level="error")["reason"]
    told = small.event(3000, level="error", account="exch01$@LAB.TEST")
    assert told["reason"].startswith("CLOUD_CONNECT, fault of the network")
    small.cloud(listening={"soap": True})
    assert ask(server).status == 200  # on the same connection
    assert small.event(1104)


def test_cloud_does_not_answer(small, server):
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port, fillers = full.getsockname()[1], [socket.socket() for _ in range(4)]
        for filler in fillers:  # from the second on they wait
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        small.rmsctl("set", "tenant_url", f"https://{labctl.TENANT_HOST}:{port}")
        try:
            small.wait_ready()
            failed(small, ask(server), 504, "CLOUD_CONNECT_SLOW", "network")
        finally:
            small.rmsctl("set", "tenant_url", small.env["CLOUD_URL"])
            for filler in fillers:
                filler.close()
    small.wait_ready()
    assert ask(server).status == 200


def test_handshake_that_does_not_end(small, server):
    with Peer(small, Peer.read_for_ever) as peer:
        text = failed(small, ask(server), 502, "CLOUD_TLS", "network")
        assert "took too long" in text and peer.connections == 1
    assert ask(server).status == 200


@pytest.mark.parametrize("what", ["other CA", "wrong name", "expired", "self-signed"])
def test_wrong_certificate(small, server, tmp_path, what):
    directory = str(tmp_path)
    if what in ("other CA", "self-signed"):
        pki.make_ca(directory)
    else:
        for name in ("ca.pem", "ca.key"):
            shutil.copy(small.path("tls/" + name), directory)
    names = ["DNS:other.lab.test"] if what == "wrong name" else ["DNS:" + labctl.TENANT_HOST]
    certificate = str(tmp_path / "peer")
    if what == "self-signed":
        run(["openssl", "req", "-new", "-x509", "-newkey", "ec", "-pkeyopt",
             "ec_paramgen_curve:P-256", "-nodes", "-keyout", certificate + ".key",
             "-out", certificate + ".pem", "-subj", "/CN=" + labctl.TENANT_HOST,
             "-addext", "subjectAltName=" + names[0]])
    else:
        pki.make_certificate(directory, "peer", names, pki.EC,
                             days=-1 if what == "expired" else 30)
    with Peer(small, Peer.read_for_ever, certificate) as peer:
        reason = "CLOUD_INSPECTED" if what == "other CA" else "CLOUD_CERT"
        text = failed(small, ask(server), 502, reason, "network")
        words = {"other CA": "self-signed certificate in certificate chain", "wrong name": "ostname mismatch",
                 "expired": "has expired", "self-signed": "self-signed certificate (cert"}[what]
        assert words in text, text
        # It said who it is; it was told nothing.
        assert peer.connections == 1 and peer.received == 0
        assert wait_until(lambda: any(words in e["reason"] for e in small.new("EVENT_LOG")
                                      if e["id"] in (3106, 3112, 3000)), 3)
    assert ask(server).status == 200


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the versions
def test_old_versions_of_tls(small, server):
    """What the cloud offers at most."""
    peer = Peer(small, Peer.read_for_ever, small.path("tls/cloud"))
    peer.context.set_ciphers("ALL:@SECLEVEL=0")
    peer.context.minimum_version = ssl.TLSVersion.TLSv1
    peer.context.maximum_version = ssl.TLSVersion.TLSv1_1
    with peer:
        text = failed(small, ask(server), 502, "CLOUD_TLS", "network")
        assert "version" in text and peer.connections and peer.received == 0, text
        # The same one in TLS 1.2 is sent the request.
        peer.context.maximum_version = ssl.TLSVersion.TLSv1_2
        failed(small, ask(server), 504, "CLOUD_SLOW", "cloud")
        assert peer.received
    assert ask(server).status == 200


def test_name_that_does_not_resolve(private_lab):
    dns = cloud_peers.Dns()
    dns.records[labctl.TENANT_HOST] = [("A", "127.0.0.1", 1)]
    lab = private_lab(workers=1, conf=CONF + f'\ncloud_addresses = ""\n'
                      f'dns_servers = "127.0.0.1:{dns.port}"')
    with lab.server() as server:
        assert server.call(NAME, BODY).status == 200
        # What was known stays in use.
        dns.records[labctl.TENANT_HOST] = cloud_peers.SERVFAIL
        assert lab.event(2102, level="warning")
        assert ask(server).status == 200
        lab.rmsctl("set", "tenant_url", "https://nowhere.lab.test")
        assert "nowhere.lab.test" in lab.event(3105, level="error")["reason"]
        reply = ask(server)
        failed(lab, reply, 503, "NO_ADDRESS", "network")
        assert int(reply.get("Retry-After")) > 0
        assert server.get("/healthz").status == 200
        dns.records[labctl.TENANT_HOST] = [("A", "127.0.0.1", 1)]
        lab.rmsctl("set", "tenant_url", lab.env["CLOUD_URL"])
        lab.wait_ready()
        assert ask(server).status == 200
    dns.close()


# ---- connections that die ------------------------------------------------------------

def test_stale_connection_is_retried_once(small, server):
    before = small.counters()
    small.cloud(rules=[{"op": NAME, "drop": "before", "times": 1}])
    reply = ask(server)
    assert reply.status == 200 and reply.body == expected(small)
    assert small.counters()["up_retries"] == before["up_retries"] + 1
    assert small.cloud()["total"] == 2 and small.access(reply)["retries"] == 1
    small.cloud(reset=True, rules=[{"op": NAME, "drop": "before"}])
    failed(small, ask(server), 502, "CLOUD_CLOSED", "cloud")
    assert small.cloud()["total"] == 2


def test_fresh_connection_is_not(small, server):
    small.cloud(rules=[{"op": NAME, "close": True, "times": 1}])
    assert ask(server).status == 200
    small.cloud(reset=True, clear=True, rules=[{"op": NAME, "drop": "before"}])
    failed(small, ask(server), 502, "CLOUD_CLOSED", "cloud")
    assert small.cloud()["total"] == 1
    small.cloud(clear=True)
    assert ask(server).status == 200


def test_request_that_is_not_held_any_more(small, server):
    """Too large to be kept: it cannot be sent again, and is not."""
    small.cloud(rules=[{"op": "AcquireIssuanceLicense", "drop": "before"}])
    failed(small, server.call("AcquireIssuanceLicense", LARGE), 502, "CLOUD_CLOSED", "cloud")
    assert small.cloud()["total"] == 1


def test_idle_connections_that_the_cloud_closes(small, server):
    for _ in range(10):
        small.cloud(drop_connections=True)
        assert ask(server).status == 200
    assert small.cloud()["total"] == 10


def new_connection(lab, server):
    """A request that needs one; its reply."""
    lab.cloud(drop_connections=True)
    assert wait_until(lambda: lab.counters()["up_idle"] == 0, 5, 0.02)
    return ask(server)


def handshakes(lab):
    """(all, resumed) as the stand-in saw them."""
    figures = lab.cloud()["connections"]
    return figures["accepted"]["soap"], figures["resumed"]


def test_sessions_are_resumed(small, server):
    """By each connection that follows another."""
    before = small.counters()["up_tls_resumed"]
    for n in range(1, 4):
        assert new_connection(small, server).status == 200
        assert handshakes(small) == (n, n)
    assert small.counters()["up_tls_resumed"] == before + 3


def other_issuers(lab, server, directory):
    """Resumed, it would be taken without a look at its certificate."""
    pki.make_ca(directory)
    lab.configure(cloud_ca_file=f'"{directory}/ca.pem"')
    failed(lab, new_connection(lab, server), 502, "CLOUD_INSPECTED", "network")


def more_issuers(lab, server, _):
    lab.configure(cloud_ca_file=f'"{lab.path("tls/trust.pem")}"')
    assert new_connection(lab, server).status == 200


def other_pins(lab, server, _):
    lab.rmsctl("set", "cloud_issuers", "DigiCert, Inc.")
    lab.wait_ready()
    failed(lab, new_connection(lab, server), 502, "CLOUD_INSPECTED", "network")


def other_tenant(lab, server, _):
    """Where nothing listens."""
    lab.rmsctl("set", "tenant_url", f"https://{labctl.TENANT_HOST}:1")
    lab.wait_ready()
    failed(lab, new_connection(lab, server), 502, "CLOUD_CONNECT", "network")


@pytest.mark.parametrize("change", [other_issuers, more_issuers, other_pins, other_tenant])
def test_sessions_are_not_resumed_when_it_is_another_cloud(small, server, tmp_path, change):
    """Or another's word that is taken for it: not there, and not when all is as before."""
    assert new_connection(small, server).status == 200
    assert handshakes(small)[1] == 1
    try:
        change(small, server, str(tmp_path))
        assert handshakes(small)[1] == 1
    finally:
        small.configure(cloud_ca_file=f'"{small.path("tls/cloud-ca.pem")}"')
        small.rmsctl("set", "cloud_issuers", "")
        small.rmsctl("set", "tenant_url", small.env["CLOUD_URL"])
        small.wait_ready()
    before = handshakes(small)[0]
    assert new_connection(small, server).status == 200
    assert handshakes(small) == (before + 1, 1)
    assert new_connection(small, server).status == 200
    assert handshakes(small) == (before + 2, 2)


def test_dropped_in_the_head_of_the_reply(small, server):
    small.cloud(rules=[{"op": NAME, "drop": "head"}])
    failed(small, ask(server), 502, "CLOUD_CLOSED", "cloud")
    assert small.cloud()["total"] == 1  # a byte came: no second try
    small.cloud(clear=True)
    assert ask(server).status == 200


_addresses = itertools.count(1)  # an event of the same caller is held back for a minute
CUTS = [{"drop": "middle"}, {"truncate": 5000}, {"drop": "middle", "chunked": True},
        {"truncate": 5000, "chunked": True}, {"drop": "middle", "until_close": True},
        {"stall": "middle"}, {"stall": "middle", "chunked": True}]


@pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])
@pytest.mark.parametrize("cut", CUTS, ids=lambda c: "-".join(map(str, c)))
def test_part_of_a_reply_is_not_taken_for_the_whole(small, tls, cut):
    with small.server(tls=tls, source=f"127.0.2.{next(_addresses)}") as server:
        assert server.call(NAME, BODY).status == 200
        small.cloud(rules=[dict(cut, op=NAME)])
        with pytest.raises(soap.BadReply, match="body ended|closed|lost"):
            ask(server)
    end = "CLOUD_SLOW_BODY" if "stall" in cut else "CLOUD_CLOSED"
    line = small.wait_line("ACCESS_LOG", lambda l: l["end"] == end)
    assert line["status"] == 200 and line["bytes_out"] < len(expected(small))
    assert small.event(3000)["request_id"] == line["request_id"]


@pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])
def test_nor_by_a_client_that_reads_to_the_end(small, tls):
    """HTTP/1.0 knows a body's end by the connection's: it must not be clean."""
    small.cloud(rules=[{"op": NAME, "chunked": True, "drop": "middle"}])
    with small.client(tls=tls) as client:
        fields = soap.soap_fields(NAME) + [ticket(small), ("Content-Length", str(len(BODY)))]
        client.send(client.head("POST", PATH, fields).replace(b"HTTP/1.1", b"HTTP/1.0") + BODY)
        with pytest.raises((soap.BadReply, OSError)):
            client.read()


# ---- replies that are wrong --------------------------------------------------------------

OK = "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n"
BAD = {
    "length and chunked": OK + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": OK + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "chunked and length": OK + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "length twice": OK + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "list of lengths": OK + "Content-Length: 5, 5\r\n\r\nhello",
    "length with plus": OK + "Content-Length: +5\r\n\r\nhello",
    "hexadecimal length": OK + "Content-Length: 0x5\r\n\r\nhello",
    "empty length": OK + "Content-Length:\r\n\r\nhello",
    "length with a blank": OK + "Content-Length: 5 5\r\n\r\nhello",
    "length beyond 64 bits": OK + "Content-Length: 18446744073709551621\r\n\r\nhello",
    "length named away": OK + "Connection: Content-Length\r\nContent-Length: 5\r\n"
                         "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two codings": OK + "Transfer-Encoding: chunked\r\n" * 2 + "\r\n0\r\n\r\n",
    "chunked, chunked": OK + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked, identity": OK + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked, nothing": OK + "Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n",
    "chunked;q": OK + "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    "chunked in quotes": OK + 'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "coding named away": OK + "Connection: close, Transfer-Encoding\r\nContent-Length: 5\r\n"
                         "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "identity": OK + "Transfer-Encoding: identity\r\n\r\nhello",
    "xchunked": OK + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "no coding": OK + "Transfer-Encoding:\r\n\r\n0\r\n\r\n",
    "vertical tab before chunked": OK + "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": OK.replace("1.1", "1.0") +
                           "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "interim reply with a body": "HTTP/1.1 103 x\r\nContent-Length: 5\r\n\r\nhello" + OK +
                                 "Content-Length: 0\r\n\r\n",
    "field without colon": OK + "X a\r\nContent-Length: 5\r\n\r\nhello",
    "field without name": OK + ": a\r\nContent-Length: 5\r\n\r\nhello",
    "NUL in a name": OK + "X\0: a\r\nContent-Length: 5\r\n\r\nhello",
    "CR in a value": OK + "X: a\rContent-Length: 0\r\nContent-Length: 5\r\n\r\nhello",
    "CR CR LF": OK + "X: a\r\r\nContent-Length: 5\r\n\r\nhello",
    "bare LF at the end": OK + "Content-Length: 5\r\n\nhello",
    "empty line before": "\r\n" + OK + "Content-Length: 5\r\n\r\nhello",
    "folded at once": "HTTP/1.1 200 OK\r\n X: a\r\nContent-Length: 5\r\n\r\nhello",
    "status 2000": OK.replace("200", "2000") + "Content-Length: 0\r\n\r\n",
    "negative length": OK + "Content-Length: -1\r\n\r\nhello",
    "gzip, chunked": OK + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "bare LF": OK.replace("\r\n", "\n") + "Content-Length: 5\n\nhello",
    "folded": OK + "X: a\r\n b\r\nContent-Length: 5\r\n\r\nhello",
    "blank before the colon": OK + "Content-Length : 5\r\n\r\nhello",
    "NUL": OK + "X: a\0b\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/2": OK.replace("1.1", "2.0") + "Content-Length: 5\r\n\r\nhello",
    "no status": "HTTP/1.1\r\n\r\n",
    "status 20": OK.replace("200", "20") + "Content-Length: 0\r\n\r\n",
    "101": "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "not HTTP": "SSH-2.0-OpenSSH\r\n\r\n",
    "endless head": OK + "X: " + "x" * 70_000,
    "too many fields": OK + "X: y\r\n" * 300 + "Content-Length: 5\r\n\r\nhello",
}


@pytest.mark.parametrize("name", BAD)
def test_malformed_replies(small, server, name):
    small.cloud(rules=[{"op": NAME, "raw": BAD[name]}])
    failed(small, ask(server), 502, "CLOUD_BAD_REPLY", "cloud")
    small.cloud(clear=True)
    assert ask(server).status == 200


ZERO = "0\r\n\r\n"
BAD_CHUNKS = {
    "no size": "\r\nhello\r\n" + ZERO,
    "size with 0x": "0x5\r\nhello\r\n" + ZERO,
    "negative size": "-5\r\nhello\r\n" + ZERO,
    "size with an underscore": "0_5\r\nhello\r\n" + ZERO,
    "blank before the size": " 5\r\nhello\r\n" + ZERO,
    "blank after the size": "5 \r\nhello\r\n" + ZERO,
    "size of 64 bits": "10000000000000005\r\nhello\r\n" + ZERO,
    "huge size": "fffffffffffffffff\r\nhello\r\n" + ZERO,
    "chunk longer than its size": "5\r\nhello!\r\n" + ZERO,
    "blank before an extension": "5 ;a\r\nhello\r\n" + ZERO,
    "extension without name": "5;=b\r\nhello\r\n" + ZERO,
    "extension without value": "5;a=\r\nhello\r\n" + ZERO,
    "quote without end": '5;a="\r\nhello\r\n' + ZERO,
    "bare LF after the size": "5\nhello\r\n" + ZERO,
    "bare LF after the data": "5\r\nhello\n" + ZERO,
    "LF in an extension": "5;a\n=b\r\nhello\r\n" + ZERO,
    "CR in an extension": "5;a\rb\r\nhello\r\n" + ZERO,
    "line end in a quote": '5;a="b\r\nhello\r\n' + ZERO + '"\r\n',
    "endless extension": "5;" + "a" * 20_000,
    "bare LF at the end": "5\r\nhello\r\n0\n\n",
    "trailer without colon": "0\r\nnonsense\r\n\r\n",
    "folded trailer": "0\r\nX: a\r\n b\r\n\r\n",
    "trailer without name": "0\r\n: a\r\n\r\n",
    "blank before a trailer's colon": "0\r\nX : a\r\n\r\n",
    "NUL in a trailer": "0\r\nX: a\0b\r\n\r\n",
    "LF in a trailer": "0\r\nX: a\nY: b\r\n\r\n",
    "endless trailers": "0\r\n" + "X: a\r\n" * 2000,
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_malformed_chunks(small, server, name):
    """The head has gone out: the connection is cut, and nobody gets the rest."""
    small.cloud(rules=[{"op": NAME, "times": 1,
                        "raw": OK + "Transfer-Encoding: chunked\r\n\r\n" + BAD_CHUNKS[name]}])
    with pytest.raises((soap.BadReply, ConnectionResetError)):
        ask(server)
    assert small.wait_line("ACCESS_LOG", lambda l: l["end"] == "CLOUD_BAD_REPLY")
    with small.server() as other:
        assert other.call(NAME, BODY).body == expected(small)


def test_trailers_and_extensions_of_the_cloud_are_dropped(small, server):
    raw = (OK + 'Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5;a="b;c"\r\nhello\r\n'
           "0;x\r\nX-Sum: 1\r\nContent-Length: 99\r\n\r\n")
    small.cloud(rules=[{"op": NAME, "times": 1, "raw": raw}])
    reply = ask(server)
    assert (reply.status, reply.body) == (200, b"hello")
    assert not reply.all("X-Sum") and not reply.all("Trailer")
    assert ask(server).body == expected(small)


@pytest.mark.parametrize("status", [204, 304])
def test_body_where_none_may_be(small, server, status):
    """It is not sent on, and not taken for the head of the next reply."""
    evil = OK + "Content-Length: 4\r\n\r\nevil"
    small.cloud(rules=[{"op": NAME, "times": 1, "raw": f"HTTP/1.1 {status} x\r\n"
                        f"Content-Length: {len(evil)}\r\n\r\n" + evil}])
    reply = ask(server)
    assert (reply.status, reply.body) == (status, b"")
    for _ in range(3):
        assert ask(server).body == expected(small)


def test_more_than_was_asked_for_is_nobodys(small, server):
    """A second reply behind the first must not answer the next request."""
    second = OK + "Content-Length: 4\r\n\r\nevil"
    small.cloud(rules=[{"op": NAME, "times": 1,
                        "raw": OK + "Content-Length: 5\r\n\r\nhello" + second}])
    assert ask(server).body == b"hello"
    for _ in range(3):
        assert ask(server).body == expected(small)


def test_reply_that_overtakes_its_request(small, server):
    """413 after the head: it passes at once, and nothing more is read."""
    server.see_end = True
    small.cloud(rules=[{"early": True, "status": 413}])
    server.send(server.head("POST", PATH, soap.soap_fields(NAME) + [
        ("Content-Length", str(len(BODY)))]) + BODY[:10])
    reply = server.read()
    assert reply.status == 413 and reply.body == b"early\n"
    assert reply.get("Connection") == "close" and server.at_end()
    with small.server() as other:  # nor is its connection to the cloud used again
        assert not small.access(other.call(NAME, BODY))["reused"]


@pytest.mark.parametrize("rule", [
    {"status": 429, "retry_after": 17}, {"status": 503, "retry_after": 30},
    {"status": 503, "body": "<busy/>", "content_type": "text/xml"}, {"status": 403},
    {"status": 404}, {"status": 500, "body": "no", "content_type": "text/plain"}],
    ids=lambda r: str(r["status"]))
def test_what_the_cloud_says_passes(small, server, rule):
    small.cloud(rules=[dict(rule, op=NAME, times=1)])
    reply = ask(server)
    assert reply.status == rule["status"] and reply.body.decode() == rule.get("body", "")
    assert reply.get("Retry-After") == (str(rule["retry_after"]) if "retry_after" in rule else None)
    assert b"RmsConnector" not in reply.body
    if "retry_after" in rule:  # it is obeyed: nothing is sent until then
        again = ask(server)
        own_error(again, 503, "CLOUD_WAIT")
        assert 0 < int(again.get("Retry-After")) <= rule["retry_after"]
        assert small.event(2131)
        assert wait_until(lambda: ask(server).status == 200, 5, 0.05)
    else:
        assert ask(server).status == 200
    assert small.cloud()["total"] == 2  # and it is not tried again


# ---- slow -----------------------------------------------------------------------------------

def test_cloud_is_slow(small, server):
    small.cloud(rules=[{"op": NAME, "delay_ms": 1500, "times": 1}])
    start = time.monotonic()
    failed(small, ask(server), 504, "CLOUD_SLOW", "cloud")
    assert 0.6 < time.monotonic() - start < 5
    small.cloud(rules=[{"op": NAME, "stall": "head", "times": 1}])
    failed(small, ask(server), 504, "CLOUD_SLOW", "cloud")
    small.cloud(clear=True)
    # Slow, but never as slow as that.
    small.cloud(rules=[{"op": NAME, "trickle": {"bytes": 4000, "every_ms": 150}}])
    reply = ask(server)
    assert reply.status == 200 and reply.body == expected(small)
    assert small.access(reply)["service_ms"] > 700


# What a relay may grow by; a sanitizer keeps what was freed.
GROWTH_MAX = (8 if os.environ.get("RMS_SANDBOX") != "off" else 64) << 20


def rss(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmRSS:\s+(\d+) kB", file.read())[1]) << 10


@pytest.fixture
def patient(small):
    """The same with time for the stand-in to make a large reply."""
    small.configure(cloud_reply_timeout_ms='"20s"', cloud_body_timeout_ms='"20s"',
                    cloud_tls_timeout_ms='"20s"')
    yield small
    small.configure(cloud_reply_timeout_ms='"700ms"', cloud_body_timeout_ms='"700ms"',
                    cloud_tls_timeout_ms='"600ms"')


def test_client_that_does_not_read(patient):
    """What it does not take stays with the cloud; then the time is over."""
    small = patient
    size, clients, pid = 20 << 20, [], small.pid("relay")
    small.cloud(rules=[{"op": NAME, "reply_bytes": size}])
    before = rss(pid)
    with small.server() as reader:
        for tls in (True, False):
            client = small.server(tls=tls)
            clients.append(client)
            client.connect().sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.send(client.head("POST", PATH, soap.soap_fields(NAME) + [
                ticket(small), ("Content-Length", str(len(BODY)))]) + BODY)
        peak = [0]

        def over():
            peak[0] = max(peak[0], rss(pid))
            return sum(l["end"] == "CLIENT_SLOW_WRITE" for l in small.new("ACCESS_LOG")) == 2
        assert wait_until(over, 10, 0.02), small.new("ACCESS_LOG")
        assert peak[0] - before < GROWTH_MAX, f"{before} grew to {peak[0]}"
        # One who reads slowly gets it all.
        small.cloud(clear=True, rules=[{"op": NAME, "reply_bytes": 8 << 20}])
        reader.connect().sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        reply = reader.call(NAME, BODY)
        assert reply.status == 200 and reply.body == expected(small, 8 << 20)
    for client in clients:
        client.close()


def test_cloud_that_does_not_read(small, server):
    """A large request waits with the client, not in the relay."""
    pid, body = small.pid("relay"), soap.acquire_issuance_license(size=15 << 20)
    stop = threading.Event()
    with Peer(small, lambda peer, sock: stop.wait(20), small.path("tls/cloud")) as peer:
        before, peak, done = rss(pid), [0], []
        # Within that time the connection may break: who sends goes on sending.
        def send():
            try:
                done.append(server.call("AcquireIssuanceLicense", body))
            except (OSError, soap.BadReply) as error:
                done.append(error)
        thread = threading.Thread(target=send)
        thread.start()

        def over():
            peak[0] = max(peak[0], rss(pid))
            return any(l["end"] == "CLOUD_SLOW_BODY" for l in small.new("ACCESS_LOG"))
        assert wait_until(over, 10, 0.02), small.new("ACCESS_LOG")
        thread.join(10)
        stop.set()
        assert done and peer.connections == 1
        assert peak[0] - before < GROWTH_MAX, f"{before} grew to {peak[0]}"
    line = small.wait_line("ACCESS_LOG", lambda l: l["end"] == "CLOUD_SLOW_BODY")
    assert line["status"] == 504 and line["bytes_in"] < len(body)


# ---- tokens --------------------------------------------------------------------------------

def test_refused_token_is_replaced_and_the_request_repeated(small, server):
    before = small.counters()["token_replays"]
    small.cloud(expire_tokens=True)
    reply = ask(server)
    assert reply.status == 200 and reply.body == expected(small)
    assert small.counters()["token_replays"] == before + 1
    figures = small.cloud()
    assert figures["statuses"] == {"401": 1, "200": 1} and figures["tokens"]["issued"] >= 1
    assert not reply.all("WWW-Authenticate")
    assert ask(server).status == 200 and small.counters()["token_replays"] == before + 1


def test_token_is_refused_always(small, server):
    small.cloud(rules=[{"op": NAME, "status": 401}])
    reply = ask(server)
    failed(small, reply, 502, "CLOUD_UNAUTHORIZED", "cloud")
    assert not reply.all("WWW-Authenticate")  # the client's credentials are good
    assert small.cloud()["total"] == 2
    small.cloud(clear=True)
    assert ask(server).status == 200


def test_large_request_with_a_refused_token(small, server):
    """It cannot be repeated by us; the caller is told that it may be."""
    small.cloud(expire_tokens=True)
    failed(small, server.call("AcquireIssuanceLicense", LARGE), 502, "CLOUD_UNAUTHORIZED",
           "cloud")
    assert wait_until(lambda: server.call("AcquireIssuanceLicense", LARGE).status == 200, 5, 0.1)


ANSWERS = {
    "400": ({"status": 400, "body": '{"error":"invalid_scope","error_description":'
             '"AADSTS70011: no such scope"}', "content_type": "application/json"}, "AADSTS70011"),
    "401": ({"status": 401, "body": '{"error":"invalid_client","error_description":'
             '"AADSTS7000215: Invalid client secret"}', "content_type": "application/json"},
            "AADSTS7000215"),
    "500": ({"status": 500, "body": "oops", "content_type": "text/plain"}, "500"),
    "html": ({"body": "<html><body>Sign in</body></html>", "content_type": "text/html"}, ""),
    "nothing": ({"drop": "before"}, ""),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_no_token_to_be_had(small, server, name):
    """A credential without token: its role is refused, the others go on."""
    rule, words = ANSWERS[name]
    small.cloud(rules=[dict(rule, part="token")])
    small.rmsctl("credentials", "add", "c-" + name, "--client-id", labctl.CLIENT_ID,
                 "--secret-file", small.path("client.secret"))
    small.rmsctl("set", "credential_fci", "c-" + name)
    try:
        told = small.event(3100, level="error")
        assert words in told["reason"], told
        with small.server("FCI") as fci:
            reply = fci.call(NAME, BODY)
            failed(small, reply, 503, "NO_TOKEN", "cloud")
            assert int(reply.get("Retry-After")) > 0
            assert ask(server).status == 200
            assert small.cloud()["total"] == 1
            small.cloud(clear=True)
            small.wait_ready()
            assert ask(fci).status == 200
        assert small.event(1102)
        assert labctl.CLIENT_ID in small.cloud()["by_client"]
    finally:
        small.cloud(clear=True)
        small.rmsctl("set", "credential_fci", "default")
        small.wait_ready()


def test_token_that_is_still_good_stays(small, server):
    small.cloud(rules=[{"part": "token", "status": 500},
                       {"op": NAME, "status": 401, "times": 1}])
    failed(small, ask(server), 502, "CLOUD_UNAUTHORIZED", "cloud")
    assert small.event(2101, level="warning")
    assert ask(server).status == 200
    small.cloud(clear=True)
    assert small.event(1102)


@pytest.mark.parametrize("agent", ["alive", "stopped"])
def test_token_is_not_used_beyond_its_end(small, server, agent):
    """The stand-in objects to an expired token.  The agent withdraws it; a
    relay looks at the clock, too."""
    small.cloud(set={"expires_in": 2}, expire_tokens=True)
    try:
        assert ask(server).status == 200  # with one of the short ones
        small.cloud(listening={"token": False})
        if agent == "stopped":
            small.kill("cloud", number=signal.SIGSTOP)
        statuses = []

        def refused():
            reply = ask(server)
            statuses.append(reply.status)
            return reply if reply.status != 200 else None
        reply = wait_until(refused, 6, 0.02)
        failed(small, reply, 503, "NO_TOKEN", "cloud")
        assert set(statuses) == {200, 503} and int(reply.get("Retry-After")) > 0
        with small.server("SHAREPOINT") as other:
            failed(small, other.call(NAME, BODY), 503, "NO_TOKEN", "cloud")
        if agent == "alive":
            assert small.event(3100, level="error")
    finally:
        small.kill("cloud", number=signal.SIGCONT)
        small.cloud(set={"expires_in": 3599}, listening={"token": True})
        small.wait_ready()
    assert wait_until(lambda: ask(server).status == 200, 5, 0.05)


class Tenant(Peer):
    """Answers, and keeps which tokens it was sent."""

    def __init__(self, lab):
        super().__init__(lab, Tenant.answer, lab.path("tls/cloud"))
        self.tokens = set()

    def answer(self, sock):
        data = b""
        while b"\r\n\r\n" not in data or not data.endswith(BODY[-20:]):
            more = sock.recv(65536)
            if not more:
                return
            data += more
        self.tokens.add(re.search(rb"\r\nAuthorization: Bearer (\S+)\r\n", data)[1])
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        sock.close()


@pytest.mark.parametrize("late", ["cloud", "relay"])
def test_token_goes_to_its_tenant_only(small, server, late):
    """Cloud agent and relay take a set one after the other, in either order;
    no request is lost, and none takes one tenant's token to the other."""
    other = {"cloud": "relay", "relay": "cloud"}[late]
    with Tenant(small) as one, Tenant(small) as two, ThreadPoolExecutor() as pool:

        def move(tenant):
            return pool.submit(small.rmsctl, "set", "tenant_url",
                               f"https://{labctl.TENANT_HOST}:{tenant.port}")
        move(one).result()
        assert ask(server).status == 200
        pid = small.kill(late, 0, signal.SIGSTOP)
        try:
            moved = move(two)
            wait_halfway(small, late, other)
            call = pool.submit(ask, server)
            time.sleep(0.3)
            assert not call.done() and two.connections == 0
        finally:
            os.kill(pid, signal.SIGCONT)
        assert call.result().status == 200
        moved.result()
        assert ask(server).status == 200
        assert one.tokens and two.tokens and not one.tokens & two.tokens
        # Under way all the time.
        for number in range(8):
            moved = move((one, two)[number % 2])
            while not moved.done():
                assert ask(server).status == 200
            moved.result()
            assert ask(server).status == 200
        assert not one.tokens & two.tokens


def test_roles_travel_with_their_credentials(small, server):
    """Only Exchange's requests carry its rights."""
    other = "0e5f3c52-9f0d-4a36-8f7e-2f1f2a1c0d11"
    with open(small.path("client.secret"), encoding="ascii") as file:
        secret = file.read()
    small.cloud(set={"apps": {labctl.CLIENT_ID: {"secret": secret},
                              other: {"secret": "an other secret"}}})
    small.rmsctl("credentials", "add", "plain", "--client-id", other, input="an other secret")
    try:
        small.rmsctl("set", "credential_sharepoint", "plain")
        small.wait_ready()
        with small.server("SHAREPOINT") as sharepoint:
            assert sharepoint.call(NAME, BODY).status == 200
        assert small.cloud()["last"]["client_id"] == other
        assert ask(server).status == 200
        assert small.cloud()["last"]["client_id"] == labctl.CLIENT_ID
    finally:
        small.rmsctl("set", "credential_sharepoint", "default")
        small.wait_ready()


def test_secrets_are_in_no_log(small):
    with open(small.path("client.secret"), "rb") as file:
        secret = file.read()
    for name in ("ACCESS_LOG", "EVENT_LOG", "CONNECTOR_LOG"):
        with open(small.env[name], "rb") as file:
            data = file.read()
        assert secret not in data and b"Bearer " not in data, name
    assert os.path.getsize(small.env["CONNECTOR_LOG"]) > 0
