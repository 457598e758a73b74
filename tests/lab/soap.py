"""What the servers send: request bodies, and a small strict HTTP client.

The bodies have the shapes of [MS-RMPR]'s WSDLs.  The client gives tests the
wire itself: it sends what it is told, byte for byte, and takes from a reply
nothing that is ambiguous.
"""

import socket
import ssl
import xml.etree.ElementTree as tree
import zlib
from urllib.parse import urlsplit

import negotiate
import services
import xrml
from services import SOAP11, SOAP12

USER_AGENT = "MSIPC;version=1.0.4349.3;AppName=EdgeTransport.exe;AppVersion=15.2.1258.28;" \
             "AppArch=amd64;OSName=Windows;OSVersion=10.0.20348;OSArch=amd64"
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
XSD = 'xmlns:xsd="http://www.w3.org/2001/XMLSchema"'


# ---- bodies ----------------------------------------------------------------

def envelope(name, inner, version="1.0.0.0", soap=SOAP11, low="1.0.0.0"):
    """A whole request for operation `name` with the content `inner`."""
    op, header = services.BY_NAME[name], ""
    if op.has_version and version is not None:
        header = (f'<soap:Header><VersionData xmlns="{op.namespace}"><MinimumVersion>{low}'
                  f"</MinimumVersion><MaximumVersion>{version}</MaximumVersion></VersionData>"
                  "</soap:Header>")
    return ('<?xml version="1.0" encoding="utf-8"?>'
            f'<soap:Envelope xmlns:soap="{soap}" {XSI} {XSD}>{header}<soap:Body>'
            f'<{name} xmlns="{op.namespace}">{inner}</{name}>'
            "</soap:Body></soap:Envelope>").encode()


def _array(tag, certificates):
    return f"<{tag}>{xrml.wrap(certificates)}</{tag}>"


def rac(user="exchange@lab.test"):
    """The account certificate chain of a user; "norights" in the name makes
    the stand-in say that this user may not read."""
    return (xrml.certificate("RAC", "rac:" + user, name=user),) + xrml.chain("SLC")


def label(seed="mail", size=None):
    """A publishing licence with its chain."""
    return (xrml.certificate("PL", "pl:" + seed, size),) + xrml.chain("SLC")


def certify():
    machine = xrml.chain("SPC", "CA", "ROOT", seed="machine")
    return envelope("Certify", "<requestParams>" + _array("MachineCertificateChain", machine)
                    + "<Persistent>true</Persistent></requestParams>")


def get_server_info(*types):
    wanted = "".join(f"<ServerInfoRequest><Type>{t}</Type></ServerInfoRequest>"
                     for t in types or services.SERVER_INFO_TYPES)
    return envelope("GetServerInfo", f"<requests>{wanted}</requests>")


def get_licensor_certificate():
    return envelope("GetLicensorCertificate", "")


def find_service_locations(*types, name="FindServiceLocationsForUser"):
    wanted = "".join(f"<ServiceLocationRequest><Type>{t}</Type></ServiceLocationRequest>"
                     for t in types or ("LicensingService", "CertificationService"))
    return envelope(name, f"<ServiceNames>{wanted}</ServiceNames>")


def get_client_licensor_cert(user="exchange@lab.test"):
    return envelope("GetClientLicensorCert", "<RequestParams><GetClientLicensorCertParams>"
                    + _array("PersonaCerts", rac(user))
                    + "</GetClientLicensorCertParams></RequestParams>")


def acquire_template_information():
    return envelope("AcquireTemplateInformation", "")


def acquire_templates(*guids):
    strings = "".join(f"<string>{g}</string>" for g in guids)
    return envelope("AcquireTemplates", f"<guids>{strings}</guids>")


