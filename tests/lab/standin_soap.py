"""The stand-in's SOAP services: a pure function from request to reply.

answer() depends on its arguments only, so a test computes what a client must
receive, byte for byte, by calling it itself.  The stand-in checks what a
server of [MS-RMPR] checks in a message; it does no cryptography.
"""

import functools
from typing import NamedTuple

import services
import xrml
from services import BY_ACTION, DRM, SOAP11, SOAP12
from standin_operations import DRMS, HANDLERS, Call
from standin_xml import Fault, Refusal, content_type_of, envelope, fault_body, parse

VERSION_MAX = (1, 2, 0, 0)
VERSION_REPLY = ("1.0.0.0", "1.2.0.0")


class Reply(NamedTuple):
    status: int
    content_type: str
    body: bytes
    op: str = ""
    items: int = 0
    failed: int = 0
    violation: str = ""  # why no relay should have sent this; "" if it may


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
    return Reply(200, content_type_of(soap), envelope(soap, header, out), name,
                 call.items, call.failed)


def sized(reply, size):
    """`reply` at exactly `size` bytes (the least possible is about 3 kB): the
    same message with a comment behind it, or one short licence instead."""
    body = reply.body
    if size < len(body) + 7:
        base = len(_short(reply.op, 0))
        body = _short(reply.op, max(0, size - base))
    if size >= len(body) + 7:
        filler = xrml.base64_text("filler", size - len(body) - 7)
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
    return envelope(SOAP11, "", inner)
