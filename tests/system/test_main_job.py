"""The main job: a server's rights-management requests reach the cloud and its
replies come back unchanged; who is not on the list is refused with a reason."""

import hashlib
import os
import shlex
import signal
import subprocess
import sys

import pytest

import exchange_server
import labctl
import services
import soap
import standin_soap
from conftest import using
from procs import wait_until
from services import SOAP12

RUN = os.path.join(labctl.HERE, "run")
STEPS = exchange_server.steps()


def running(directory):
    return [p for p in os.listdir("/proc") if p.isdigit() and _names(p, directory)]


def _names(pid, directory):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return str(directory).encode() in file.read() and int(pid) != os.getpid()
    except OSError:
        return False


def expected(lab, name, body, soap_version=services.SOAP11):
    fields = {n.lower(): v for n, v in soap.soap_fields(name, soap_version)}
    return standin_soap.answer(lab.env["CLOUD_URL"], services.BY_NAME[name].paths[0], fields, body)


@pytest.fixture(scope="module")
def _lab(module_lab):
    return module_lab(direct=False)


@pytest.fixture
def lab(_lab):
    """As the connector is by default: each request proves who sends it."""
    yield from using(_lab)


# ---- `make run` ------------------------------------------------------------

def test_run_once(tmp_path):
    where = tmp_path / "lab"
    result = subprocess.run([RUN, "--once", "--dir", str(where)], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stdout
    for label, _, _, _ in STEPS:
        line = next(l for l in result.stdout.splitlines() if l.startswith(label + " "))
        assert line[len(label):].split()[0] == "200", line
    assert "HTTP 403" in result.stdout and "RmsConnector.AUTH_DENIED" in result.stdout
    assert "event 2001" in result.stdout
    assert not running(where)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_stays_until_it_is_told_to_stop(tmp_path, number):
    where, log = tmp_path / "lab", tmp_path / "out"
    with open(log, "wb") as out, subprocess.Popen(
            [sys.executable, RUN, "--dir", str(where)], stdout=out, stderr=out,
            start_new_session=True) as process:
        assert wait_until(lambda: b"Ctrl-C stops" in log.read_bytes() or
                          process.poll() is not None, 60), log.read_text()
        assert process.poll() is None, log.read_text()
        os.killpg(process.pid, number)  # as a terminal does
        status = process.wait(60)
    assert status == (0 if number == signal.SIGINT else 128 + number), log.read_text()
    assert not running(where)


def test_a_wrong_step_is_said_and_fails_the_job(lab):
    lab.cloud(rules=[{"op": "Certify", "fault": "System.UnauthorizedAccessException: no"}])
    result = subprocess.run([os.path.join(labctl.HERE, "exchange_server.py")],
                            env=dict(os.environ, **lab.env), stdout=subprocess.PIPE, text=True,
                            timeout=60, check=False)
    assert result.returncode == 1
    wrong = [l for l in result.stdout.splitlines() if "WRONG" in l]
    assert len(wrong) == 2 and "System.UnauthorizedAccessException" in wrong[0], result.stdout


def test_lab_says_why_the_connector_does_not_start(tmp_path):
    where = tmp_path / "lab"
    result = subprocess.run([os.path.join(labctl.HERE, "lab"), "up", str(where), "--conf",
                             "no_such_directive = 1"], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    if result.returncode == 0:
        labctl.Lab.load(where).down()
    assert result.returncode == 1 and "no_such_directive" in result.stdout, result.stdout
    assert not running(where)


# ---- relayed ---------------------------------------------------------------

@pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])
@pytest.mark.parametrize("step", STEPS, ids=lambda s: s[0])
def test_operation(lab, step, tls):
    _, name, body, check = step
    with lab.server(tls=tls) as server:
        reply = server.call(name, body)
    check(exchange_server.Message(name, reply))
    answer = expected(lab, name, body)
    assert reply.body == answer.body
    assert lab.cloud()["last"]["body_sha256"] == hashlib.sha256(body).hexdigest()
    line = lab.access(reply)
    assert (line["op"], line["status"], line["end"]) == (name, 200, "OK")
    assert (line["account"], line["role"], line["tls"]) == ("exch01$@LAB.TEST", "exchange", tls)
    assert (line["bytes_in"], line["bytes_out"]) == (len(body), len(reply.body))
    assert line["total_ms"] >= line["service_ms"] > 0
    assert abs(line["total_ms"] - line["service_ms"] - line["connector_ms"]) < 0.1


