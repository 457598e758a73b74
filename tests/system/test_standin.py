"""The stand-in cloud itself: it serves what it should and refuses the rest.
Every test of the connector relies on it."""

import hashlib
import json
import socket
import ssl
import urllib.error
import urllib.parse

import pytest

import services
import soap
import standin_operations
import standin_soap
import standin_xml
import xrml
from labctl import CLIENT_ID
from services import SOAP12

HOST = "tenant.rms.lab.test"
FORM = ("Content-Type", "application/x-www-form-urlencoded")
BODIES = {
    "Certify": soap.certify(),
    "GetServerInfo": soap.get_server_info(),
    "GetLicensorCertificate": soap.get_licensor_certificate(),
    "FindServiceLocations": soap.find_service_locations(name="FindServiceLocations"),
    "FindServiceLocationsForUser": soap.find_service_locations(),
    "AcquireLicense": soap.acquire_license(),
    "AcquirePreLicense": soap.acquire_prelicense(),
    "AcquireIssuanceLicense": soap.acquire_issuance_license(),
    "GetClientLicensorCert": soap.get_client_licensor_cert(),
    "AcquireTemplateInformation": soap.acquire_template_information(),
    "AcquireTemplates": soap.acquire_templates(*standin_operations.TEMPLATES),
    "Precertify": soap.envelope(
        "Precertify", "<requestParams><PrecertifyParams><UserName>a</UserName><Identification>"
        "<AuthenticationMode>Windows</AuthenticationMode><Id>S-1-5-21-1</Id></Identification>"
        "</PrecertifyParams></requestParams>"),
    "EditIssuanceLicense": soap.envelope(
        "EditIssuanceLicense", "<RequestParams><EditIssuanceLicenseParams>"
        f"<SignedIssuanceLicense>{xrml.certificate('PL')}</SignedIssuanceLicense>"
        f"<UnsignedIssuanceLicense>{xrml.certificate('PL')}</UnsignedIssuanceLicense>"
        "</EditIssuanceLicenseParams></RequestParams>"),
}


def ask_token(lab, authorization=None, tenant="lab.test", **form):
    secret = open(lab.path("client.secret"), encoding="ascii").read()
    values = {"client_id": CLIENT_ID, "client_secret": secret,
              "grant_type": "client_credentials", "scope": "https://aadrm.com/.default", **form}
    values = {k: v for k, v in values.items() if v is not None}
    url = f"https://127.0.0.1:{lab.ports['token']}"
    with soap.Client(url, ca=lab.env["CONNECTOR_CA"]) as client:
        reply = client.post(f"/{tenant}/oauth2/v2.0/token",
                            urllib.parse.urlencode(values).encode(),
                            [FORM] + ([("Authorization", authorization)] if authorization else []))
    return reply.status, json.loads(reply.body)


@pytest.fixture
def token(cloud_lab):
    status, reply = ask_token(cloud_lab)
    assert status == 200
    return ("Authorization", "Bearer " + reply["access_token"])


@pytest.fixture
def cloud(cloud_lab):
    with soap.Client(cloud_lab.env["CLOUD_URL"], ca=cloud_lab.env["CONNECTOR_CA"],
                     address="127.0.0.1", timeout=10) as client:
        yield client


def call(cloud, token, name="AcquireLicense", body=None, extra=(), **options):
    fields = soap.soap_fields(name) + ([token] if token else []) + list(extra)
    return cloud.post(soap.path_of(name), body or BODIES[name], fields, **options)


def violations(lab):
    return lab.cloud()["violations"]


# ---- tokens ----------------------------------------------------------------

def test_token(cloud_lab):
    status, reply = ask_token(cloud_lab)
    assert status == 200 and reply["token_type"] == "Bearer" and reply["expires_in"] == 3599
    assert len(reply["access_token"]) > 1000
    assert cloud_lab.cloud()["tokens"]["by_client"][CLIENT_ID] >= 1


