"""wan_compression: gzip between the connector and the cloud, undone for
clients that did not ask for it."""

import gzip
import os
import re

import pytest

import services
import soap
import standin_soap
from conftest import using
from relay_peers import NAME, PATH, own_error, ticket

BODY = soap.acquire_license()
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Encoding: gzip\r\n"


@pytest.fixture(scope="module")
def _wan(module_lab):
    return module_lab(workers=1, conf="wan_compression = true\n"
                      'wan_reply_bytes_max = "8M"\nwrite_timeout_ms = "3s"')


@pytest.fixture
def wan(_wan):
    """A lab with one relay and wan_compression."""
    yield from using(_wan)
    _wan.cloud(clear=True)


def expected(lab, size=None):
    fields = {n.lower(): v for n, v in soap.soap_fields(NAME)}
    reply = standin_soap.answer(lab.env["CLOUD_URL"], services.BY_NAME[NAME].paths[0], fields,
                                BODY)
    return (standin_soap.sized(reply, size) if size else reply).body


def ask(server, *fields):
    return server.post(PATH, BODY, soap.soap_fields(NAME) + list(fields))


@pytest.fixture
def server(wan):
    with wan.server() as made:
        assert made.call(NAME, BODY).status == 200
        wan.cloud(reset=True)
        yield made


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [None, 3 << 20])
def test_undone_for_who_did_not_ask(wan, server, size, chunked):
    rule = {"op": NAME, "gzip": "accept", "chunked": chunked}
    if size:
        rule["reply_bytes"] = size
    wan.cloud(rules=[rule])
    reply = ask(server)
    assert reply.status == 200 and reply.get("Content-Encoding") is None
    assert reply.body == expected(wan, size)
    assert reply.get("Vary") == "Accept-Encoding"
    assert reply.get("Content-Length") is None  # nobody knows it at the head
    again = ask(server)  # the connection goes on
    assert again.body == reply.body


@pytest.mark.parametrize("accept", ["gzip", "deflate, gzip;q=0.5", "x-gzip", "br, *"])
def test_passed_on_to_who_did(wan, server, accept):
    wan.cloud(rules=[{"op": NAME, "gzip": "accept"}])
    reply = ask(server, ("Accept-Encoding", accept))
    assert reply.get("Content-Encoding") == "gzip"
    assert reply.get("Content-Length") and reply.get("Vary") == "Accept-Encoding"
    assert reply.content() == expected(wan)


@pytest.mark.parametrize("accept", ["identity", "gzip;q=0", "gzip; q=0.000, br", "gzipped", "",
                                    "*, gzip;q=0"])
def test_not_taken_for_asking(wan, server, accept):
    wan.cloud(rules=[{"op": NAME, "gzip": "accept"}])
    reply = ask(server, ("Accept-Encoding", accept))
    assert reply.get("Content-Encoding") is None and reply.body == expected(wan)


def test_forbidden_in_another_line(wan, server):
    """The lines of Accept-Encoding are one list, and gzip's own word counts before *."""
    wan.cloud(rules=[{"op": NAME, "gzip": "accept"}])
    reply = ask(server, ("Accept-Encoding", "br, *"), ("Accept-Encoding", "gzip;q=0"))
    assert reply.get("Content-Encoding") is None and reply.body == expected(wan)


def test_without_gzip_nothing_changes(wan, server):
    reply = ask(server)
    assert reply.get("Vary") is None and reply.get("Content-Length")
    assert reply.body == expected(wan)


def test_off_passes_all(wan, server):
    wan.configure(wan_compression="false")
    try:
        wan.cloud(rules=[{"op": NAME, "gzip": "accept"}])
        assert ask(server).get("Content-Encoding") is None
        wan.cloud(clear=True, rules=[{"op": NAME, "gzip": "force"}])
        assert ask(server).get("Content-Encoding") == "gzip"
    finally:
        wan.configure(wan_compression="true")


def raw(lab, data, **more):
    lab.cloud(rules=[{"op": NAME, "raw": data.decode("latin-1"), **more}])


def length(body, extra=b""):
    return OK + extra + b"Content-Length: %d\r\n\r\n" % len(body) + body


