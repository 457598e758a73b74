"""The stand-in's SOAP services: a pure function from request to reply.

answer() depends on its arguments only, so a test computes what a client must
receive, byte for byte, by calling it itself.  The stand-in checks what a
server of [MS-RMPR] checks in a message; it does no cryptography.

Failures are asked for in the content, so that they too are the same each
time: a licensee whose certificate or identity contains "norights" may not
read, a publishing licence with "expired" is out of its time.
"""

import functools
import hashlib
import xml.parsers.expat
from typing import NamedTuple

import services
import xrml
from services import BY_ACTION, DRM, SOAP11, SOAP12

XSI = "http://www.w3.org/2001/XMLSchema-instance"
DRMS = "Microsoft.DigitalRightsManagement."
VERSION_MAX = (1, 2, 0, 0)
VERSION_REPLY = ("1.0.0.0", "1.2.0.0")
# Limits of Windows' servers, [MS-RMPR] product notes 41-43.
LICENSEE_BYTES_MAX = 30720
LICENSEES_MAX = 100
APPLICATION_BYTES_MAX = 102400
LICENCE_BYTES_MAX = 8 * 1024 * 1024
TEMPLATES_MAX = 25
TEMPLATES = {xrml.guid(f"template:{n}"): n for n in range(4)}


class Reply(NamedTuple):
    status: int
    content_type: str
    body: bytes
    op: str = ""
    items: int = 0
    failed: int = 0
    violation: str = ""  # why no relay should have sent this; "" if it may


class Fault(Exception):
    """Ends the request with a SOAP fault of this name."""

    def __init__(self, name, text, code="Server"):
        super().__init__(f"{name}: {text}" if name else text)
        self.code = code


class Refusal(Exception):
    """Ends the request with 400 and counts as a violation."""


class Node:
    """An element: `name` is "{namespace}local"; start and end are its place
    in the request."""
    __slots__ = ("name", "attributes", "text", "children", "start", "end")

    def __init__(self, name, attributes, start):
        self.name, self.attributes, self.start = name, attributes, start
        self.text, self.children, self.end = "", [], start

    def find(self, local):
        return next((c for c in self.children if c.name.endswith("}" + local)), None)

    def all(self, local):
        return [c for c in self.children if c.name.endswith("}" + local)]

    def is_nil(self):
        return self.attributes.get(XSI + "}nil") in ("true", "1")


def parse(body):
    """The tree of an XML text; Fault when it is not well-formed.  What stands
    inside XrML is checked but not kept."""
    parser = xml.parsers.expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    root, stack, opaque = [], [], 0

    def start(name, attributes):
        nonlocal opaque
        if opaque:
            opaque += 1
            return
        if "}" in name:
            name = "{" + name
        else:
            name = "{}" + name
        node = Node(name, attributes, parser.CurrentByteIndex)
        (stack[-1].children if stack else root).append(node)
        stack.append(node)
        if name == "{}XrML":
            opaque = 1

    def end(_name):
        nonlocal opaque
        if opaque > 1:
            opaque -= 1
            return
        opaque = 0
        stack.pop().end = parser.CurrentByteIndex

    def text(data):
        if stack and not opaque:
            stack[-1].text += data

    def doctype(*_):
        raise Fault("", "DTD is prohibited in this XML document.", "Client")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = text, doctype
    try:
        parser.Parse(body, True)
    except xml.parsers.expat.ExpatError as error:
        raise Fault("", f"Server was unable to read request. ---> {error}", "Client") from error
    return root[0]


# ---- envelope --------------------------------------------------------------

def _envelope(soap, header, body):
    return ('<?xml version="1.0" encoding="utf-8"?>'
            f'<soap:Envelope xmlns:soap="{soap}" xmlns:xsi="{XSI}"'
            ' xmlns:xsd="http://www.w3.org/2001/XMLSchema">'
            f'{header}<soap:Body>{body}</soap:Body></soap:Envelope>').encode()