@pytest.mark.parametrize("form, status, error, number", [
    ({"client_secret": "no"}, 401, "invalid_client", 7000215),
    ({"client_id": "nobody"}, 400, "unauthorized_client", 700016),
    ({"scope": "https://graph.test/.default"}, 400, "invalid_scope", 70011),
    ({"grant_type": "password"}, 400, "unsupported_grant_type", 70003),
    ({"client_secret": None}, 400, "invalid_request", 900144),
    ({"tenant": "other.test"}, 400, "invalid_request", 90002),
])
def test_token_refused(cloud_lab, form, status, error, number):
    got, reply = ask_token(cloud_lab, **form)
    assert (got, reply["error"], reply["error_codes"]) == (status, error, [number])
    assert reply["error_description"].startswith(f"AADSTS{number}: ")
    assert "access_token" not in reply


def test_token_with_basic(cloud_lab):
    secret = open(cloud_lab.path("client.secret"), encoding="ascii").read()
    basic = soap.negotiate.base64.b64encode(f"{CLIENT_ID}:{secret}".encode()).decode()
    assert ask_token(cloud_lab, "Basic " + basic, client_id=None, client_secret=None)[0] == 200


@pytest.mark.parametrize("rule, status, body", [
    ({"status": 429, "retry_after": 7}, 429, b""), ({"status": 500}, 500, b""),
    ({"status": 200, "body": "<html>sign in</html>"}, 200, b"<html>sign in</html>"),
    ({"status": 200, "body": ""}, 200, b"")])
def test_token_on_demand(cloud_lab, rule, status, body):
    cloud_lab.cloud(rules=[{"part": "token", "times": 1, **rule}])
    with soap.Client(f"https://127.0.0.1:{cloud_lab.ports['token']}",
                     ca=cloud_lab.env["CONNECTOR_CA"]) as client:
        reply = client.post("/lab.test/oauth2/v2.0/token", b"client_id=x", [FORM])
    assert (reply.status, reply.body) == (status, body)
    assert reply.get("Retry-After") == ("7" if "retry_after" in rule else None)
    assert ask_token(cloud_lab)[0] == 200


# ---- services --------------------------------------------------------------

@pytest.mark.parametrize("name", services.BY_NAME)
def test_operation(cloud_lab, cloud, token, name):
    body = BODIES[name]
    reply = call(cloud, token, name)
    assert reply.status == 200, soap.fault_text(reply)
    assert reply.get("X-Standin-Body-SHA256") == hashlib.sha256(body).hexdigest()
    expected = standin_soap.answer(cloud_lab.env["CLOUD_URL"], services.BY_NAME[name].paths[0],
                                   {n.lower(): v for n, v in soap.soap_fields(name)}, body)
    assert reply.body == expected.body
    assert cloud_lab.cloud()["requests"] == {name: 1}
    assert "stand-in" in reply.get("Server")
    assert not violations(cloud_lab)


def test_replies_differ_by_request(cloud, token):
    one = call(cloud, token, body=soap.acquire_license("a@lab.test"))
    two = call(cloud, token, body=soap.acquire_license("b@lab.test"))
    assert one.body != two.body


def test_licence_sizes(cloud_lab):
    sizes = {len(standin_soap.answer("https://x", "/licensing/license.asmx", {
        "content-type": "text/xml", "soapaction": services.BY_NAME["AcquireLicense"].action},
        soap.acquire_license(f"user{n}@lab.test")).body) for n in range(60)}
    assert 4000 < min(sizes) < 12000 and 30000 < max(sizes) <= 41000


def test_soap12(cloud, token):
    body = soap.acquire_license(soap=SOAP12)
    reply = cloud.post(soap.path_of("AcquireLicense"), body,
                       soap.soap_fields("AcquireLicense", SOAP12) + [token])
    assert reply.status == 200 and reply.get("Content-Type").startswith("application/soap+xml")
    assert SOAP12.encode() in reply.body


