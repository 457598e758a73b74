#!/usr/bin/python3
"""A STAND-IN for a cloud rights-management service, for tests on one machine.

It is not Microsoft's service and holds no real keys or licences.  It serves
the token endpoint of OAuth 2.0 client credentials and the SOAP services of
[MS-RMPR] over TLS, answers with made-up XrML of real shape and size, and is
strict: what a correct relay would never send is refused, logged with the
reason, and counted as a violation.

A plain loopback port takes orders (POST /control, JSON) and gives figures
(GET /control).  Orders, any of:

  {"rules": [RULE, ...]}     add rules; the first that matches is applied
  {"clear": true}            forget all rules
  {"set": {NAME: VALUE}}     expires_in, refresh_in, scheme (Bearer|MSOID|none),
                             prefix, host, apps, expect_client, role_field,
                             role_clients {role: client id}
  {"expire_tokens": true}    revoke every token issued so far
  {"drop_connections": true} cut every connection of the services
  {"listening": {"soap": false}}  stop listening (true: start again)
  {"reset": true}            start counting anew

A RULE is an object.  When: "part" (soap|token), "op", "times" (default: for
ever), "skip" (let so many pass first).  What: "delay_ms", "status", "body",
"content_type", "retry_after", "fields" {name: value}, "fault", "gzip"
(force|accept), "chunked", "chunk_bytes", "close", "until_close" (no length),
"reply_bytes", "truncate" (body bytes, then an orderly end), "trickle" {"bytes",
"every_ms"}, "stall" (head|middle), "drop" (request|before|head|middle),
"early" (answer before the body has come), "continue" (100 first), "raw" (these
bytes instead of a reply).
"""

import argparse
import asyncio
import gzip
import json
import os
import signal
import ssl
import sys
import time

import standin_oauth
import standin_soap
from standin_http import BadRequest, Parser

SERVER = "standin-cloud (a stand-in for tests, not a real service)"
REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden",
           404: "Not Found", 405: "Method Not Allowed", 411: "Length Required",
           413: "Content Too Large", 415: "Unsupported Media Type",
           417: "Expectation Failed", 421: "Misdirected Request",
           429: "Too Many Requests", 431: "Request Header Fields Too Large",
           500: "Internal Server Error", 502: "Bad Gateway",
           503: "Service Unavailable"}
# Fields that a relay must not pass on.  Connection is looked at by value.
HOP_BY_HOP = {"keep-alive", "te", "upgrade", "trailer", "proxy-connection",
              "proxy-authorization", "proxy-authenticate", "expect"}
FORWARDED = {"forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto",
             "x-forwarded-port", "x-forwarded-server", "x-real-ip", "x-client-ip"}
RULE_KEYS = {"part", "op", "times", "skip", "delay_ms", "status", "body", "content_type",
             "retry_after", "fields", "fault", "gzip", "chunked", "chunk_bytes", "close",
             "until_close", "reply_bytes", "truncate", "trickle", "stall", "drop", "early",
             "continue", "raw"}
SET_KEYS = {"expires_in", "refresh_in", "scheme", "prefix", "host", "apps",
            "expect_client", "role_field", "role_clients"}
VIOLATIONS_KEPT = 1000


class Answer:
    """A reply on its way: what is sent unless a rule changes it."""

    def __init__(self, status, content_type, body, fields=()):
        self.status, self.content_type, self.body = status, content_type, body
        self.fields = list(fields)
        self.op, self.items, self.failed = "", 0, 0
        self.client_id, self.violation, self.close = "", "", False


