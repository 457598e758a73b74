"""The operations of the stand-in's SOAP services: from the request's element
to the content of the reply's.

Failures are asked for in the content, so that they too are the same each
time: a licensee whose certificate or identity contains "norights" may not
read, a publishing licence with "expired" is out of its time, a machine's
certificate with "untrusted" is not believed.
"""

import hashlib

import services
import xrml
from standin_xml import Fault, escape

DRMS = "Microsoft.DigitalRightsManagement."
# Limits of Windows' servers, [MS-RMPR] product notes 41-43.
LICENSEE_BYTES_MAX = 30720
LICENSEES_MAX = 100
APPLICATION_BYTES_MAX = 102400
LICENCE_BYTES_MAX = 8 * 1024 * 1024
TEMPLATES_MAX = 25
TEMPLATES = {xrml.guid(f"template:{n}"): n for n in range(4)}


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
    return (f"<Certificate><{kind} xmlns=\"\"><ExceptionString>{escape(str(fault))}"
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
            out.append(f'<GuidTemplate><Guid>{escape(guid)}</Guid><Hash xsi:nil="true" />'
                       '<Template xsi:nil="true" /></GuidTemplate>')
        else:
            out.append(f"<GuidTemplate><Guid>{guid}</Guid><Hash>{_template_hash(number)}</Hash>"
                       f"<Template>{escape(_template(number))}</Template></GuidTemplate>")
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