def acquire_issuance_license(seed="mail", size=9000):
    """size is that of the unsigned publishing licence."""
    unsigned = xrml.certificate("PL", "unsigned:" + seed, size)
    return envelope("AcquireIssuanceLicense",
                    "<RequestParams><AcquireIssuanceLicenseParams><UnsignedIssuanceLicense>"
                    + unsigned + "</UnsignedIssuanceLicense></AcquireIssuanceLicenseParams>"
                    "</RequestParams>")


def acquire_license(*users, seed="mail", size=None, version=None, soap=SOAP11):
    """One item per user; the publishing licence goes with the first only."""
    users, items = users or ("exchange@lab.test",), []
    for index, user in enumerate(users):
        issuance = _array("IssuanceLicense", label(seed, size)) if index == 0 else ""
        items.append("<AcquireLicenseParams>" + _array("LicenseeCerts", rac(user)) + issuance
                     + '<ApplicationData><XrML xmlns="" /></ApplicationData>'
                     "</AcquireLicenseParams>")
    version = version or ("1.0.0.0" if len(users) == 1 else "1.1.0.0")
    return envelope("AcquireLicense", f"<RequestParams>{''.join(items)}</RequestParams>",
                    version, soap)


def acquire_prelicense(*users, seed="mail"):
    strings = "".join(f"<string>{u}</string>" for u in users or ("a@lab.test", "b@lab.test"))
    return envelope("AcquirePreLicense",
                    "<RequestParams><AcquirePreLicenseParams>"
                    f"<LicenseeIdentities>{strings}</LicenseeIdentities>"
                    + _array("IssuanceLicense", label(seed)[:1])
                    + "</AcquirePreLicenseParams></RequestParams>")


def path_of(name):
    return "/_wmcs" + services.BY_NAME[name].paths[0]


def soap_fields(name, soap=SOAP11):
    """The fields that go with a SOAP body, as a list of pairs."""
    action = services.BY_NAME[name].action
    fields = [("User-Agent", USER_AGENT)]
    if soap == SOAP12:
        return fields + [("Content-Type", f'application/soap+xml; charset=utf-8; action="{action}"')]
    return fields + [("Content-Type", "text/xml; charset=utf-8"), ("SOAPAction", f'"{action}"')]


# ---- client ----------------------------------------------------------------

class BadReply(Exception):
    """The peer's reply breaks HTTP or ended early."""


class Reply:
    """A whole reply.  body is as it came (see content())."""

    def __init__(self, status, reason, pairs):
        self.status, self.reason, self.pairs, self.body = status, reason, pairs, b""
        self.interim = []  # statuses of 1xx replies before it

    def all(self, name):
        return [v for n, v in self.pairs if n.lower() == name.lower()]

    def get(self, name):
        """The field's value, or None; BadReply when it is there twice."""
        values = self.all(name)
        if len(values) > 1:
            raise BadReply(f"{name} {len(values)} times")
        return values[0] if values else None

    def content(self):
        """The body with its content coding undone."""
        if (self.get("Content-Encoding") or "identity").lower() == "gzip":
            return zlib.decompress(self.body, 31)
        return self.body