def _escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def content_type_of(soap):
    return ("application/soap+xml" if soap == SOAP12 else "text/xml") + "; charset=utf-8"


def fault_body(soap, text, code="Server"):
    text = _escape(text)
    if soap == SOAP12:
        code = {"Server": "Receiver", "Client": "Sender"}[code]
        return _envelope(soap, "", f"<soap:Fault><soap:Code><soap:Value>soap:{code}</soap:Value>"
                         f'</soap:Code><soap:Reason><soap:Text xml:lang="en">{text}</soap:Text>'
                         "</soap:Reason></soap:Fault>")
    return _envelope(soap, "", f"<soap:Fault><faultcode>soap:{code}</faultcode>"
                     f"<faultstring>{text}</faultstring><detail /></soap:Fault>")


def _action_of(fields):
    """(SOAP namespace, action or None) from the request's fields."""
    ctype = fields.get("content-type", "")
    media, _, rest = ctype.partition(";")
    media = media.strip().lower()
    if media == "application/soap+xml":
        for part in rest.split(";"):
            name, _, value = part.strip().partition("=")
            if name.lower() == "action":
                return SOAP12, value.strip('"')
        return SOAP12, None
    if media != "text/xml":
        raise Fault("", f"Content type {ctype!r} is not that of a SOAP message.", "Client")
    action = fields.get("soapaction")
    return SOAP11, None if action is None else action.strip().strip('"')


def _operation_of(path, action, request):
    """The operation asked for; Fault or Refusal when there is none here."""
    namespace, _, local = request.name[1:].rpartition("}")
    namespace = namespace.replace(DRM + "ServiceLocatorService", DRM + "ServerService")
    named = BY_ACTION.get(f"{namespace}/{local}")
    if action is not None:
        action = action.replace("/ServiceLocatorService/", "/ServerService/")
        op = BY_ACTION.get(action)
        if op is None:
            raise Fault("", "Server did not recognize the value of HTTP Header "
                        f"SOAPAction: {action}.", "Client")
        if path not in {p.lower() for p in op.paths}:
            raise Refusal(f"SOAPAction {op.name} at {path}, which does not serve it")
        if named is not op:
            raise Fault("", f"SOAPAction {op.name} with a body of {local}.", "Client")
    if named is None or path not in {p.lower() for p in named.paths}:
        raise Fault("", f"Server did not recognize the request {local}.", "Client")
    return named


def _maximum_version(op, header):
    """The client's MaximumVersion; Fault as section 3.1.4.6 says."""
    if not op.has_version:
        return (1, 0, 0, 0)
    data = header.find("VersionData") if header is not None else None
    if data is None:
        raise Fault("System.ArgumentNullException", "VersionData")
    values = []
    for name in ("MinimumVersion", "MaximumVersion"):
        node = data.find(name)
        value = services.version(node.text if node is not None else None)
        if value is None:
            raise Fault(DRMS + "Core.MalformedDataVersionException", name)
        values.append(value)
    if values[1] > VERSION_MAX or values[0] > values[1]:
        raise Fault(DRMS + "Core.UnsupportedDataVersionException",
                    ".".join(map(str, values[1])))
    return values[1]


