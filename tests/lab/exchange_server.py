#!/usr/bin/python3
"""Does what an Exchange server does with its rights-management service.

Takes the lab from the environment (source DIR/env).  One Kerberos-
authenticated HTTPS connection, each operation in the order in which Exchange
makes it, a line for each; then a server that nobody authorized.  Exit status
0 only if every reply is what it must be and the cloud has seen exactly the
bytes that were sent."""

import hashlib
import json
import os
import shlex
import subprocess
import sys
import xml.etree.ElementTree as tree

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
# pylint: disable=wrong-import-position
import services
import soap
import standin_operations
import standin_soap
from procs import wait_until

LOG_WAIT_S = 3  # the access log is flushed every 200 ms


class Wrong(Exception):
    """A reply is not what it must be."""


def need(condition, text):
    if not condition:
        raise Wrong(text)


# ---- what each reply must hold ---------------------------------------------

class Message:
    """A SOAP reply of one operation."""

    def __init__(self, name, reply):
        need(reply.status == 200, f"status {reply.status}: "
             f"{soap.fault_text(reply) or reply.content()[:200]!r}")
        ctype = reply.get("Content-Type") or ""
        need(ctype.lower().startswith("text/xml"), f"Content-Type {ctype!r}")
        try:
            root = tree.fromstring(reply.content())
        except tree.ParseError as error:
            raise Wrong(f"the reply is not XML: {error}") from error
        op = services.BY_NAME[name]
        need(root.tag == f"{{{services.SOAP11}}}Envelope", f"root element {root.tag}")
        self.namespace = f"{{{op.namespace}}}"
        body = root.find(f"{{{services.SOAP11}}}Body")
        need(body is not None and len(body) == 1, "the SOAP body does not hold one element")
        need(body[0].tag == f"{self.namespace}{name}Response", f"element {body[0].tag}")
        version = root.find(f".//{self.namespace}VersionData/{self.namespace}MaximumVersion")
        if op.has_version:
            need(version is not None and services.version(version.text),
                 "no VersionData with a version")
        self.body = body[0]

    def all(self, *path):
        return self.body.findall("/".join(self.namespace + p for p in path))

    def chains(self, *path, least, most):
        """Checks each certificate chain at path; the number of them."""
        found = self.all(*path)
        for chain in found:
            count = len(chain.findall(f"{self.namespace}Certificate/XrML"))
            need(least <= count <= most, f"a chain of {count} certificates")
        return len(found)


def _certify(message):
    need(message.chains("CertifyResult", "CertificateChain", least=3, most=5) == 1, "no chain")
    need(message.all("CertifyResult", "Quota", "Verified")[0].text == "true", "quota not verified")


def _server_info(message):
    results = message.all("GetServerInfoResult")[0].find("Results")
    kinds = [r.get("Type") for r in results]
    need(kinds == list(services.SERVER_INFO_TYPES), f"information about {kinds}")
    need(results[0][0].get("Version"), "no version")
    need(len(results.findall(".//XrML")) == 4, "not four licensor certificates")


def _licensor(message):
    need(message.chains("GetLicensorCertificateResult", "CertificateChain", least=3, most=5) == 1,
         "no chain")


def _locations(message):
    found = message.all("FindServiceLocationsForUserResult", "ServiceLocationResponse")
    need(len(found) == 2, f"{len(found)} locations for 2 services")
    for location in found:
        need(location[0].text.startswith("https://"), f"URL {location[0].text!r}")


def _client_licensor(message):
    need(message.chains("GetClientLicensorCertResult", "GetClientLicensorCertResponse",
                        "CertificateChain", least=3, most=5) == 1, "no chain")


def _template_information(message):
    count = int(message.all("AcquireTemplateInformationResult", "GuidHashCount")[0].text)
    hashes = message.all("AcquireTemplateInformationResult", "GuidHash")
    need(count == len(hashes) > 0, f"{count} templates announced, {len(hashes)} there")


def _templates(message):
    found = message.all("AcquireTemplatesResult", "GuidTemplate")
    need(len(found) == len(standin_operations.TEMPLATES), f"{len(found)} templates")
    for template in found:
        need(template[2].text and tree.fromstring(template[2].text).tag == "XrML",
             f"template {template[0].text} is empty")


def _issuance(message):
    need(message.chains("AcquireIssuanceLicenseResult", "AcquireIssuanceLicenseResponse",
                        "CertificateChain", least=3, most=5) == 1, "no publishing licence")