def test_batch(cloud, token):
    reply = call(cloud, token, body=soap.acquire_license("a@x", "norights@x", "c@x"))
    assert reply.status == 200
    assert reply.body.count(b"<AcquireLicenseResponse>") == 3
    assert reply.body.count(b"<AcquireLicenseException") == 1
    assert b"<batchindex>1</batchindex>" in reply.body


@pytest.mark.parametrize("body, name", [
    (soap.acquire_license("a@x", "b@x", version="1.0.0.0"), "Core.DRMSArgumentException"),
    (soap.acquire_license("norights@x"), "Licensing.NoRightsForRequestedPrincipalException"),
    (soap.acquire_license(version="1.3.0.0"), "Core.UnsupportedDataVersionException"),
    (soap.acquire_license(version="one"), "Core.MalformedDataVersionException"),
    (soap.envelope("AcquireLicense", ""), "System.ArgumentNullException"),
    (soap.acquire_license(size=8 * 1024 * 1024), "Core.DRMSArgumentException"),
])
def test_fault(cloud_lab, cloud, token, body, name):
    reply = call(cloud, token, body=body)
    assert reply.status == 500
    assert name in soap.fault_text(reply).partition(":")[0]
    assert not violations(cloud_lab)


def test_unknown_service_type(cloud, token):
    reply = call(cloud, token, "FindServiceLocationsForUser",
                 soap.find_service_locations("CoffeeService"))
    assert reply.status == 500 and "System.InvalidOperationException" in soap.fault_text(reply)


def test_unknown_template_is_null(cloud, token):
    reply = call(cloud, token, "AcquireTemplates", soap.acquire_templates(xrml.guid("none")))
    assert reply.status == 200 and b'<Template xsi:nil="true" />' in reply.body


def test_8_mib_licence(cloud, token):
    body = soap.acquire_issuance_license(size=8 * 1024 * 1024)
    for options in ({}, {"chunks": 60000}):
        reply = call(cloud, token, "AcquireIssuanceLicense", body, **options)
        assert reply.status == 200
        assert reply.get("X-Standin-Body-SHA256") == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("fields, body", [
    ([("Content-Type", "text/xml"), ("SOAPAction", '"urn:none"')], BODIES["AcquireLicense"]),
    ([("Content-Type", "text/plain")], BODIES["AcquireLicense"]),
    ([("Content-Type", "text/xml")], b"<a>"),
    ([("Content-Type", "text/xml")], b"<!DOCTYPE a []><a/>"),
])
def test_client_errors_are_faults_not_violations(cloud_lab, cloud, token, fields, body):
    reply = cloud.post("/_wmcs/licensing/license.asmx", body, fields + [token])
    assert reply.status == 500 and soap.fault_text(reply)
    assert not violations(cloud_lab)


# ---- what no relay may send ------------------------------------------------

REFUSED_FIELDS = [
    (("Connection", "close"), 400, "Connection"), (("Connection", "Upgrade"), 400, "Connection"),
    (("Keep-Alive", "timeout=5"), 400, "Keep-Alive"), (("TE", "trailers"), 400, "TE"),
    (("Proxy-Authorization", "Basic eA=="), 400, "Proxy-Authorization"),
    (("Proxy-Connection", "keep-alive"), 400, "Proxy-Connection"),
    (("Upgrade", "h2c"), 400, "Upgrade"), (("Trailer", "X"), 400, "Trailer"),
    (("Forwarded", "for=1.2.3.4"), 400, "Forwarded"),
    (("X-Forwarded-For", "1.2.3.4"), 400, "X-Forwarded-For"),
    (("X-Forwarded-Anything", "x"), 400, "X-Forwarded-Anything"),
    (("Expect", "100-continue"), 417, "Expect"), (("Host", "other"), 400, "Host"),
    (("Authorization", "Bearer x"), 400, "authorization"),
]