@pytest.mark.parametrize("account, role", [("EXCHANGE", "exchange"), ("SHAREPOINT", "sharepoint"),
                                           ("FCI", "fci")])
def test_each_role_is_let_in(lab, account, role):
    with lab.server(account) as server:
        reply = server.call("AcquireLicense", soap.acquire_license())
    assert reply.status == 200 and lab.access(reply)["role"] == role


def test_body_arrives_byte_for_byte(lab):
    """White space, comments and character references are not ours to tidy."""
    body = soap.acquire_license().replace(b"<RequestParams>",
                                          b"<RequestParams><!-- \xc3\xa9&#233;  \t\r\n -->")
    with lab.server() as server:
        for options in ({}, {"chunks": 7}, {"chunks": 100000}, {"expect": True}):
            reply = server.call("AcquireLicense", body, **options)
            assert reply.status == 200
            assert reply.get("X-Standin-Body-SHA256") == hashlib.sha256(body).hexdigest()
            assert reply.body == expected(lab, "AcquireLicense", body).body


def test_soap12(lab):
    body = soap.acquire_license(soap=SOAP12)
    with lab.server() as server:
        reply = server.call("AcquireLicense", body, soap=SOAP12)
    assert reply.status == 200 and reply.get("Content-Type").startswith("application/soap+xml")
    assert reply.body == expected(lab, "AcquireLicense", body, SOAP12).body
    assert lab.access(reply)["op"] == "AcquireLicense"


def test_8_mib_publishing_licence(lab):
    body = soap.acquire_issuance_license(size=8 * 1024 * 1024)
    with lab.server() as server:
        assert server.call("GetServerInfo", soap.get_server_info()).status == 200
        # As .NET sends it, which asks first, or with a ticket at once: more than
        # drain_bytes_max of what comes without one is not read.
        for options in ({"expect": True}, {"expect": True, "chunks": 50000}, {"eager": True},
                        {"eager": True, "chunks": 50000}):
            reply = server.call("AcquireIssuanceLicense", body, **options)
            assert reply.status == 200, soap.fault_text(reply)
            assert reply.body == expected(lab, "AcquireIssuanceLicense", body).body


def test_faults_of_the_cloud_pass_verbatim(lab):
    body = soap.acquire_license("norights@lab.test")
    with lab.server() as server:
        reply = server.call("AcquireLicense", body)
        assert reply.status == 500 and reply.body == expected(lab, "AcquireLicense", body).body
        assert "NoRightsForRequestedPrincipalException" in soap.fault_text(reply)
        assert lab.access(reply)["status"] == 500
        # It says nothing about the next one.
        assert server.call("AcquireLicense", soap.acquire_license()).status == 200


# ---- refused ---------------------------------------------------------------

def test_stranger_is_refused_with_the_reason(lab):
    with lab.server("STRANGER") as server:
        reply = server.call("AcquireLicense", soap.acquire_license())
        again = server.call("Certify", soap.certify())
    for one in (reply, again):
        assert one.status == 403
        assert soap.fault_text(one).startswith("RmsConnector.AUTH_DENIED: ")
        assert one.get("X-RMS-Request-Id") in soap.fault_text(one)
    line = lab.access(reply)
    assert (line["status"], line["end"]) == (403, "AUTH_DENIED")
    assert line["account"] == "stranger$@LAB.TEST" and not line.get("upstream")
    assert lab.cloud()["total"] == 0
    explained = lab.rmsctl_json("explain", "stranger$@LAB.TEST")
    assert explained["verdict"] == "no_match" and explained["advice"]
    assert explained["seen"]["refused"] >= 1


