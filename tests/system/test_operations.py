"""Operations and items, looked at while they pass: what the access log and the
counters say of them is what the stand-in read with a real parser, and nothing
that passes is changed or refused for it."""

import gzip
import random

import pytest

import services
import soap
import standin_operations
from conftest import using
from relay_peers import NAME, PATH

GOOD, BAD = "user{}@lab.test", "norights{}@lab.test"
BATCH = ("a@lab.test", "norights1@lab.test", "b@lab.test", "norights2@lab.test", "c@lab.test")
DRM = services.DRM + "LicensingService"
SP = "sp01$@LAB.TEST"


@pytest.fixture(scope="module")
def _own(module_lab):
    return module_lab(workers=1)


@pytest.fixture
def own(_own):
    """A lab with one relay, so that its counters are of these requests."""
    yield from using(_own)


@pytest.fixture
def server(own):
    with own.server() as made:
        assert made.call(NAME, soap.acquire_license()).status == 200
        yield made


def grown(own, before):
    """Counters that are more than before."""
    return {k: v - before[k] for k, v in own.counters().items() if v != before[k]}


def of_cloud(own, reply):
    """The stand-in's line about a request."""
    wanted = ["X-RMS-Request-Id", reply.get("X-RMS-Request-Id")]
    return own.wait_line("CLOUD_LOG", lambda l: wanted in l.get("fields", ()))


def same_as_cloud(own, reply):
    """The access log's line, which must agree with the stand-in's."""
    line, cloud = own.access(reply), of_cloud(own, reply)
    assert (line["op"], line["items"]) == (cloud["op"], cloud["items"]), line
    failed = cloud["failed_items"] if reply.status == 200 else cloud["items"]
    assert line["items_failed"] == failed, line
    assert "unread" not in line and "op_body" not in line
    return line


def test_single(own, server):
    before = own.counters()
    reply = server.call(NAME, soap.acquire_license())
    line = same_as_cloud(own, reply)
    assert (line["op"], line["items"], line["items_failed"]) == (NAME, 1, 0)
    more = grown(own, before)
    assert more["op_AcquireLicense"] == 1 and more["items"] == 1
    assert not more.keys() & {"batches", "items_failed", "op_AcquireLicense_failed",
                              "soap_unread", "soap_differs", "as_exchange"}


def test_batch_with_failed_items(own, server):
    before = own.counters()
    reply = server.call(NAME, soap.acquire_license(*BATCH))
    assert reply.status == 200
    line = same_as_cloud(own, reply)
    assert (line["items"], line["items_failed"]) == (5, 2)
    more = grown(own, before)
    assert (more["items"], more["items_failed"]) == (5, 2)
    assert more["batches"] == more["batches_failed"] == 1
    assert more["status_2xx"] == 1 and "op_AcquireLicense_failed" not in more
    status = own.rmsctl("status").stdout
    assert "Items:" in status and "of them with items that failed" in status


def test_fault_fails_every_item(own, server):
    before = own.counters()
    own.cloud(rules=[{"op": NAME, "times": 1, "fault": "System.InvalidOperationException: x"}])
    reply = server.call(NAME, soap.acquire_license(*BATCH))
    assert reply.status == 500
    line = own.access(reply)
    assert (line["items"], line["items_failed"]) == (5, 5)
    more = grown(own, before)
    assert more["op_AcquireLicense_failed"] == 1 and more["items_failed"] == 5


OTHERS = [
    ("AcquirePreLicense", soap.acquire_prelicense("a@x", "norights@x", "b@x")),
    ("AcquireTemplates", soap.acquire_templates(next(iter(standin_operations.TEMPLATES)),
                                                "{d6863b92-0a3b-4fc0-8a3f-5c1c8a3f2d11}")),
    ("AcquireTemplates", soap.acquire_templates()),
    ("GetClientLicensorCert", soap.get_client_licensor_cert()),
    ("AcquireIssuanceLicense", soap.acquire_issuance_license()),
    ("Certify", soap.certify())]


@pytest.mark.parametrize("name, body", OTHERS,
                         ids=[f"{name}{n}" for n, (name, _) in enumerate(OTHERS)])
def test_other_operations(own, server, name, body):
    reply = server.call(name, body)
    assert reply.status == 200
    same_as_cloud(own, reply)


def test_soap_12(own, server):
    reply = server.call(NAME, soap.acquire_license(*BATCH, soap=services.SOAP12),
                        soap=services.SOAP12)
    assert reply.status == 200
    line = same_as_cloud(own, reply)
    assert (line["items"], line["items_failed"]) == (5, 2)


@pytest.mark.parametrize("chunks", [1, 7, None])
def test_pieces(own, server, chunks):
    own.cloud(rules=[{"op": NAME, "chunked": True, "chunk_bytes": chunks or 4096}])
    reply = server.call(NAME, soap.acquire_license(*BATCH), chunks=chunks)
    own.cloud(clear=True)
    assert reply.status == 200
    line = same_as_cloud(own, reply)
    assert (line["items"], line["items_failed"]) == (5, 2)