def answer(base_url, path, fields, body):
    """Reply for a POST of `body` to `path` (below the prefix, any case) with
    `fields` (names in lower case).  base_url ends before the prefix."""
    soap, name = SOAP11, ""
    try:
        soap, action = _action_of(fields)
        root = parse(body)
        if root.name != "{" + soap + "}Envelope":
            raise Fault("", f"Root element {root.name} is not a SOAP envelope.", "Client")
        content = root.find("Body")
        if content is None or len(content.children) != 1:
            raise Fault("", "The SOAP body must hold one request.", "Client")
        request = content.children[0]
        op = _operation_of(path.lower(), action, request)
        name = op.name
        maximum = _maximum_version(op, root.find("Header"))
        call = Call(base_url, body, request, maximum)
        inner = HANDLERS[name](call)
    except Fault as fault:
        return Reply(500, content_type_of(soap), fault_body(soap, str(fault), fault.code), name)
    except Refusal as refusal:
        text = f"Refused by the stand-in: {refusal}"
        return Reply(400, content_type_of(soap), fault_body(soap, text, "Client"), name,
                     violation=str(refusal))
    namespace = request.name[1:].rpartition("}")[0]
    header = ""
    if op.has_version:
        low, high = VERSION_REPLY
        header = (f'<soap:Header><VersionData xmlns="{namespace}"><MinimumVersion>{low}'
                  f'</MinimumVersion><MaximumVersion>{high}</MaximumVersion></VersionData>'
                  '</soap:Header>')
    out = f'<{name}Response xmlns="{namespace}">{inner}</{name}Response>'
    return Reply(200, content_type_of(soap), _envelope(soap, header, out), name,
                 call.items, call.failed)


# ---- operations ------------------------------------------------------------

class Call:
    """One request being answered."""

    def __init__(self, base_url, body, request, maximum):
        self.base_url, self.body, self.request = base_url, body, request
        self.maximum = maximum
        self.digest = hashlib.sha256(body).hexdigest()
        self.items, self.failed = 1, 0

    def raw(self, node):
        return self.body[node.start:node.end]

    def params(self, local, single=False):
        """The elements of RequestParams; at least one, one only for clients
        of version 1.0 ([MS-RMPR] 3.4.4.1)."""
        outer = self.request.find("RequestParams") or self.request.find("requestParams")
        items = outer.all(local) if outer is not None else []
        if not items:
            raise Fault("System.ArgumentNullException", local)
        if len(items) > 1 and (single or self.maximum < (1, 1, 0, 0)):
            raise Fault(DRMS + "Core.DRMSArgumentException",
                        f"{len(items)} requests where one is allowed")
        self.items = len(items)
        return items

    def seed(self, index=0):
        """Ties a reply to its request."""
        return f"{self.digest}:{index}"


def _certificates(node):
    """The certificates of an ArrayOfXmlNode that is not null, else None."""
    if node is None or node.is_nil():
        return None
    return [c for c in node.all("Certificate") if not c.is_nil()] or None


def _certify(call):
    params = call.request.find("requestParams")
    chain = _certificates(params.find("MachineCertificateChain")) if params else None
    if chain is None:
        raise Fault("System.ArgumentNullException", "MachineCertificateChain")
    if b"untrusted" in call.raw(params):
        raise Fault(DRMS + "Core.VerifyMachineCertificateChainFailedException",
                    "the chain does not end in a trusted root")
    rac = xrml.certificate("RAC", call.seed())
    certs = xrml.wrap((rac,) + xrml.chain("SLC", "CA", "ROOT"))
    return (f"<CertifyResult><CertificateChain>{certs}</CertificateChain>"
            "<Quota><Verified>true</Verified><CurrentConsumption>5</CurrentConsumption>"
            "<Maximum>10</Maximum></Quota></CertifyResult>")


def _precertify(call):
    params = call.params("PrecertifyParams", single=True)
    if params[0].find("Identification") is None:
        raise Fault("System.ArgumentNullException", "Identification")
    rac = xrml.wrap((xrml.certificate("RAC", call.seed()),))
    return f"<PrecertifyResult><PrecertifyResponse>{rac}</PrecertifyResponse></PrecertifyResult>"


def _check_sizes(item):
    licensees = _certificates(item.find("LicenseeCerts")) or []
    if len(licensees) > LICENSEES_MAX or any(
            c.end - c.start > LICENSEE_BYTES_MAX for c in licensees):
        raise Fault(DRMS + "Core.DRMSArgumentException", "LicenseeCerts too large")
    data, label = item.find("ApplicationData"), item.find("IssuanceLicense")
    if data is not None and data.end - data.start > APPLICATION_BYTES_MAX:
        raise Fault(DRMS + "Core.DRMSArgumentException", "ApplicationData too large")
    if label is not None and label.end - label.start > LICENCE_BYTES_MAX:
        raise Fault(DRMS + "Core.DRMSArgumentException", "IssuanceLicense too large")


