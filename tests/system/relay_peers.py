"""What the tests of the relay look for and send, in words of their own."""

import base64
import xml.etree.ElementTree as tree

import negotiate
import soap
from procs import wait_until

SOAP11 = "{http://schemas.xmlsoap.org/soap/envelope/}"
NAME = "AcquireLicense"
PATH = soap.path_of(NAME)


def own_error(reply, status, reason, fault=True):
    """Checks one of the connector's own errors; the text that says why."""
    assert reply.status == status, f"{reply.status} {reply.body[:600]!r}"
    request_id = reply.get("X-RMS-Request-Id")
    assert request_id, reply.pairs
    if fault:
        assert reply.get("Content-Type").startswith("text/xml")
        root = tree.fromstring(reply.body)
        assert root.tag == SOAP11 + "Envelope"
        [body] = root.findall(SOAP11 + "Body")
        [inner] = body
        assert inner.tag == SOAP11 + "Fault"
        assert [e.tag for e in inner] == ["faultcode", "faultstring"]
        assert inner.find("faultcode").text == "soap:Server"
        text = inner.find("faultstring").text
    else:
        assert reply.get("Content-Type").startswith("text/plain")
        text = reply.body.decode()
    assert f"RmsConnector.{reason}: " in text, text
    assert request_id in text
    return text


def challenge(reply):
    """Checks that a reply asks for authentication and says nothing else."""
    own_error(reply, 401, "AUTH_REQUIRED")
    assert reply.all("WWW-Authenticate") == ["Negotiate"]


def ask(client, *fields, body=None, **options):
    """One AcquireLicense with these fields and no others of its own."""
    return client.post(PATH, body or soap.acquire_license(),
                       soap.soap_fields(NAME) + list(fields), **options)


def has_the_set(lab, role):
    """Have all processes of the role applied the newest one?"""
    return all(p["ready"] for p in lab.status()["processes"] if p["role"] == role)


def wait_halfway(lab, late, other):
    """Until a set that is on its way is in force in one role's processes and not
    in those of the other, which stand still."""
    assert wait_until(lambda: not has_the_set(lab, late), 5), "no set is on its way"
    assert wait_until(lambda: has_the_set(lab, other), 5)
    assert not has_the_set(lab, late)


def token(lab, account="EXCHANGE", host="localhost", **options):
    """A fresh first token of an account, as bytes."""
    return negotiate.Negotiate(host, lab.env["KRB5CCNAME_" + account], **options).token()


def field(data, scheme="Negotiate"):
    return ("Authorization", f"{scheme} {base64.b64encode(data).decode()}")


def ticket(lab, account="EXCHANGE", **options):
    """An Authorization field that lets this account in, once."""
    return field(token(lab, account, **options))
