"""XrML-shaped certificates and licences, made up but of real shape and size.

Nothing here is signed or secret: the "keys" and "signatures" are bytes drawn
from a seed, so that the same arguments always give the same text and a test
can say, byte for byte, what must arrive.  Sizes follow the examples of
[MS-RMPR] 4.5, doubled for keys of 2048 bits.
"""

import base64
import functools
import hashlib
import uuid

# kind: (type of the descriptor, usual size in bytes)
KINDS = {
    "SPC": ("Machine-Certificate", 4000),
    "RAC": ("Group-Identity-Credential", 6500),
    "CLC": ("Client-Licensor-Certificate", 6200),
    "SLC": ("Server-Licensor-Certificate", 4200),
    "CA": ("Certificate-Authority", 3400),
    "ROOT": ("Root-Certificate-Authority", 3000),
    "PL": ("Microsoft-Rights-Label", 12800),
    "UL": ("End-User-License", 5200),
    "TEMPLATE": ("Rights-Template", 3000),
}


def draw(seed, count):
    """count bytes that depend on seed only."""
    return hashlib.shake_256(seed.encode()).digest(count)


def guid(seed):
    return "{" + str(uuid.UUID(bytes=draw("guid:" + seed, 16))) + "}"


def base64_text(seed, count):
    """count characters of base64 that depend on seed only."""
    raw = draw("text:" + seed, count * 3 // 4 + 3)
    return base64.b64encode(raw).decode()[:count]


def _public_key(seed):
    return ('<PUBLICKEY><ALGORITHM>RSA</ALGORITHM>'
            '<PARAMETER name="public-exponent">'
            '<VALUE encoding="integer32">65537</VALUE></PARAMETER>'
            '<PARAMETER name="modulus"><VALUE encoding="base64" size="2048">'
            f'{base64.b64encode(draw("key:" + seed, 256)).decode()}'
            '</VALUE></PARAMETER></PUBLICKEY>')


def _signature(seed):
    return ('<SIGNATURE><DIGEST><ALGORITHM>SHA256</ALGORITHM>'
            '<VALUE encoding="base64" size="256">'
            f'{base64.b64encode(draw("digest:" + seed, 32)).decode()}</VALUE></DIGEST>'
            '<ALGORITHM>RSA PKCS#1-V1.5</ALGORITHM>'
            '<VALUE encoding="base64" size="2048">'
            f'{base64.b64encode(draw("sign:" + seed, 256)).decode()}</VALUE></SIGNATURE>')


@functools.lru_cache(maxsize=512)
def _frame(kind, seed, name):
    """What stands before and after the filler."""
    descriptor = KINDS[kind][0]
    head = ('<XrML xmlns="" version="1.2">'
            f'<BODY type="LICENSE" version="3.0"><ISSUEDTIME>2024-01-15T08:30</ISSUEDTIME>'
            f'<DESCRIPTOR><OBJECT type="{descriptor}"><ID type="MS-GUID">{guid(seed)}</ID>'
            f'<NAME>Stand-in {kind}</NAME></OBJECT></DESCRIPTOR>'
            '<ISSUER><OBJECT type="MS-DRM-Server"><ID type="MS-GUID">'
            f'{guid("issuer:" + kind)}</ID><NAME>Stand-in issuer</NAME>'
            f'<ADDRESS type="URL">https://tenant.rms.lab.test/_wmcs</ADDRESS></OBJECT>'
            f'{_public_key("issuer:" + kind)}</ISSUER>'
            '<ISSUEDPRINCIPALS><PRINCIPAL internal-id="1">'
            f'<OBJECT type="Group-Identity"><ID type="Windows">S-1-5-21-1-2-3-1118</ID>'
            f'<NAME>{name}</NAME></OBJECT>{_public_key(seed)}</PRINCIPAL></ISSUEDPRINCIPALS>'
            '<AUTHENTICATEDDATA id="standin">')
    return head, '</AUTHENTICATEDDATA></BODY>' + _signature(seed) + '</XrML>'


def certificate(kind, seed="0", size=None, name="exchange@lab.test"):
    """One XrML element of exactly `size` bytes (more when it cannot be that
    small), as str."""
    head, tail = _frame(kind, seed, name)
    size = KINDS[kind][1] if size is None else size
    return head + base64_text(seed, max(0, size - len(head) - len(tail))) + tail


_cached = functools.lru_cache(maxsize=256)(certificate)


def chain(*kinds, seed="lab"):
    """A tuple of certificates, leaf first."""
    return tuple(_cached(kind, seed + ":" + kind) for kind in kinds)


def wrap(certificates):
    """The content of an ArrayOfXmlNode."""
    return "".join(f"<Certificate>{c}</Certificate>" for c in certificates)