def test_refused_account_is_an_event(private_lab):
    lab = private_lab(workers=1)
    with lab.server("STRANGER") as server:
        reply = server.call("AcquireLicense", soap.acquire_license())
    event = lab.event(2001, account="stranger$@LAB.TEST")
    assert event["level"] == "warning" and event["address"].startswith("127.0.0.1")
    assert event["request_id"] == reply.get("X-RMS-Request-Id")
    with lab.server() as server:
        assert server.call("AcquireLicense", soap.acquire_license()).status == 200
    assert lab.event(1002, account="exch01$@LAB.TEST")["role"] == "exchange"


def test_without_credentials(lab):
    with lab.client() as client:
        reply = client.post(soap.path_of("AcquireLicense"), soap.acquire_license(),
                            soap.soap_fields("AcquireLicense"))
        assert reply.status == 401 and reply.all("WWW-Authenticate") == ["Negotiate"]
        # The body was drained: the connection goes on.
        assert client.get("/healthz").status == 200
    assert lab.cloud()["total"] == 0


def test_removed_server_is_refused_on_its_open_connection(lab):
    account = "fci01$@LAB.TEST"
    with lab.server("FCI") as server:
        assert server.call("AcquireLicense", soap.acquire_license()).status == 200
        lab.rmsctl("servers", "remove", account)
        try:
            assert server.call("AcquireLicense", soap.acquire_license()).status == 403
        finally:
            lab.rmsctl("servers", "add", "--role", "fci", "--name", "fci01", account)
        assert server.call("AcquireLicense", soap.acquire_license()).status == 200


# ---- what `source env` gives -----------------------------------------------

def shell(lab, command):
    return subprocess.run(["bash", "-c", f". {shlex.quote(lab.path('env'))}; {command}"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=60, check=False)


@pytest.mark.parametrize("command, text", [
    ("curl -s --negotiate -u : $CONNECTOR_HTTPS/_wmcs/certification/servercertification.asmx",
     "ServerCertificationWebService"),
    ("curl -s --negotiate -u : $CONNECTOR_HTTP/_wmcs/GetRmsoUri.aspx",
     "https://tenant.rms.lab.test"),
    ("! KRB5CCNAME=$KRB5CCNAME_STRANGER $RMSCTL probe $CONNECTOR_HTTPS --cacert $CONNECTOR_CA",
     "403"),
    ("curl -s -o /dev/null -w '%{http_code}' $CONNECTOR_HTTP/healthz", "200"),
    ("$RMSCTL status", "ready"),
    ("$RMSCTL servers list", "exch01$@LAB.TEST"),
    ("$RMSCTL explain 'stranger$@LAB.TEST'", "stranger$@LAB.TEST"),
    ("$RMSCTL probe $CONNECTOR_HTTPS --cacert $CONNECTOR_CA", "GetServerInfo"),
], ids=lambda v: v.split()[0] + "-" + v.split()[-1][-12:])
def test_what_the_lab_offers_to_try(lab, command, text):
    result = shell(lab, command)
    assert result.returncode == 0 and text in result.stdout, result.stdout


def test_lab_with_another_cloud(private_lab, cloud_lab):
    """`--cloud`: requests go to the server named, tokens come from the lab."""
    cloud_lab.cloud(set={"scheme": "none"})
    lab = private_lab(cloud=cloud_lab.env["CLOUD_URL"], cloud_ip="127.0.0.1",
                      cloud_ca=cloud_lab.env["CONNECTOR_CA"])
    lab.rmsctl("set", "cloud_auth_scheme", "none")
    body = soap.acquire_license()
    with lab.server() as server:
        reply = server.call("AcquireLicense", body)
    assert reply.status == 200 and reply.body == expected(cloud_lab, "AcquireLicense", body).body
    assert lab.cloud()["total"] == 0 and lab.cloud()["tokens"]["issued"] >= 1