def _licence(message):
    need(message.chains("AcquireLicenseResult", "AcquireLicenseResponse", "CertificateChain",
                        least=2, most=5) == 1, "no use licence")


def _batch(message):
    items = message.all("AcquireLicenseResult", "AcquireLicenseResponse", "CertificateChain")
    need(len(items) == 3, f"{len(items)} items for 3 requests")
    errors = [item.find(".//AcquireLicenseException") for item in items]
    need([e is not None for e in errors] == [False, True, False], "the wrong item failed")
    need(errors[1].find("batchindex").text == "1", "batchindex is not 1")
    need("NoRightsForRequestedPrincipal" in errors[1].find("ExceptionString").text,
         "another exception than expected")
    need(all(item.find(".//XrML") is not None for item in (items[0], items[2])), "no licence")
    return "3 items, 1 refused by the service"


def _prelicense(message):
    response = message.all("AcquirePreLicenseResult", "AcquirePreLicenseResponse")[0]
    licences = response[0].findall(f"{message.namespace}Certificate/XrML")
    need(len(licences) == 2, f"{len(licences)} licences for 2 identities")


def steps():
    """(label, operation, body, check) in Exchange's order."""
    return (
        ("GetServerInfo", "GetServerInfo", soap.get_server_info(), _server_info),
        ("GetLicensorCertificate", "GetLicensorCertificate", soap.get_licensor_certificate(),
         _licensor),
        ("FindServiceLocationsForUser", "FindServiceLocationsForUser",
         soap.find_service_locations(), _locations),
        ("ServerCertification Certify", "Certify", soap.certify(), _certify),
        ("GetClientLicensorCert", "GetClientLicensorCert", soap.get_client_licensor_cert(),
         _client_licensor),
        ("AcquireTemplateInformation", "AcquireTemplateInformation",
         soap.acquire_template_information(), _template_information),
        ("AcquireTemplates", "AcquireTemplates", soap.acquire_templates(*standin_operations.TEMPLATES),
         _templates),
        ("AcquireIssuanceLicense", "AcquireIssuanceLicense", soap.acquire_issuance_license(),
         _issuance),
        ("AcquireLicense", "AcquireLicense", soap.acquire_license(), _licence),
        ("AcquireLicense (batch of 3)", "AcquireLicense",
         soap.acquire_license("anna@lab.test", "norights@lab.test", "carl@lab.test"), _batch),
        ("AcquirePreLicense", "AcquirePreLicense", soap.acquire_prelicense(), _prelicense),
    )


# ---- logs ------------------------------------------------------------------

def log_line(path, matches):
    """The last line of a JSON log that matches, waited for; None."""
    def look():
        try:
            with open(path, encoding="utf-8") as file:
                lines = [json.loads(line) for line in file if line.endswith("\n")]
        except FileNotFoundError:
            return None
        return next((line for line in reversed(lines) if matches(line)), None)
    return wait_until(look, LOG_WAIT_S, 0.02)


def check_seen_by_cloud(reply, name, body, standin):
    """The cloud must have got the same bytes, and we the same answer."""
    if not standin:
        return
    digest = hashlib.sha256(body).hexdigest()
    echoed = reply.get("X-Standin-Body-SHA256")
    need(echoed in (None, digest), "the cloud has seen another body than was sent")
    line = log_line(os.environ["CLOUD_LOG"], lambda l: l.get("body_sha256") == digest)
    need(line is not None and line["op"] == name, "the cloud has not seen this request")
    need(not line["violation"], f"the cloud objects: {line['violation']}")
    fields = {n.lower(): v for n, v in soap.soap_fields(name)}
    expected = standin_soap.answer(os.environ["CLOUD_URL"], services.BY_NAME[name].paths[0],
                                   fields, body)
    need(reply.content() == expected.body, "the reply differs from what the cloud sent")


# ---- the two visits --------------------------------------------------------

def show(*columns):
    print("{:<28} {:>6} {:>9} {:>10} {:>11} {:>10} {:>9}  {}".format(*columns).rstrip(),
          flush=True)


