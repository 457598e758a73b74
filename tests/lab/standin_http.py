"""A strict HTTP/1.1 request parser for the stand-in cloud.

It takes nothing that two parsers could read in two ways: what it refuses, a
relay must never have sent.  One Parser per connection; feed() bytes, take
Requests out, or get BadRequest, after which the connection is of no use.
"""

import hashlib
import re

HEAD_MAX = 128 * 1024
BODY_MAX = 12 * 1024 * 1024  # 8 MiB of licence, 100 licensees, and the rest

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e]+) HTTP/1\.1\Z")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*\Z")
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}\Z")


class BadRequest(Exception):
    """status and reason of a message whose framing or head is off."""

    def __init__(self, status, reason):
        super().__init__(reason)
        self.status, self.reason = status, reason


class Request:
    """A head, and once it has all arrived its body."""

    def __init__(self, method, target, pairs):
        self.method, self.target, self.pairs = method, target, pairs
        self.fields = {}
        for name, value in pairs:
            key = name.lower()
            self.fields[key] = f"{self.fields[key]}, {value}" if key in self.fields else value
        self.body = b""
        self.chunked = False
        self.started, self.seen = 0.0, False

    def count(self, name):
        return sum(1 for n, _ in self.pairs if n.lower() == name)

    def digest(self):
        return hashlib.sha256(self.body).hexdigest()


def parse_head(data):
    """The Request of a head without its empty line; BadRequest."""
    lines = data.split(b"\r\n")
    if any(b"\n" in line or b"\r" in line for line in lines):
        raise BadRequest(400, "bare LF or CR in the head")
    match = _LINE.match(lines[0])
    if not match:
        raise BadRequest(400, f"malformed request line {lines[0][:80]!r}")
    pairs = []
    for line in lines[1:]:
        if line[:1] in (b" ", b"\t"):
            raise BadRequest(400, "folded field (obs-fold)")
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.match(name):
            raise BadRequest(400, f"malformed field {line[:80]!r}")
        value = value.strip(b" \t")
        if not _VALUE.match(value):
            raise BadRequest(400, f"control character in field {name.decode()}")
        pairs.append((name.decode("ascii"), value.decode("latin-1")))
    return Request(match[1].decode(), match[2].decode(), pairs)


def framing(request):
    """Body length, or None for chunked; BadRequest."""
    lengths, codings = request.count("content-length"), request.count("transfer-encoding")
    if lengths and codings:
        raise BadRequest(400, "Content-Length together with Transfer-Encoding")
    if lengths > 1 or codings > 1:
        raise BadRequest(400, "Content-Length or Transfer-Encoding more than once")
    if codings:
        if request.fields["transfer-encoding"].lower() != "chunked":
            raise BadRequest(400, "Transfer-Encoding is not chunked")
        return None
    if not lengths:
        if request.method in ("POST", "PUT", "PATCH"):
            raise BadRequest(411, f"{request.method} without Content-Length or chunks")
        return 0
    text = request.fields["content-length"]
    if not re.match(r"(0|[1-9][0-9]{0,10})\Z", text):
        raise BadRequest(400, f"bad Content-Length {text[:40]!r}")
    if int(text) > BODY_MAX:
        raise BadRequest(413, f"body of {text} bytes")
    return int(text)


class Parser:
    """States: HEAD → LENGTH | SIZE → (DATA → SIZE)* → TRAILER → HEAD."""

    def __init__(self):
        self._in = bytearray()
        self._body = bytearray()
        self._state, self._left = "HEAD", 0
        self.request = None  # the one whose head is complete

    def is_idle(self):
        return self._state == "HEAD" and not self._in

    def feed(self, data):
        self._in += data

    def has_head(self):
        """A head is complete and its body is not."""
        return self.request is not None

    def next(self):
        """The next whole Request, or None until more bytes come."""
        while True:
            step = getattr(self, "_" + self._state.lower())
            done = step()
            if done is None:
                return None
            if done is not True:
                return done

    def _line(self, limit, what):
        end = self._in.find(b"\n", 0, limit + 2)
        if end < 0:
            if len(self._in) > limit:
                raise BadRequest(400, f"{what} too long")
            return None
        if end == 0 or self._in[end - 1] != 13:
            raise BadRequest(400, f"bare LF in {what}")
        line = bytes(self._in[:end - 1])
        del self._in[:end + 1]
        return line

    def _head(self):
        end = self._in.find(b"\r\n\r\n")
        if end < 0:
            if b"\n" in self._in.replace(b"\r\n", b""):
                raise BadRequest(400, "bare LF in the head")
            if len(self._in) > HEAD_MAX:
                raise BadRequest(431, "head too long")
            return None
        request = parse_head(bytes(self._in[:end]))
        del self._in[:end + 4]
        length = framing(request)
        self.request, self._body = request, bytearray()
        request.chunked = length is None
        self._state, self._left = ("SIZE", 0) if length is None else ("LENGTH", length)
        return True

    def _finish(self):
        request, self.request = self.request, None
        request.body = bytes(self._body)
        self._body = bytearray()
        self._state = "HEAD"
        return request

    def _length(self):
        take = self._in[:self._left]
        self._body += take
        self._left -= len(take)
        del self._in[:len(take)]
        return None if self._left else self._finish()

    def _size(self):
        line = self._line(20, "a chunk size")
        if line is None:
            return None
        if not _SIZE.match(line):
            raise BadRequest(400, f"bad chunk size or an extension: {line[:30]!r}")
        self._left = int(line, 16)
        if len(self._body) + self._left > BODY_MAX:
            raise BadRequest(413, "chunked body too large")
        self._state = "DATA" if self._left else "TRAILER"
        return True

    def _data(self):
        take = self._in[:self._left]
        self._body += take
        self._left -= len(take)
        del self._in[:len(take)]
        if self._left or len(self._in) < 2:
            return None
        if self._in[:2] != b"\r\n":
            raise BadRequest(400, "a chunk is longer than its size")
        del self._in[:2]
        self._state = "SIZE"
        return True

    def _trailer(self):
        line = self._line(8192, "the trailer")
        if line is None:
            return None
        if line:
            raise BadRequest(400, f"trailer field {line[:40]!r}")
        return self._finish()