def _check_label(label):
    if b"expired" in label:
        raise Fault(DRMS + "Licensing.IssuanceLicenseIsNotWithinValidTimeRangeException",
                    "the publishing licence has expired")


def _no_rights():
    return Fault(DRMS + "Licensing.NoRightsForRequestedPrincipalException",
                 "the principal has no rights in this publishing licence")


def _exception(kind, fault, index):
    return (f"<Certificate><{kind} xmlns=\"\"><ExceptionString>{_escape(str(fault))}"
            f"</ExceptionString><batchindex>{index}</batchindex></{kind}></Certificate>")


def _licence(call, index):
    """A use licence; with its chain 4 to 40 kB, the request decides."""
    weight = int(call.digest[:4], 16) / 0xffff
    return xrml.certificate("UL", call.seed(index), 4000 + int(weight * weight * 28000))


def _acquire_license(call):
    out, label = [], None
    for index, item in enumerate(call.params("AcquireLicenseParams")):
        _check_sizes(item)
        certs = item.find("IssuanceLicense")
        if _certificates(certs) is not None:
            label = call.raw(certs)
        if label is None:
            raise Fault("System.ArgumentNullException", "IssuanceLicense")
        licensees = item.find("LicenseeCerts")
        if _certificates(licensees) is None:
            raise Fault("System.ArgumentNullException", "LicenseeCerts")
        try:
            _check_label(label)
            if b"norights" in call.raw(licensees):
                raise _no_rights()
            content = xrml.wrap((_licence(call, index),) + xrml.chain("SLC"))
        except Fault as fault:
            if call.maximum < (1, 1, 0, 0):
                raise
            call.failed += 1
            content = _exception("AcquireLicenseException", fault, index)
        out.append(f"<AcquireLicenseResponse><CertificateChain>{content}</CertificateChain>"
                   "<ReferenceCertificates /></AcquireLicenseResponse>")
    return f"<AcquireLicenseResult>{''.join(out)}</AcquireLicenseResult>"


def _acquire_prelicense(call):
    item = call.params("AcquirePreLicenseParams", single=True)[0]
    _check_sizes(item)
    identities = item.find("LicenseeIdentities")
    names = [n.text for n in identities.all("string")] if identities is not None else []
    certs = item.find("IssuanceLicense")
    if not names or _certificates(certs) is None:
        raise Fault("System.ArgumentNullException",
                    "LicenseeIdentities" if not names else "IssuanceLicense")
    _check_label(call.raw(certs))
    call.items, out = len(names), []
    for index, name in enumerate(names):
        if "norights" in name:
            call.failed += 1
            out.append(_exception("AcquirePreLicenseException", _no_rights(), index))
        else:
            out.append(xrml.wrap((xrml.certificate("UL", call.seed(index), 3400),)))
    return ("<AcquirePreLicenseResult><AcquirePreLicenseResponse>"
            f"<Licenses>{''.join(out)}</Licenses>"
            f"<CertificateChain>{xrml.wrap(xrml.chain('SLC', 'CA', 'ROOT'))}</CertificateChain>"
            "<ReferenceCertificates /></AcquirePreLicenseResponse></AcquirePreLicenseResult>")


