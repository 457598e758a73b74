"""Replies of the stand-in, and the rules that change them on request."""

import gzip
import time

import standin_soap

SERVER = "standin-cloud (a stand-in for tests, not a real service)"
REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden",
           404: "Not Found", 405: "Method Not Allowed", 411: "Length Required",
           413: "Content Too Large", 415: "Unsupported Media Type",
           417: "Expectation Failed", 421: "Misdirected Request",
           429: "Too Many Requests", 431: "Request Header Fields Too Large",
           500: "Internal Server Error", 502: "Bad Gateway",
           503: "Service Unavailable"}
RULE_KEYS = {"part", "op", "times", "skip", "delay_ms", "status", "body", "content_type",
             "retry_after", "fields", "fault", "gzip", "chunked", "chunk_bytes", "close",
             "until_close", "reply_bytes", "truncate", "trickle", "stall", "drop", "early",
             "continue", "raw"}


class Answer:
    """A reply on its way: what is sent unless a rule changes it."""

    def __init__(self, status, content_type, body, fields=()):
        self.status, self.content_type, self.body = status, content_type, body
        self.fields = list(fields)
        self.op, self.items, self.failed = "", 0, 0
        self.client_id, self.violation, self.close = "", "", False


def take_rule(rules, part, op, early=False):
    """The rule for a request, counted down; {} when there is none."""
    for rule in rules:
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
                rules.remove(rule)
        return rule
    return {}


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
