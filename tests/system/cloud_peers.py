"""What the cloud agent talks to, on loopback: a token endpoint and a DNS."""

import http.server
import json
import socket
import ssl
import struct
import threading
import urllib.parse


class TokenEndpoint:
    """https://NAME:port/t/oauth2/v2.0/token.

    reply(form) -> (status, fields, body), or a bytes object that is sent as
    it is, or None to close without a word.  Every request must be one that
    RFC 6749 section 4.4.2 describes; what is wrong is kept in `faults`.
    """

    def __init__(self, certificate, key, secrets):
        self.secrets = secrets
        self.requests, self.faults, self.reply = [], [], self.token
        self.count, self.expires_in, self.extra = 0, 3599, {}
        self.lock = threading.Lock()
        self.server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), self._handler(), bind_and_activate=True)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.server.socket = self.context.wrap_socket(
            self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever,
                                       kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def token(self, form):
        """A good reply: a new token each time."""
        with self.lock:
            self.count += 1
            n = self.count
        body = {"token_type": "Bearer", "expires_in": self.expires_in,
                "access_token": f"tok.{form['client_id']}.{n}", **self.extra}
        return 200, {}, json.dumps(body).encode()

    def check(self, handler, form):
        fields = handler.headers
        wrong = [text for bad, text in (
            (handler.path != "/t/oauth2/v2.0/token", f"path {handler.path}"),
            (handler.request_version != "HTTP/1.1", handler.request_version),
            (fields.get("Content-Type") != "application/x-www-form-urlencoded", "content type"),
            (not (fields.get("User-Agent") or "").startswith("rms-connector/"), "user agent"),
            (fields.get("Authorization") is not None, "authorization"),
            (fields.get("Expect") is not None, "expect"),
            (fields.get("Accept") != "application/json", "accept"),
            (form.get("grant_type") != "client_credentials", "grant type"),
            (form.get("scope") != "https://aadrm.com/.default", "scope"),
            (set(form) != {"grant_type", "scope", "client_id", "client_secret"}, "fields"),
            (form.get("client_secret") != self.secrets.get(form.get("client_id")), "secret"),
        ) if bad]
        self.faults += wrong

    def _handler(self):
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                form = dict(urllib.parse.parse_qsl(body.decode("ascii"), strict_parsing=True,
                                                   keep_blank_values=True))
                endpoint.check(self, form)
                endpoint.requests.append(form)
                answer = endpoint.reply(form)
                self.close_connection = True
                if answer is None:
                    return
                if isinstance(answer, bytes):
                    self.wfile.write(answer)
                    return
                status, fields, body = answer
                self.send_response(status)
                for name, value in fields.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                endpoint.faults.append(f"GET {self.path}")

            def log_message(self, *_):
                pass

        return Handler


NXDOMAIN, SERVFAIL, SILENT = 3, 2, -1


class Dns:
    """records[name] = [(type, value, ttl), ...], or one of the above."""

    def __init__(self):
        self.records, self.queries = {}, []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        self.socket.close()

    def _serve(self):
        while True:
            try:
                data, peer = self.socket.recvfrom(4096)
                answer = self.answer(data)
                if answer:
                    self.socket.sendto(answer, peer)
            except OSError:
                return

    def answer(self, data):
        at, labels = 12, []
        while data[at]:
            labels.append(data[at + 1:at + 1 + data[at]].decode("ascii"))
            at += 1 + data[at]
        kind = struct.unpack(">H", data[at + 1:at + 3])[0]
        question = data[12:at + 5]
        name = ".".join(labels).lower()
        self.queries.append((name, kind))
        found = self.records.get(name, NXDOMAIN)
        if found == SILENT:
            return None
        code, rows = (found, []) if isinstance(found, int) else (0, found)
        out = b""
        n = 0
        for rtype, value, ttl in rows:
            if {"A": 1, "AAAA": 28}[rtype] != kind:
                continue
            family = socket.AF_INET if rtype == "A" else socket.AF_INET6
            raw = socket.inet_pton(family, value)
            out += struct.pack(">HHHIH", 0xC00C, kind, 1, ttl, len(raw)) + raw
            n += 1
        head = data[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, n, 0, 0)
        return head + question + out