class Cloud:
    """What all connections share."""

    def __init__(self, options, apps):
        self.tokens = standin_oauth.TokenService(options.tenant, apps)
        self.host, self.scheme, self.prefix = options.host, "Bearer", "/_wmcs"
        self.port = self.token_port = 0
        self.expect_client, self.role_field, self.role_clients = None, "", {}
        self.rules, self.connections = [], set()
        self.log = os.open(options.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.reset()

    def reset(self):
        self.requests, self.statuses, self.by_client = {}, {}, {}
        self.violations, self.violation_count = [], 0
        self.accepted = {"soap": 0, "token": 0}
        self.resumed, self.last, self.serial = 0, None, 0

    def authority(self):
        return self.host if self.port == 443 else f"{self.host}:{self.port}"

    def statistics(self):
        return {
            "requests": self.requests, "statuses": self.statuses,
            "total": sum(self.requests.values()), "by_client": self.by_client,
            "violation_count": self.violation_count, "violations": self.violations,
            "tokens": {"issued": self.tokens.issued, "refused": self.tokens.refused,
                       "by_client": self.tokens.by_client},
            "connections": {"accepted": self.accepted, "resumed": self.resumed,
                            "open": sum(c.part == "soap" for c in self.connections)},
            "rules": self.rules, "last": self.last,
        }

    def take_rule(self, part, op, early=False):
        """The rule for a request, counted down; {} when there is none."""
        for rule in self.rules:
            if rule.get("part", "soap") != part or rule.get("op", op) != op:
                continue
            if early and not (rule.get("early") or rule.get("drop") == "request"):
                return {}
            if rule.get("skip", 0) > 0:
                rule["skip"] -= 1
                return {}
            if "times" in rule:
                rule["times"] -= 1
                if rule["times"] <= 0:
                    self.rules.remove(rule)
            return rule
        return {}

    def record(self, part, request, answer, sent):
        now = time.time()
        self.serial += 1
        if part == "soap":
            for counts, key in ((self.requests, answer.op), (self.statuses, str(answer.status)),
                                (self.by_client, answer.client_id)):
                counts[key] = counts.get(key, 0) + 1
        line = {"time": now, "serial": self.serial, "part": part, "op": answer.op,
                "status": answer.status, "bytes_out": sent, "items": answer.items,
                "failed_items": answer.failed, "client_id": answer.client_id,
                "violation": answer.violation}
        if request is not None:
            line.update(method=request.method, target=request.target,
                        bytes_in=len(request.body), chunked=request.chunked,
                        body_sha256=request.digest() if part == "soap" else "",
                        ms=round((time.monotonic() - request.started) * 1000, 3),
                        fields=[[n, v if n.lower() != "authorization" else v.split(" ")[0] + " …"]
                                for n, v in request.pairs])
        if answer.violation:
            self.violation_count += 1
            if len(self.violations) < VIOLATIONS_KEPT:
                self.violations.append(answer.violation)
        if part == "soap":
            self.last = line
        os.write(self.log, json.dumps(line, ensure_ascii=False).encode() + b"\n")

    # ---- what is right and wrong in a request ----

    def refuse(self, status, why):
        body = standin_soap.fault_body(standin_soap.SOAP11, f"Refused by the stand-in: {why}")
        answer = Answer(status, "text/xml; charset=utf-8", body)
        answer.violation = why
        if status == 401:
            answer.fields.append(("WWW-Authenticate", "Bearer realm=\"\", authorization="
                                  "\"https://login.lab.test/common/oauth2/authorize\""))
        return answer

    def check_fields(self, request):
        """An Answer that refuses, or None."""
        if request.count("host") != 1:
            return self.refuse(400, "Host is missing or repeated")
        for name, value in request.pairs:
            key = name.lower()
            if key == "connection" and value.strip().lower() != "keep-alive":
                return self.refuse(400, f"hop-by-hop field Connection: {value}")
            if key in HOP_BY_HOP or key.startswith("proxy-"):
                return self.refuse(417 if key == "expect" else 400, f"hop-by-hop field {name}")
            if key in FORWARDED or key.startswith("x-forwarded-"):
                return self.refuse(400, f"field {name} of a client or a proxy")
        for key in ("authorization", "content-type", "soapaction"):
            if request.count(key) > 1:
                return self.refuse(400, f"{key} is repeated")
        return None

    def check_token(self, request):
        """(client id, Answer that refuses or None)."""
        value = request.fields.get("authorization")
        if self.scheme == "none":
            return "", self.refuse(401, "an Authorization where none belongs") if value else None
        if value is None:
            return "", self.refuse(401, "no token")
        scheme, _, text = value.partition(" ")
        if scheme != self.scheme:
            return "", self.refuse(401, f"Authorization {scheme!r}, not {self.scheme}")
        token, why = self.tokens.check(text)
        if why:
            answer = self.refuse(401, why)
            if token is not None and token.revoked:
                answer.violation = ""
            return "", answer
        wanted = self.expect_client
        if self.role_field:
            role = request.fields.get(self.role_field.lower(), "")
            wanted = self.role_clients.get(role)
            if wanted is None:
                return token.client_id, self.refuse(401, f"role {role!r} has no credential")
        if wanted is not None and token.client_id != wanted:
            return token.client_id, self.refuse(
                401, f"the token of {token.client_id} where {wanted}'s belongs")
        return token.client_id, None

    def soap_answer(self, request):
        answer = self.check_fields(request)
        if answer is not None:
            return answer
        if request.fields["host"].lower() != self.authority().lower():
            return self.refuse(421, f"Host {request.fields['host']!r}, not {self.authority()}")
        path = request.target.partition("?")[0].lower()
        prefix = self.prefix.lower()
        below = path[len(prefix):]
        if not path.startswith(prefix + "/") or below not in standin_soap.services.PATHS:
            return self.refuse(404, f"unknown path {request.target[:120]}")
        if request.method != "POST":
            return self.refuse(405, f"method {request.method}")
        client_id, answer = self.check_token(request)
        if answer is None:
            reply = standin_soap.answer("https://" + self.authority(), below, request.fields,
                                        request.body)
            answer = Answer(reply.status, reply.content_type, reply.body)
            answer.op, answer.items, answer.failed = reply.op, reply.items, reply.failed
            answer.violation = reply.violation
        answer.client_id = client_id
        answer.fields.append(("X-Standin-Body-SHA256", request.digest()))
        return answer

    def token_answer(self, request):
        host = request.fields.get("host", "")
        allowed = {f"{h}:{self.token_port}" for h in (self.host, "localhost", "127.0.0.1")}
        if request.count("host") != 1 or host.lower() not in allowed:
            return self.refuse(421, f"token service: Host {host!r}")
        if not standin_oauth.is_token_path(request.target):
            return self.refuse(404, f"token service: unknown path {request.target[:120]}")
        if request.method != "POST":
            return self.refuse(405, f"token service: method {request.method}")
        status, value, client_id = self.tokens.answer(request)
        answer = Answer(status, "application/json; charset=utf-8", standin_oauth.to_json(value),
                        [("Cache-Control", "no-store, no-cache"), ("Pragma", "no-cache")])
        answer.client_id = client_id
        return answer


class Connection(asyncio.Protocol):
    """One TLS connection of a service."""

    def __init__(self, cloud, part):
        self.cloud, self.part = cloud, part
        self.parser, self.busy, self.ended = Parser(), False, False
        self.transport = self.task = None

    def connection_made(self, transport):
        self.transport = transport
        self.cloud.connections.add(self)
        self.cloud.accepted[self.part] += 1
        tls = transport.get_extra_info("ssl_object")
        self.cloud.resumed += bool(tls and tls.session_reused and self.part == "soap")

    def connection_lost(self, exc):
        self.ended = True
        self.cloud.connections.discard(self)
        if self.task is not None:
            self.task.cancel()

    def data_received(self, data):
        self.parser.feed(data)
        self.pump()

    def pump(self):
        """Answers the requests that have arrived, one after another."""
        while not self.busy and not self.ended:
            try:
                request = self.parser.next()
            except BadRequest as bad:
                answer = self.cloud.refuse(bad.status, bad.reason)
                answer.close = True
                self.finish(None, answer, {})
                return
            if request is None:
                if self.parser.has_head():
                    self.early()
                return
            request.started = time.monotonic()
            answer = (self.cloud.soap_answer if self.part == "soap"
                      else self.cloud.token_answer)(request)
            self.finish(request, answer, self.cloud.take_rule(self.part, answer.op))

    def early(self):
        """A head is there, its body is not: only some rules act now."""
        request = self.parser.request
        if "expect" in request.fields and self.part == "soap":
            answer = self.cloud.refuse(417, "hop-by-hop field Expect")
            answer.close = True
            self.finish(None, answer, {})
            return
        if request.seen:
            return
        request.seen = True
        rule = self.cloud.take_rule(self.part, "", early=True)
        if rule:
            request.started = time.monotonic()
            answer = Answer(rule.get("status", 413), "text/plain", b"early\n")
            answer.close = True
            self.finish(request, answer, rule)

    def finish(self, request, answer, rule):
        apply_rule(request, answer, rule)
        head, body = render(answer, rule, request)
        self.cloud.record(self.part, request, answer, len(body))
        slow = rule.keys() & {"delay_ms", "trickle", "stall", "drop", "truncate", "continue"}
        if slow:
            self.busy = True
            self.task = asyncio.get_running_loop().create_task(
                self.send_slowly(head, body, answer, rule))
            return
        self.transport.write(head + body)
        if answer.close:
            self.end()

    def end(self):
        self.ended = True
        self.transport.close()

    async def send_slowly(self, head, body, answer, rule):
        drop, stall, write = rule.get("drop"), rule.get("stall"), self.transport.write
        if rule.get("continue"):
            write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await asyncio.sleep(rule.get("delay_ms", 0) / 1000)
        if drop in ("request", "before"):
            self.transport.abort()
            return
        if "head" in (drop, stall):
            write(head[:len(head) // 2])
        elif "middle" in (drop, stall):
            write(head + body[:len(body) // 2])
        elif "truncate" in rule:
            write(head + body[:rule["truncate"]])
            self.end()
            return
        elif "trickle" in rule:
            await self.trickle(head + body, rule["trickle"])
        else:
            write(head + body)
        if stall:
            await asyncio.sleep(3600)
        if drop:
            await asyncio.sleep(0.05)  # let what was written leave
            self.transport.abort()
            return
        if answer.close:
            self.end()
            return
        self.busy = False
        self.pump()

    async def trickle(self, data, how):
        step = max(1, how.get("bytes", 1))
        for at in range(0, len(data), step):
            self.transport.write(data[at:at + step])
            await asyncio.sleep(how.get("every_ms", 10) / 1000)


def apply_rule(request, answer, rule):
    """Changes the answer's status, type, fields and body."""
    if "fault" in rule:
        answer.status, answer.content_type = 500, "text/xml; charset=utf-8"
        answer.body = standin_soap.fault_body(standin_soap.SOAP11, rule["fault"])
    if "status" in rule and not rule.get("early"):
        answer.status = rule["status"]
        answer.body, answer.content_type = b"", "text/html"
        if answer.status == 401:
            answer.fields.append(("WWW-Authenticate", "Bearer realm=\"\""))
    if "reply_bytes" in rule and answer.status == 200 and answer.op:
        reply = standin_soap.Reply(200, answer.content_type, answer.body, answer.op)
        answer.body = standin_soap.sized(reply, rule["reply_bytes"]).body
    if "body" in rule:
        answer.body = rule["body"].encode()
    if "content_type" in rule:
        answer.content_type = rule["content_type"]
    if "retry_after" in rule:
        answer.fields.append(("Retry-After", str(rule["retry_after"])))
    answer.fields += [(str(n), str(v)) for n, v in rule.get("fields", {}).items()]
    accepted = request is not None and "gzip" in request.fields.get("accept-encoding", "")
    if rule.get("gzip") == "force" or (rule.get("gzip") == "accept" and accepted):
        answer.body = gzip.compress(answer.body, 6, mtime=0)
        answer.fields.append(("Content-Encoding", "gzip"))
    answer.close = answer.close or bool(rule.get("close") or rule.get("until_close"))


def render(answer, rule, request):
    """(head, body) as they go on the wire."""
    if "raw" in rule:
        return rule["raw"].encode("latin-1"), b""
    fields = [("Server", SERVER), ("Date", time.strftime("%a, %d %b %Y %H:%M:%S GMT",
                                                         time.gmtime())),
              ("Cache-Control", "private"), ("Content-Type", answer.content_type)]
    names = {n.lower() for n, _ in answer.fields}
    fields = [f for f in fields if f[0].lower() not in names] + answer.fields
    body = answer.body
    if rule.get("chunked"):
        fields.append(("Transfer-Encoding", "chunked"))
        step = max(1, rule.get("chunk_bytes", 4096))
        body = b"".join(b"%x\r\n%b\r\n" % (len(body[i:i + step]), body[i:i + step])
                        for i in range(0, len(body), step)) + b"0\r\n\r\n"
    elif not rule.get("until_close"):
        fields.append(("Content-Length", str(len(body))))
    if answer.close:
        fields.append(("Connection", "close"))
    reason = REASONS.get(answer.status, "Unknown")
    head = f"HTTP/1.1 {answer.status} {reason}\r\n"
    head += "".join(f"{n}: {v}\r\n" for n, v in fields) + "\r\n"
    if request is not None and request.method == "HEAD":
        body = b""
    return head.encode("latin-1"), body


class Control(asyncio.Protocol):
    """The loopback port that takes orders: plain HTTP, JSON."""

    def __init__(self, cloud, services):
        self.cloud, self.services, self.parser = cloud, services, Parser()
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.parser.feed(data)
        try:
            while (request := self.parser.next()) is not None:
                asyncio.get_running_loop().create_task(self.serve(request))
        except BadRequest as bad:
            self.reply(bad.status, {"ok": False, "error": bad.reason})
            self.transport.close()

    def reply(self, status, value):
        body = json.dumps(value).encode()
        self.transport.write(f"HTTP/1.1 {status} {REASONS.get(status, '')}\r\n"
                             "Content-Type: application/json\r\n"
                             f"Content-Length: {len(body)}\r\n\r\n".encode() + body)

    async def serve(self, request):
        if request.target != "/control":
            self.reply(404, {"ok": False, "error": "the path is /control"})
        elif request.method == "GET":
            self.reply(200, self.cloud.statistics())
        else:
            try:
                await self.obey(json.loads(request.body))
            except (ValueError, TypeError, AttributeError, KeyError, OSError) as error:
                self.reply(400, {"ok": False, "error": str(error)})
            else:
                self.reply(200, {"ok": True})

    async def obey(self, order):
        cloud = self.cloud
        unknown = order.keys() - {"rules", "clear", "set", "expire_tokens", "drop_connections",
                                  "listening", "reset"}
        unknown |= order.get("set", {}).keys() - SET_KEYS
        for rule in order.get("rules", []):
            unknown |= rule.keys() - RULE_KEYS
        if unknown:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        if order.get("clear"):
            cloud.rules.clear()
        if order.get("reset"):
            cloud.reset()
        for name, value in order.get("set", {}).items():
            owner = cloud.tokens if name in ("expires_in", "refresh_in", "apps") else cloud
            setattr(owner, name, value)
        cloud.rules.extend(order.get("rules", []))
        if order.get("expire_tokens"):
            cloud.tokens.revoke_all()
        for part, on in order.get("listening", {}).items():
            await self.services[part].listen(on)
        if order.get("drop_connections"):
            for connection in list(cloud.connections):
                connection.transport.abort()


class Service:
    """A listener that can be switched off and on at the same port."""

    def __init__(self, cloud, part, address, port, tls):
        self.cloud, self.part, self.address, self.port = cloud, part, address, port
        self.tls, self.server = tls, None

    async def listen(self, on):
        if on and self.server is None:
            self.server = await asyncio.get_running_loop().create_server(
                lambda: Connection(self.cloud, self.part), self.address, self.port,
                ssl=self.tls, backlog=1024, reuse_address=True)
            self.port = self.server.sockets[0].getsockname()[1]
        elif not on and self.server is not None:
            self.server.close()
            self.server = None
            for connection in list(self.cloud.connections):
                if connection.part == self.part:
                    connection.transport.abort()


async def serve(options, apps):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    tls.load_cert_chain(options.certificate, options.key)
    cloud = Cloud(options, apps)
    services = {part: Service(cloud, part, options.address, port, tls)
                for part, port in (("soap", options.port), ("token", options.token_port))}
    for service in services.values():
        await service.listen(True)
    cloud.port, cloud.token_port = services["soap"].port, services["token"].port
    loop = asyncio.get_running_loop()
    control = await loop.create_server(lambda: Control(cloud, services), "127.0.0.1",
                                       options.control_port)
    ready = {"pid": os.getpid(), "port": cloud.port, "token_port": cloud.token_port,
             "control_port": control.sockets[0].getsockname()[1]}
    if options.ready:
        with open(options.ready + ".new", "w", encoding="ascii") as file:
            json.dump(ready, file)
        os.rename(options.ready + ".new", options.ready)
    print(f"stand-in cloud (for tests, not a real service): {json.dumps(ready)}", flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    need = {"required": True, "metavar": "FILE"}
    parser.add_argument("--certificate", help="PEM: certificate, then its issuers", **need)
    parser.add_argument("--key", help="PEM: its private key", **need)
    parser.add_argument("--apps", help="JSON: {client id: {\"secret\": text}}", **need)
    parser.add_argument("--log", help="JSON line for each request", **need)
    parser.add_argument("--ready", metavar="FILE", help="written once all ports listen")
    parser.add_argument("--host", default="tenant.rms.lab.test", help="name in Host")
    parser.add_argument("--tenant", default="lab.test", help="directory (tenant) id")
    parser.add_argument("--address", default="127.0.0.1", help="where to listen")
    for name in ("port", "token-port", "control-port"):
        parser.add_argument("--" + name, type=int, default=0, help="0: any free one")
    options = parser.parse_args()
    with open(options.apps, encoding="utf-8") as file:
        apps = json.load(file)
    asyncio.run(serve(options, apps))
    return 0


if __name__ == "__main__":
    sys.exit(main())