class Client:
    """One connection to a URL's host; keeps it open between requests.

    With see_end it leaves a connection open that the server said it would
    close, so that at_end() can see it happen; source is its own address;
    preface is sent first of all, before TLS.
    Attributes for tests: sock (the socket, TLS or plain), host, port."""

    def __init__(self, url, ca=None, address=None, timeout=30, context=None, session=None,
                 see_end=False, source=None, preface=b""):
        parts = urlsplit(url)
        self.tls = parts.scheme == "https"
        self.host = parts.hostname
        self.port = parts.port or (443 if self.tls else 80)
        self.authority = parts.netloc
        self.address, self.timeout, self.session = address, timeout, session
        self.context, self.see_end, self.source = context, see_end, source
        if self.tls and context is None:
            self.context = ssl.create_default_context(cafile=ca)
        self.preface, self.sock, self._in = preface, None, b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def connect(self):
        if self.sock is not None:
            return self
        # The lab listens on IPv4 only; a name with an IPv6 address first
        # would cost a refused connection each time.
        address = self.address or ("127.0.0.1" if self.host == "localhost" else self.host)
        sock = socket.create_connection((address, self.port), self.timeout,
                                        self.source and (self.source, 0))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.preface:
            sock.sendall(self.preface)
        if self.tls:
            sock = self.context.wrap_socket(sock, server_hostname=self.host,
                                            session=self.session,
                                            suppress_ragged_eofs=False)
        self.sock, self._in = sock, b""
        return self

    def close(self):
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def peer_certificate(self):
        return self.sock.getpeercert(binary_form=True)

    # -- sending --

    def head(self, method, path, fields=(), host=None):
        """A request head as bytes; host=False leaves Host out.  It has a
        User-Agent, as other requests of the connection do: one that has
        another would have to prove itself anew."""
        lines = [f"{method} {path} HTTP/1.1"]
        if host is not False:
            lines.append(f"Host: {host or self.authority}")
        if not any(n.lower() == "user-agent" for n, _ in fields):
            lines.append(f"User-Agent: {USER_AGENT}")
        lines += [f"{n}: {v}" for n, v in fields]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def send(self, data):
        self.connect().sock.sendall(data)

    def send_split(self, data, size):
        """The same in pieces of `size` bytes, each its own segment."""
        for at in range(0, len(data), size):
            self.send(data[at:at + size])

    def post(self, path, body, fields=(), chunks=None, expect=False):
        """Sends a POST and reads its reply.

        chunks=N sends the body in chunks of N bytes; expect=True sends
        Expect: 100-continue and waits for the word (or for a final reply)."""
        fields = list(fields)
        if chunks:
            fields.append(("Transfer-Encoding", "chunked"))
        else:
            fields.append(("Content-Length", str(len(body))))
        if expect:
            fields.append(("Expect", "100-continue"))
        payload = chunked(body, chunks) if chunks else body
        head = self.head("POST", path, fields)
        if not expect:
            self.send(head + payload)
            return self.read()
        self.send(head)
        first = self.read(interim=True)
        if first.status != 100:
            return first
        self.send(payload)
        reply = self.read()
        reply.interim.insert(0, 100)
        return reply

    def get(self, path, fields=()):
        self.send(self.head("GET", path, fields))
        return self.read("GET")

    # -- receiving --

    def _more(self):
        try:
            data = self.sock.recv(65536)
        except (ConnectionError, ssl.SSLError) as error:
            raise BadReply(f"connection lost: {error}") from error
        self._in += data
        return bool(data)

    def _line(self):
        while (end := self._in.find(b"\n")) < 0:
            if len(self._in) > 131072:
                raise BadReply("line too long")
            if not self._more():
                raise BadReply("connection closed" + (" within a head" if self._in else ""))
        if end == 0 or self._in[end - 1:end] != b"\r":
            raise BadReply("bare LF")
        line, self._in = self._in[:end - 1], self._in[end + 1:]
        return line.decode("latin-1")

    def _exactly(self, count):
        parts, have = [self._in], len(self._in)
        while have < count:
            self._in = b""
            if not self._more():
                raise BadReply(f"body ended after {have} of {count} bytes")
            parts.append(self._in)
            have += len(self._in)
        data = b"".join(parts)
        self._in = data[count:]
        return data[:count]

    def _chunks(self):
        out = []
        while True:
            text = self._line()
            if not text or any(c not in "0123456789abcdefABCDEF" for c in text):
                raise BadReply(f"bad chunk size {text[:40]!r}")
            size = int(text, 16)
            if size == 0:
                break
            out.append(self._exactly(size))
            if self._exactly(2) != b"\r\n":
                raise BadReply("chunk longer than its size")
        if self._line():
            raise BadReply("trailer fields")
        return b"".join(out)

    def _until_close(self):
        while self._more():
            pass
        data, self._in = self._in, b""
        return data

    def _read_head(self):
        version, _, rest = self._line().partition(" ")
        code, _, reason = rest.partition(" ")
        if version != "HTTP/1.1" or len(code) != 3 or not code.isdigit():
            raise BadReply(f"status line {version} {rest[:60]}")
        pairs = []
        while line := self._line():
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip():
                raise BadReply(f"field {line[:80]!r}")
            pairs.append((name, value.strip()))
        return Reply(int(code), reason, pairs)

    def read(self, method="POST", interim=False):
        """The next reply; with interim, a 1xx reply counts as one."""
        seen = []
        while True:
            reply = self._read_head()
            if reply.status >= 200 or interim:
                break
            seen.append(reply.status)
        reply.interim = seen
        if reply.status < 200 or reply.status in (204, 304) or method == "HEAD":
            return reply
        length, coding = reply.get("Content-Length"), reply.get("Transfer-Encoding")
        if length is not None and coding is not None:
            raise BadReply("Content-Length together with Transfer-Encoding")
        if coding is not None:
            if coding.lower() != "chunked":
                raise BadReply(f"Transfer-Encoding {coding}")
            reply.body = self._chunks()
        elif length is not None:
            if not length.isdigit():
                raise BadReply(f"Content-Length {length}")
            reply.body = self._exactly(int(length))
        else:
            reply.body = self._until_close()
            self.close()
        if "close" in (reply.get("Connection") or "").lower() and not self.see_end:
            self.close()
        return reply

    def at_end(self):
        """True when the server ends the connection without a further byte,
        False when it sends one; a timeout when it does neither."""
        try:
            return not self._in and not self.sock.recv(1)
        except (ConnectionError, ssl.SSLError):
            return True