def test_any_batches(own, server):
    """Batches of any size and mixture, against a real parser's count."""
    draw = random.Random(20)
    for _ in range(40):
        users = [draw.choice((GOOD, BAD)).format(n) for n in range(draw.randint(2, 9))]
        body = soap.acquire_license(*users, seed=draw.choice(("mail", "<!--x-->", "file")))
        reply = server.call(NAME, body)
        assert reply.status == 200
        same_as_cloud(own, reply)


def test_head_and_body_differ(own, server):
    before = own.counters()
    reply = server.post(PATH, soap.acquire_prelicense(), soap.soap_fields(NAME))
    assert reply.status == 500  # the cloud's word
    line = own.access(reply)
    assert (line["op"], line["op_body"]) == (NAME, "AcquirePreLicense")
    reply = server.post(PATH, soap.get_server_info(), soap.soap_fields(NAME))
    line = own.access(reply)
    assert (line["op"], line["op_body"]) == (NAME, "other") and line["unread"] == "unexpected"
    assert grown(own, before)["soap_differs"] == 2


def test_no_action(own, server):
    fields = [f for f in soap.soap_fields(NAME) if f[0] != "SOAPAction"]
    reply = server.post(PATH, soap.acquire_license(*BATCH), fields, chunks=1)
    line = same_as_cloud(own, reply)
    assert (line["op"], line["items"], line["items_failed"]) == (NAME, 5, 2)


def test_coded_reply_is_not_looked_into(own, server):
    before = own.counters()
    own.cloud(rules=[{"op": NAME, "gzip": "accept", "times": 1}])
    reply = server.call(NAME, soap.acquire_license(*BATCH), fields=[("Accept-Encoding", "gzip")])
    assert reply.get("Content-Encoding") == "gzip"
    line = own.access(reply)
    assert line["items"] == 5 and "items_failed" not in line and line["unread"] == "coded"
    more = grown(own, before)
    assert more["soap_unread"] == 1 and more["items"] == 5 and "items_failed" not in more


def test_undone_reply_is_looked_into(own, server):
    own.configure(wan_compression="true")
    own.cloud(rules=[{"op": NAME, "gzip": "accept"}])
    reply = server.call(NAME, soap.acquire_license(*BATCH))
    own.cloud(clear=True)
    own.configure(wan_compression=None)
    assert reply.get("Content-Encoding") is None
    line = same_as_cloud(own, reply)
    assert (line["items"], line["items_failed"]) == (5, 2)


BOMB = (b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
        + b"".join(b'<!ENTITY %c "%s">' % (c, b"&%c;" % (c - 1) * 10) for c in range(98, 123))
        + b']><x>&z;</x>')


ODD = [
    ("coded", gzip.compress(soap.acquire_license(), mtime=0), [("Content-Encoding", "gzip")]),
    ("doctype", BOMB, []),
    ("encoding", soap.acquire_license().decode().encode("utf-16"), []),
    ("malformed", b"no markup", []),
    ("malformed", soap.acquire_license()[:-200], []),
    ("no-soap", b"<html><body/></html>", []),
    ("limit", soap.acquire_license().replace(b"<RequestParams>", b"<RequestParams>"
                                             + b"<d>" * 5000 + b"</d>" * 5000), [])]


@pytest.mark.parametrize("why, body, fields", ODD,
                         ids=[f"{why}{n}" for n, (why, *_) in enumerate(ODD)])
def test_odd_bodies_pass_and_are_left_alone(own, server, why, body, fields):
    before = own.counters()
    reply = server.post(PATH, body, soap.soap_fields(NAME) + fields)
    line, cloud = own.access(reply), of_cloud(own, reply)
    assert cloud["bytes_in"] == len(body)  # all of it was passed on
    assert line["op"] == NAME and line["unread"] == why and "items" not in line
    assert line["end"] == "OK" and grown(own, before)["soap_unread"] == 1


@pytest.mark.parametrize("name, body", [("GetServerInfo", soap.get_server_info()),
                                        ("AcquirePreLicense", soap.acquire_prelicense())],
                         ids=["GetServerInfo", "AcquirePreLicense"])
def test_who_asks_as_exchange(private_lab, name, body):
    own = private_lab(workers=1)
    with own.server("SHAREPOINT") as server:
        assert "as_exchange" not in own.access(server.call(NAME, soap.acquire_license()))
        for _ in range(3):
            reply = server.call(name, body)
            assert reply.status == 200
            assert own.access(reply)["as_exchange"] is True
    event = own.event(2113, account=SP)
    assert name in event["reason"] and "as sharepoint" in event["reason"]
    assert own.counters()["as_exchange"] == 3
    with own.server() as server:
        reply = server.call(name, body)
        assert "as_exchange" not in own.access(reply)
    assert own.counters()["as_exchange"] == 3
    assert len([e for e in own.new("EVENT_LOG") if e["id"] == 2113]) == 1