def visit(url, ca, standin):
    """Every step on one connection; the number of wrong ones."""
    wrong = 0
    show("operation", "status", "sent", "received", "connector", "service", "total", "")
    with soap.Server(url, os.environ["KRB5CCNAME_EXCHANGE"], ca=ca) as server:
        for index, (label, name, body, check) in enumerate(steps()):
            try:
                # .NET's first request on a connection asks before it sends.
                reply = server.call(name, body, expect=index == 0)
            except (OSError, soap.BadReply) as error:
                print(f"{label:<28} WRONG: {error}")
                server.close()
                wrong += 1
                continue
            request_id = reply.get("X-RMS-Request-Id")
            line = log_line(os.environ["ACCESS_LOG"],
                            lambda l, r=request_id: l.get("request_id") == r) or {}
            note = ""
            try:
                need(request_id, "no X-RMS-Request-Id in the reply")
                need(line, "no line in the access log")
                note = check(Message(name, reply)) or ""
                need(line["op"] == name and line["status"] == 200 and line["role"] == "exchange",
                     f"the access log says {line['op']} {line['status']} {line['role']}")
                check_seen_by_cloud(reply, name, body, standin)
            except (Wrong, KeyError, IndexError, AttributeError, tree.ParseError) as error:
                note, wrong = f"WRONG: {error or type(error).__name__}", wrong + 1
            show(label, reply.status, len(body), len(reply.body),
                 _ms(line.get("connector_ms")), _ms(line.get("service_ms")), _ms(line.get("total_ms")), note)
        if not server.mutual:
            print("WRONG: the connector has not proved to the server who it is")
            wrong += 1
    return wrong


def _ms(value):
    return "-" if value is None else f"{value:.2f} ms"


def rmsctl(*arguments):
    argv = shlex.split(os.environ["RMSCTL"]) + list(arguments)
    result = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            timeout=30, check=False)
    return result.stdout


def refused(url, ca):
    """A server that is not on the list; the number of wrong things."""
    account, name = "stranger$@LAB.TEST", "AcquireLicense"
    print(f"\n{account}, which is not on the list, asks for a licence:", flush=True)
    with soap.Server(url, os.environ["KRB5CCNAME_STRANGER"], ca=ca) as server:
        reply = server.call(name, soap.acquire_license("stranger@lab.test"))
    request_id, fault = reply.get("X-RMS-Request-Id"), soap.fault_text(reply)
    print(f"  HTTP {reply.status} {reply.reason}\n  SOAP fault: {fault}", flush=True)
    wrong = []
    if reply.status != 403 or not (fault or "").startswith("RmsConnector."):
        wrong.append("not refused with 403 and a SOAP fault that says why")

    def event():
        try:
            events = json.loads(rmsctl("--json", "events", "-n", "100"))["events"]
        except (ValueError, KeyError):
            return None
        return next((e for e in events if e["id"] == 2001 and e.get("account") == account), None)
    found = wait_until(event, LOG_WAIT_S, 0.05)
    if found is None:
        wrong.append("no event 2001 for this account")
    else:
        print(f"  event 2001: {found['text']} "
              + " ".join(f"{k}={found[k]}" for k in ("account", "address", "mech", "reason",
                                                     "request_id") if k in found))
    explained = rmsctl("explain", account)
    print("  rmsctl explain:\n" + "".join(f"    {l}\n" for l in explained.splitlines()), end="")
    if account not in explained:
        wrong.append("`rmsctl explain` does not tell")
    line = log_line(os.environ["ACCESS_LOG"], lambda l: l.get("request_id") == request_id)
    if line is None or line["status"] != 403 or line.get("upstream"):
        wrong.append("the access log does not show that nothing was relayed")
    for text in wrong:
        print(f"  WRONG: {text}")
    return len(wrong)


def main():
    if len(sys.argv) > 1:
        print(__doc__)
        return 2
    if "CONNECTOR_HTTPS" not in os.environ:
        print("exchange_server: source DIR/env of a lab first", file=sys.stderr)
        return 2
    url, ca = os.environ["CONNECTOR_HTTPS"], os.environ["CONNECTOR_CA"]
    standin = os.environ["CLOUD_URL"].startswith("https://tenant.rms.lab.test:")
    print(f"exch01$@LAB.TEST, an Exchange server, at {url}:")
    wrong = visit(url, ca, standin)
    try:
        wrong += refused(url, ca)
    except (OSError, soap.BadReply) as error:
        print(f"  WRONG: {error}")
        wrong += 1
    print("\nevery step came out as it should" if not wrong
          else f"\n{wrong} step(s) WRONG", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # nobody reads what is printed any more
        os._exit(1)