@pytest.mark.parametrize("field, status, why", REFUSED_FIELDS,
                         ids=lambda v: "-".join(v).replace(" ", "_") if isinstance(v, tuple)
                         else None)
def test_refuses_field(cloud_lab, cloud, token, field, status, why):
    reply = call(cloud, token, extra=[field])
    assert reply.status == status
    assert len(violations(cloud_lab)) == 1 and why in violations(cloud_lab)[0]


def test_keep_alive_is_no_violation(cloud_lab, cloud, token):
    assert call(cloud, token, extra=[("Connection", "keep-alive")]).status == 200
    assert not violations(cloud_lab)


@pytest.mark.parametrize("value, why", [
    (None, "no token"), ("Bearer made-up", "did not issue"), ("Negotiate YII=", "Negotiate"),
    ("NTLM TlRM", "NTLM"), ("Basic eDp5", "Basic"), ("MSOID x", "MSOID")])
def test_refuses_authorization(cloud_lab, cloud, token, value, why):
    reply = call(cloud, ("Authorization", value) if value else None)
    assert reply.status == 401 and reply.get("WWW-Authenticate").startswith("Bearer")
    assert why in violations(cloud_lab)[0]


def test_refuses_expired_token(cloud_lab, cloud):
    cloud_lab.cloud(set={"expires_in": 0})
    _, reply = ask_token(cloud_lab)
    assert call(cloud, ("Authorization", "Bearer " + reply["access_token"])).status == 401
    assert "expired" in violations(cloud_lab)[0]


def test_revoked_token_is_nobodys_fault(cloud_lab, cloud, token):
    cloud_lab.cloud(expire_tokens=True)
    assert call(cloud, token).status == 401
    assert not violations(cloud_lab)


def test_token_of_another_credential(cloud_lab, cloud, token):
    cloud_lab.cloud(set={"role_field": "X-Role", "role_clients": {"exchange": CLIENT_ID,
                                                                  "fci": "another"}})
    assert call(cloud, token, extra=[("X-Role", "exchange")]).status == 200
    assert call(cloud, token, extra=[("X-Role", "fci")]).status == 401
    assert call(cloud, token).status == 401
    assert len(violations(cloud_lab)) == 2
    cloud_lab.cloud(set={"role_field": "", "expect_client": "another"})
    assert call(cloud, token).status == 401


def test_scheme_none_takes_no_token(cloud_lab, cloud, token):
    cloud_lab.cloud(set={"scheme": "none"})
    assert call(cloud, token).status == 401
    assert call(cloud, None).status == 200


@pytest.mark.parametrize("path, status", [
    ("/_wmcs/licensing/other.asmx", 404), ("/_wmcs/../_wmcs/licensing/license.asmx", 404),
    ("/_wmcs//licensing/license.asmx", 404), ("/licensing/license.asmx", 404),
    ("/_wmcs/licensing%2flicense.asmx", 404), ("/_wmcs/GetRmsoUri.aspx", 404),
    ("/_wmcs/licensing/publish.asmx", 400)])
def test_refuses_path(cloud_lab, cloud, token, path, status):
    fields = soap.soap_fields("AcquireLicense") + [token]
    assert cloud.post(path, BODIES["AcquireLicense"], fields).status == status
    assert len(violations(cloud_lab)) == 1


def test_refuses_host_and_method(cloud_lab, cloud, token):
    fields = soap.soap_fields("AcquireLicense") + [token]
    for host in ("localhost:1", HOST, "connector.lab.test"):
        cloud.send(cloud.head("POST", soap.path_of("AcquireLicense"),
                              fields + [("Content-Length", "0")], host=host))
        assert cloud.read().status == 421
    cloud.send(cloud.head("GET", soap.path_of("AcquireLicense"), [token]))
    assert cloud.read().status == 405
    assert len(violations(cloud_lab)) == 4