def _acquire_issuance(call):
    out = []
    for index, item in enumerate(call.params("AcquireIssuanceLicenseParams")):
        unsigned = item.find("UnsignedIssuanceLicense")
        if unsigned is None or not unsigned.children:
            raise Fault("System.ArgumentNullException", "UnsignedIssuanceLicense")
        if unsigned.end - unsigned.start > LICENCE_BYTES_MAX + 1024:
            raise Fault(DRMS + "Core.DRMSArgumentException", "UnsignedIssuanceLicense too large")
        label = xrml.certificate("PL", call.seed(index))
        out.append("<AcquireIssuanceLicenseResponse><CertificateChain>"
                   f"{xrml.wrap((label,) + xrml.chain('SLC', 'CA', 'ROOT'))}"
                   "</CertificateChain></AcquireIssuanceLicenseResponse>")
    return f"<AcquireIssuanceLicenseResult>{''.join(out)}</AcquireIssuanceLicenseResult>"


def _client_licensor(call):
    out = []
    for index, item in enumerate(call.params("GetClientLicensorCertParams")):
        if _certificates(item.find("PersonaCerts")) is None:
            raise Fault("System.ArgumentNullException", "PersonaCerts")
        clc = xrml.certificate("CLC", call.seed(index))
        out.append("<GetClientLicensorCertResponse><CertificateChain>"
                   f"{xrml.wrap((clc,) + xrml.chain('SLC', 'CA', 'ROOT'))}"
                   "</CertificateChain></GetClientLicensorCertResponse>")
    return f"<GetClientLicensorCertResult>{''.join(out)}</GetClientLicensorCertResult>"


def _edit_issuance(call):
    item = call.params("EditIssuanceLicenseParams", single=True)[0]
    for local in ("SignedIssuanceLicense", "UnsignedIssuanceLicense"):
        if item.find(local) is None:
            raise Fault("System.ArgumentNullException", local)
    label = xrml.wrap((xrml.certificate("PL", call.seed()),))
    return ("<EditIssuanceLicenseResult><EditIssuanceLicenseResponse><CertificateChain>"
            f"{label}</CertificateChain></EditIssuanceLicenseResponse></EditIssuanceLicenseResult>")


def _licensor_certificate(_call):
    certs = xrml.wrap(xrml.chain("SLC", "CA", "CA", "ROOT"))
    return (f"<GetLicensorCertificateResult><CertificateChain>{certs}</CertificateChain>"
            "</GetLicensorCertificateResult>")


def _url_of(call, service):
    part = "licensing" if service.startswith(("Licensing", "Publishing")) else "certification"
    return f"{call.base_url}/_wmcs/{part}"


def _locations(call, local):
    outer = call.request.find("ServiceNames")
    wanted = [n.find("Type") for n in outer.all("ServiceLocationRequest")] if outer else []
    out = []
    for node in wanted:
        service = (node.text if node is not None else "").strip()
        if service not in services.SERVICE_TYPES:
            raise Fault("System.InvalidOperationException", f"unknown service {service!r}")
        out.append(f"<ServiceLocationResponse><URL>{_url_of(call, service)}</URL>"
                   f"<Type>{service}</Type></ServiceLocationResponse>")
    call.items = len(out)
    return f"<{local}Result>{''.join(out)}</{local}Result>"


def _server_info(call):
    outer = call.request.find("requests")
    kinds = [n.find("Type") for n in outer.all("ServerInfoRequest")] if outer else []
    content = {
        "VersionInfo": '<VersionInfo Version="6.0.0.0" />',
        "ServerFeatureInfo":
            '<ServerFeatureInfo><Feature Name="GroupExpansionWebService" Value="true" />'
            '<Feature Name="ActiveDirectoryServicesRemoting" Value="false" />'
            '<Feature Name="FederatedServicesEnabled" Value="0" /></ServerFeatureInfo>',
        "ServerLicensorCertificate": "<ServerLicensorCertificateChain>"
            f"{''.join(xrml.chain('SLC', 'CA', 'CA', 'ROOT'))}</ServerLicensorCertificateChain>",
        "ServiceLocations": "<ServiceLocations>" + "".join(
            f'<ServiceLocation Type="{t}" Url="{_url_of(call, t)}" />'
            for t in services.SERVICE_TYPES[:4]) + "</ServiceLocations>",
    }
    out = []
    for node in kinds:
        kind = (node.text if node is not None else "").strip()
        if kind not in content:
            raise Fault("System.InvalidOperationException", f"unknown information {kind!r}")
        out.append(f'<ServerInfoRequest Type="{kind}" AdditionalInfo="">{content[kind]}'
                   "</ServerInfoRequest>")
    call.items = len(out)
    return f'<GetServerInfoResult><Results xmlns="">{"".join(out)}</Results></GetServerInfoResult>'


