"""The stand-in's loopback port that takes orders and gives figures."""

import asyncio
import json

from standin_http import BadRequest, Parser
from standin_rules import REASONS, RULE_KEYS

SET_KEYS = {"expires_in", "refresh_in", "scheme", "prefix", "host", "apps",
            "expect_client", "role_field", "role_clients"}


class Control(asyncio.Protocol):
    """A connection to it: plain HTTP, JSON, the path /control."""

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