def _framing():
    head = b"POST /_wmcs/licensing/license.asmx HTTP/1.1\r\nHost: x\r\n"
    length, chunks = b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n"
    return {
        "length and chunked": head + length + chunks + b"\r\nabc",
        "length twice": head + length + length + b"\r\nabc",
        "length list": head + b"Content-Length: 3, 3\r\n\r\nabc",
        "length sign": head + b"Content-Length: +3\r\n\r\nabc",
        "coding twice": head + chunks + chunks + b"\r\n0\r\n\r\n",
        "other coding": head + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "bare LF": b"POST / HTTP/1.1\nHost: x\n\n",
        "bare LF in field": head + b"A: b\nC: d\r\n" + length + b"\r\nabc",
        "bare CR": head + b"A: b\rc\r\n" + length + b"\r\nabc",
        "fold": head + b"A: b\r\n c\r\n" + length + b"\r\nabc",
        "space before colon": head + b"A : b\r\n" + length + b"\r\nabc",
        "NUL": head + b"A: \0\r\n" + length + b"\r\nabc",
        "no framing": head + b"\r\n",
        "HTTP/1.0": b"POST / HTTP/1.0\r\nContent-Length: 0\r\n\r\n",
        "chunk size": head + chunks + b"\r\n0x3\r\nabc\r\n0\r\n\r\n",
        "chunk extension": head + chunks + b"\r\n3;a=b\r\nabc\r\n0\r\n\r\n",
        "chunk too long": head + chunks + b"\r\n3\r\nabcd\r\n0\r\n\r\n",
        "chunk LF": head + chunks + b"\r\n3\nabc\r\n0\r\n\r\n",
        "trailer": head + chunks + b"\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n",
    }


@pytest.mark.parametrize("case", _framing())
def test_refuses_framing(cloud_lab, cloud, case):
    cloud.send(_framing()[case])
    reply = cloud.read()
    assert reply.status in (400, 411)
    assert reply.get("Connection") == "close"
    assert len(violations(cloud_lab)) == 1
    assert cloud_lab.new("CLOUD_LOG")[-1]["violation"] == violations(cloud_lab)[0]


def test_split_and_pipelined(cloud, token):
    fields = soap.soap_fields("GetServerInfo") + [token]
    body = BODIES["GetServerInfo"]
    one = cloud.head("POST", soap.path_of("GetServerInfo"),
                     fields + [("Content-Length", str(len(body)))]) + body
    cloud.connect()
    cloud.send_split(one, 100)
    assert cloud.read().status == 200
    cloud.send(one + one + one)
    assert [cloud.read().status for _ in range(3)] == [200] * 3


# ---- switches --------------------------------------------------------------

def test_status_times(cloud_lab, cloud, token):
    cloud_lab.cloud(rules=[{"status": 401, "times": 2}, {"status": 503, "retry_after": 3,
                                                        "times": 1}])
    assert [call(cloud, token).status for _ in range(4)] == [401, 401, 503, 200]
    assert not violations(cloud_lab)


def test_rule_for_an_operation(cloud_lab, cloud, token):
    cloud_lab.cloud(rules=[{"op": "Certify", "status": 429, "skip": 1}])
    assert call(cloud, token).status == 200
    assert call(cloud, token, "Certify").status == 200
    assert call(cloud, token, "Certify").status == 429
    cloud_lab.cloud(clear=True)
    assert call(cloud, token, "Certify").status == 200


@pytest.mark.parametrize("rule", [
    {"gzip": "force"}, {"chunked": True, "chunk_bytes": 100}, {"close": True},
    {"until_close": True}, {"delay_ms": 50}, {"trickle": {"bytes": 3000, "every_ms": 1}},
    {"chunked": True, "gzip": "force"}], ids=str)
