"""The SOAP services of a rights-management server, one line per operation.

Shared by the stand-in cloud (what it serves) and by the request builders
(what they ask for).  Facts: [MS-RMPR] 3.1.4.2 and its WSDL appendix.
"""

import re
from typing import NamedTuple

DRM = "http://microsoft.com/DRM/"
SOAP11 = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP12 = "http://www.w3.org/2003/05/soap-envelope"

SERVICE_TYPES = (
    "EnrollmentService", "LicensingService", "PublishingService",
    "CertificationService", "ActivationService", "PrecertificationService",
    "ServerService", "DrmRemoteDirectoryServices", "GroupExpansionService",
    "LicensingInternalService", "CertificationInternalService",
)
SERVER_INFO_TYPES = ("VersionInfo", "ServerFeatureInfo",
                     "ServerLicensorCertificate", "ServiceLocations")


class Operation(NamedTuple):
    """One operation: its name, namespace below DRM, and the paths below the
    prefix (/_wmcs) that serve it; the first is the one we call."""
    name: str
    service: str
    paths: tuple
    has_version: bool  # carries the VersionData header

    @property
    def namespace(self):
        return DRM + self.service

    @property
    def action(self):
        return f"{self.namespace}/{self.name}"


_SERVER = ("/certification/server.asmx", "/licensing/server.asmx")
_LOCATOR = ("/certification/ServiceLocator.asmx", "/licensing/ServiceLocator.asmx")

OPERATIONS = (
    Operation("Certify", "CertificationService",
              ("/certification/ServerCertification.asmx",
               "/certification/certification.asmx",
               "/certification/MobileCertification.asmx",
               "/certification/MobileDeviceCertification.asmx"), True),
    Operation("Precertify", "CertificationService",
              ("/certification/Precertification.asmx",), True),
    Operation("GetServerInfo", "ServerService", _SERVER, False),
    Operation("GetLicensorCertificate", "ServerService", _SERVER, True),
    Operation("FindServiceLocations", "ServerService", _SERVER, True),
    Operation("FindServiceLocationsForUser", "ServerService", _LOCATOR, True),
    Operation("AcquireLicense", "LicensingService", ("/licensing/license.asmx",), True),
    Operation("AcquirePreLicense", "LicensingService", ("/licensing/license.asmx",), True),
    Operation("AcquireIssuanceLicense", "PublishingService",
              ("/licensing/publish.asmx",), True),
    Operation("GetClientLicensorCert", "PublishingService",
              ("/licensing/publish.asmx",), True),
    Operation("AcquireTemplateInformation", "TemplateDistributionService",
              ("/licensing/templateDistribution.asmx",), True),
    Operation("AcquireTemplates", "TemplateDistributionService",
              ("/licensing/templateDistribution.asmx",), True),
    Operation("EditIssuanceLicense", "EditIssuanceLicenseService",
              ("/licensing/editissuancelicense.asmx",), True),
)

BY_NAME = {op.name: op for op in OPERATIONS}
BY_ACTION = {op.action: op for op in OPERATIONS}
PATHS = {p.lower() for op in OPERATIONS for p in op.paths}

_VERSION = re.compile(r"\d{1,5}(\.\d{1,5}){3}\Z")


def version(text):
    """"1.2.0.0" as a tuple of four numbers, or None when it is not one."""
    if text is None or not _VERSION.match(text.strip()):
        return None
    return tuple(int(n) for n in text.strip().split("."))
