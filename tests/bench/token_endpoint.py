#!/usr/bin/env python3
"""token_endpoint.py CERT KEY TOKEN-FILE PORT-FILE: hands out one fixed token.

Stands in for the token service in benchmarks: every well-formed client
credentials request gets the token in TOKEN-FILE.  Listens on a free loopback
port, which it writes to PORT-FILE.
"""
import http.server
import json
import os
import ssl
import sys
import urllib.parse


class Handler(http.server.BaseHTTPRequestHandler):
    """POST .../token, and nothing else."""
    token = ""

    def log_message(self, *_):
        pass

    def do_POST(self):  # pylint: disable=invalid-name
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        form = urllib.parse.parse_qs(body.decode())
        good = form.get("grant_type") == ["client_credentials"]
        reply = json.dumps({"token_type": "Bearer", "expires_in": 86399, "access_token": self.token}
                           if good else {"error": "unsupported_grant_type"}).encode()
        self.send_response(200 if good else 400)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)


def main():
    cert, key, token_file, port_file = sys.argv[1:]
    with open(token_file, encoding="ascii") as file:
        Handler.token = file.read().strip()
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with open(port_file + ".new", "w", encoding="ascii") as file:
        file.write(str(server.server_address[1]))
    os.rename(port_file + ".new", port_file)
    server.serve_forever()


main()