def _template(number):
    return xrml.certificate("TEMPLATE", f"template:{number}")


def _template_hash(number):
    return xrml.base64_text(f"hash:{number}", 40)


def _template_information(_call):
    hashes = "".join(f"<GuidHash><Guid>{guid}</Guid><Hash>{_template_hash(n)}</Hash></GuidHash>"
                     for guid, n in TEMPLATES.items())
    return ("<AcquireTemplateInformationResult>"
            f"<ServerPublicKey>{xrml.base64_text('server key', 360)}</ServerPublicKey>"
            f"<GuidHashCount>{len(TEMPLATES)}</GuidHashCount>{hashes}"
            "</AcquireTemplateInformationResult>")


def _templates(call):
    outer = call.request.find("guids")
    guids = [n.text.strip() for n in outer.all("string")] if outer else []
    if len(guids) > TEMPLATES_MAX:
        raise Fault(DRMS + "Core.DRMSArgumentException", f"{len(guids)} templates asked for")
    call.items, out = len(guids), []
    for guid in guids:
        number = TEMPLATES.get(guid.lower())
        if number is None:
            call.failed += 1
            out.append(f'<GuidTemplate><Guid>{_escape(guid)}</Guid><Hash xsi:nil="true" />'
                       '<Template xsi:nil="true" /></GuidTemplate>')
        else:
            out.append(f"<GuidTemplate><Guid>{guid}</Guid><Hash>{_template_hash(number)}</Hash>"
                       f"<Template>{_escape(_template(number))}</Template></GuidTemplate>")
    return f"<AcquireTemplatesResult>{''.join(out)}</AcquireTemplatesResult>"


HANDLERS = {
    "Certify": _certify,
    "Precertify": _precertify,
    "GetServerInfo": _server_info,
    "GetLicensorCertificate": _licensor_certificate,
    "FindServiceLocations": lambda call: _locations(call, "FindServiceLocations"),
    "FindServiceLocationsForUser": lambda call: _locations(call, "FindServiceLocationsForUser"),
    "AcquireLicense": _acquire_license,
    "AcquirePreLicense": _acquire_prelicense,
    "AcquireIssuanceLicense": _acquire_issuance,
    "GetClientLicensorCert": _client_licensor,
    "AcquireTemplateInformation": _template_information,
    "AcquireTemplates": _templates,
    "EditIssuanceLicense": _edit_issuance,
}


def sized(reply, size):
    """`reply` at exactly `size` bytes (the least possible is about 3 kB): the
    same message with a comment behind it, or one short licence instead."""
    body = reply.body
    if size < len(body) + 7:
        base = len(_short(reply.op, 0))
        body = _short(reply.op, max(0, size - base))
    if size >= len(body) + 7:
        filler = xrml.base64_text("filler", size - len(body) - 7).replace("-", "+")
        body = body.replace(b"</soap:Body>", b"<!--" + filler.encode() + b"--></soap:Body>", 1)
    return reply._replace(body=body)


@functools.lru_cache(maxsize=64)
def _short(name, more):
    op = services.BY_NAME[name]
    least = len(xrml.certificate("UL", "short", 0))
    licence = xrml.wrap((xrml.certificate("UL", "short", least + more),))
    inner = (f'<{name}Response xmlns="{op.namespace}"><{name}Result><{name}Response>'
             f"<CertificateChain>{licence}</CertificateChain></{name}Response></{name}Result>"
             f"</{name}Response>")
    return _envelope(SOAP11, "", inner)