def test_same_content_by_other_means(cloud_lab, cloud, token, rule):
    plain = call(cloud, token)
    cloud_lab.cloud(rules=[rule])
    reply = call(cloud, token)
    assert reply.status == 200 and reply.content() == plain.body
    assert (reply.body == plain.body) == ("gzip" not in rule)
    assert bool(reply.get("Transfer-Encoding")) == ("chunked" in rule)


@pytest.mark.parametrize("rule", [
    {"drop": "before"}, {"drop": "head"}, {"drop": "middle"}, {"drop": "request"},
    {"truncate": 700}], ids=str)
def test_broken_reply(cloud_lab, cloud, token, rule):
    cloud_lab.cloud(rules=[{"times": 1, **rule}])
    with pytest.raises((soap.BadReply, OSError)):
        call(cloud, token)
    cloud.close()
    assert call(cloud, token).status == 200


@pytest.mark.parametrize("size", [3000, 4096, 8192, 65536, 1048576])
def test_reply_bytes(cloud_lab, cloud, token, size):
    cloud_lab.cloud(rules=[{"reply_bytes": size}])
    reply = call(cloud, token)
    assert reply.status == 200 and len(reply.body) == size
    standin_xml.parse(reply.body)


def test_raw_and_continue(cloud_lab, cloud, token):
    cloud_lab.cloud(rules=[{"continue": True, "times": 1},
                           {"raw": "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "times": 1}])
    assert call(cloud, token).interim == [100]
    assert call(cloud, token).body == b"x"


def test_early_reply(cloud_lab, cloud, token):
    cloud_lab.cloud(rules=[{"early": True, "status": 413, "times": 1}])
    cloud.send(cloud.head("POST", soap.path_of("AcquireLicense"),
                          soap.soap_fields("AcquireLicense") + [token, ("Content-Length", "9999")]))
    assert cloud.read().status == 413


def test_stops_listening(cloud_lab, cloud, token):
    assert call(cloud, token).status == 200
    cloud_lab.cloud(listening={"soap": False})
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", cloud_lab.ports["cloud"]), 2)
    with pytest.raises((soap.BadReply, OSError)):
        call(cloud, token)
    cloud.close()
    cloud_lab.cloud(listening={"soap": True})
    assert call(cloud, token).status == 200


def test_drop_connections(cloud_lab, cloud, token):
    assert call(cloud, token).status == 200
    cloud_lab.cloud(drop_connections=True)
    with pytest.raises((soap.BadReply, OSError)):
        call(cloud, token)


def test_unknown_order_is_refused(cloud_lab):
    for order in ({"rule": []}, {"rules": [{"delay": 1}]}, {"set": {"port": 1}}):
        with pytest.raises(urllib.error.HTTPError) as caught:
            cloud_lab.cloud(**order)
        assert "unknown" in json.load(caught.value)["error"]


def test_figures(cloud_lab, cloud, token):
    call(cloud, token)
    call(cloud, token, "Certify")
    figures = cloud_lab.cloud()
    assert figures["requests"] == {"AcquireLicense": 1, "Certify": 1}
    assert figures["by_client"] == {CLIENT_ID: 2} and figures["statuses"] == {"200": 2}
    assert figures["last"]["op"] == "Certify"
    assert ["Host", cloud.authority] in figures["last"]["fields"]
    assert token[1] not in json.dumps(figures), "a token in the figures"
    assert token[1][7:] not in open(cloud_lab.env["CLOUD_LOG"], encoding="utf-8").read()


def test_tls_is_verified(cloud_lab):
    with pytest.raises(ssl.SSLCertVerificationError):
        soap.Client(cloud_lab.env["CLOUD_URL"], address="127.0.0.1").connect()
    wrong = soap.Client(f"https://other.lab.test:{cloud_lab.ports['cloud']}",
                        ca=cloud_lab.env["CONNECTOR_CA"], address="127.0.0.1")
    with pytest.raises(ssl.SSLCertVerificationError):
        wrong.connect()
