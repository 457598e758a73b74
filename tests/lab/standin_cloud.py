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
import json
import os
import signal
import ssl
import sys
import time

import services
import standin_oauth
import standin_soap
from standin_control import Control
from standin_http import BadRequest, Parser
from standin_rules import Answer, apply_rule, render, take_rule

# Fields that a relay must not pass on.  Connection is looked at by value.
HOP_BY_HOP = {"keep-alive", "te", "upgrade", "trailer", "proxy-connection",
              "proxy-authorization", "proxy-authenticate", "expect"}
FORWARDED = {"forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto",
             "x-forwarded-port", "x-forwarded-server", "x-real-ip", "x-client-ip"}
VIOLATIONS_KEPT = 1000


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
        if not path.startswith(prefix + "/") or below not in services.PATHS:
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
            self.finish(request, answer, take_rule(self.cloud.rules, self.part, answer.op))

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
        rule = take_rule(self.cloud.rules, self.part, "", early=True)
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
    listeners = {part: Service(cloud, part, options.address, port, tls)
                for part, port in (("soap", options.port), ("token", options.token_port))}
    for service in listeners.values():
        await service.listen(True)
    cloud.port, cloud.token_port = listeners["soap"].port, listeners["token"].port
    loop = asyncio.get_running_loop()
    control = await loop.create_server(lambda: Control(cloud, listeners), "127.0.0.1",
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