def test_validators_and_digests(wan, server):
    body = gzip.compress(b"<ok/>", mtime=0)
    raw(wan, length(body, b'ETag: "v1"\r\nContent-MD5: AAAA\r\nContent-Digest: sha-256=:x:\r\n'
                    b"Accept-Ranges: bytes\r\nVary: Cookie\r\n"))
    reply = ask(server)
    assert reply.body == b"<ok/>" and reply.get("ETag") == 'W/"v1"'
    for name in ("Content-MD5", "Content-Digest", "Accept-Ranges", "Content-Encoding"):
        assert reply.get(name) is None, name
    assert sorted(reply.all("Vary")) == ["Accept-Encoding", "Cookie"]


def test_http10_client_reads_to_the_end(wan):
    wan.cloud(rules=[{"op": NAME, "gzip": "accept"}])
    with wan.client() as client:
        fields = soap.soap_fields(NAME) + [ticket(wan), ("Content-Length", str(len(BODY)))]
        client.send(client.head("POST", PATH, fields).replace(b"HTTP/1.1", b"HTTP/1.0") + BODY)
        reply = client.read()
        assert reply.body == expected(wan)


GOOD = gzip.compress(os.urandom(20000), mtime=0)
BROKEN = {
    "no gzip": b"<soap/>" * 10,
    "cut": GOOD[:-20],
    "cut in the head": GOOD[:5],
    "nothing": b"",
    "wrong checksum": GOOD[:-8] + bytes(4) + GOOD[-4:],
    "wrong length": GOOD[:-4] + bytes(4),
    "bytes behind": GOOD + b"x",
    "two members": GOOD + GOOD,
    "zlib, not gzip": b"\x78\x9c" + GOOD[10:],
    "damaged": GOOD[:5000] + bytes(40) + GOOD[5040:],
    "bomb": gzip.compress(bytes(64 << 20), 9, mtime=0),
    "too large": gzip.compress(os.urandom(6 << 10) * 2048, 9, mtime=0),
}


@pytest.mark.parametrize("what, framing", [
    (w, f) for w in BROKEN for f in ("length", "chunked", "close")
    if (w, f) != ("nothing", "length")])  # Content-Length: 0 is a reply without a body
def test_broken_streams_are_never_a_short_reply(wan, server, what, framing):
    body = BROKEN[what]
    if framing == "length":
        data = length(body)
    elif framing == "chunked":
        data = OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(
            b"%x\r\n%s\r\n" % (len(body[i:i + 4096]), body[i:i + 4096])
            for i in range(0, len(body), 4096)) + b"0\r\n\r\n"
    else:
        data = OK + b"Connection: close\r\n\r\n" + body
    raw(wan, data, **({"close": True} if framing == "close" else {}))
    with pytest.raises(soap.BadReply):
        ask(server)
    line = wan.wait_line("ACCESS_LOG", lambda l: l["end"] == "CLOUD_BAD_REPLY")
    assert line["bytes_out"] <= 8 << 20


@pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])
@pytest.mark.parametrize("what", ["cut", "wrong checksum", "bytes behind", "bomb"])
def test_nor_for_a_client_that_reads_to_the_end(wan, tls, what):
    """HTTP/1.0 knows a body's end by the connection's: it must not be clean."""
    raw(wan, length(BROKEN[what]))
    with wan.client(tls=tls) as client:
        fields = soap.soap_fields(NAME) + [ticket(wan), ("Content-Length", str(len(BODY)))]
        client.send(client.head("POST", PATH, fields).replace(b"HTTP/1.1", b"HTTP/1.0") + BODY)
        with pytest.raises((soap.BadReply, OSError)):
            client.read()


def test_bomb_costs_a_bounded_sum(wan, server):
    """64 MiB of zeros in 64 kB: it ends at the ratio, and no memory grows."""
    def rss():
        with open(f"/proc/{wan.pid('relay')}/status", encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+) kB", file.read())[1]) << 10
    raw(wan, length(BROKEN["bomb"]))
    before = rss()
    for _ in range(3):
        with wan.server() as again, pytest.raises(soap.BadReply):
            again.call(NAME, BODY)
    assert rss() - before < 8 << 20


def test_part_of_a_stream_is_refused(wan, server):
    raw(wan, length(GOOD).replace(b"200 OK", b"206 Partial Content"))
    own_error(ask(server), 502, "CLOUD_BAD_REPLY")