def chunked(body, size):
    """body as chunks of at most `size` bytes."""
    out = [b"%x\r\n%b\r\n" % (len(body[i:i + size]), body[i:i + size])
           for i in range(0, len(body), size)]
    return b"".join(out) + b"0\r\n\r\n"


class Server(Client):
    """A client that authenticates with Kerberos as .NET's does: it asks
    without credentials first, and answers a 401 on the same connection."""

    def __init__(self, url, ccache=None, mech=negotiate.SPNEGO, bindings=False, **options):
        super().__init__(url, **options)
        self.ccache, self.mech, self.bindings = ccache, mech, bindings
        self.challenges = 0   # 401 replies that were answered
        self.mutual = False   # the server has proved who it is

    def authorization(self):
        """(Negotiate, field) for the next request."""
        bound = negotiate.channel_bindings(self.peer_certificate()) if self.bindings else None
        gss = negotiate.Negotiate(self.host, self.ccache, self.mech, bound)
        return gss, ("Authorization", gss.header())

    def call(self, name, body, expect=False, chunks=None, fields=(), soap=SOAP11, eager=False):
        """One operation, authenticated when the server asks for it, or at once
        with eager.  The last reply."""
        base, path = soap_fields(name, soap) + list(fields), path_of(name)
        if not eager:
            reply = self.post(path, body, base, chunks, expect)
            if reply.status != 401 or "Negotiate" not in reply.all("WWW-Authenticate"):
                return reply
            self.challenges += 1
        self.connect()
        gss, field = self.authorization()
        reply = self.post(path, body, base + [field], chunks, expect)
        for value in reply.all("WWW-Authenticate"):
            if value.lower().startswith("negotiate ") and reply.status != 401:
                self.mutual = gss.accept(value)
        return reply


def fault_text(reply):
    """The faultstring of a SOAP fault in a reply, or None."""
    try:
        root = tree.fromstring(reply.content())
    except tree.ParseError:
        return None
    for node in root.iter():
        if node.tag == "faultstring" or node.tag == f"{{{SOAP12}}}Text":
            return node.text
    return None
