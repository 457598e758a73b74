"""Servers that use the connector as they should, and check each reply."""

import hashlib
import random
import re
import threading
import time
from typing import NamedTuple

import services
import soap
import standin_soap

REASON = re.compile(rb"RmsConnector\.([A-Z_]+):")
NEW_CONNECTION = 0.08  # of the requests
CHUNKED = 0.3


class Case(NamedTuple):
    """A request, and what has to come back."""
    name: str
    body: bytes
    sent: str  # SHA-256 of it
    wanted: str  # of the reply's body


class Outcome(NamedTuple):
    """What became of a request: kind is good, told (an error with a reason of
    the connector's), passed (one of the cloud's), lost (no whole reply) or
    wrong (a reply that is not the one for it)."""
    began: float
    ended: float
    kind: str
    detail: str
    request_id: str


def sha(data):
    return hashlib.sha256(data).hexdigest()


def make_cases(lab):
    """From a small question to a batch and most of a megabyte: drain_bytes_max,
    above which a client that has not authenticated yet loses its connection."""
    bodies = [("AcquireTemplateInformation", soap.acquire_template_information()),
              ("Certify", soap.certify()),
              ("AcquireIssuanceLicense", soap.acquire_issuance_license(size=200_000)),
              ("AcquireLicense", soap.acquire_license("big@lab.test", size=900_000))]
    for count in (1, 1, 1, 5, 40):
        users = [f"user{n}@lab.test" for n in range(count)]
        bodies.append(("AcquireLicense", soap.acquire_license(*users, seed=f"mail{count}")))
    cases = []
    for name, body in bodies:
        fields = {n.lower(): v for n, v in soap.soap_fields(name)}
        reply = standin_soap.answer(lab.env["CLOUD_URL"], services.BY_NAME[name].paths[0],
                                    fields, body)
        if reply.status != 200:
            raise ValueError(f"{name}: the stand-in would answer {reply.status}")
        cases.append(Case(name, body, sha(body), sha(reply.body)))
    return cases


class Honest(threading.Thread):
    """One of them, until stop is set; outcomes tells of all its requests."""

    def __init__(self, lab, cases, account, seed, stop):
        super().__init__(name=f"honest {account} {seed}")
        self.lab, self.cases, self.account, self.stop = lab, cases, account, stop
        self.random, self.outcomes = random.Random(seed), []
        self.server, self.served = None, 0

    def run(self):
        while not self.stop.is_set():
            if self.server is not None and self.random.random() < NEW_CONNECTION:
                self.drop()
            outcome = self.request(self.random.choice(self.cases))
            self.outcomes.append(outcome)
            if outcome.kind != "good":
                self.drop()
                self.stop.wait(0.05)  # as a caller that was told "later"
        self.drop()

    def drop(self):
        if self.server is not None:
            self.server.close()
            self.server = None

    def request(self, case):
        began = time.monotonic()
        try:
            if self.server is None:
                self.server = self.lab.server(self.account, tls=self.random.random() < 0.7)
                self.served = 0
            chunks = self.random.choice((1000, 50_000)) if self.random.random() < CHUNKED else None
            reply = self.server.call(case.name, case.body, chunks=chunks,
                                     eager=self.random.random() < 0.2)
        except (OSError, soap.BadReply) as error:
            age = f"its request {self.served + 1} on the connection"
            return Outcome(began, time.monotonic(), "lost",
                           f"{case.name} of {len(case.body)} bytes, {age}: {error!r}", "")
        kind, detail = self.judge(case, reply)
        self.served += 1
        return Outcome(began, time.monotonic(), kind, detail, reply.get("X-RMS-Request-Id") or "")

    @staticmethod
    def judge(case, reply):
        if reply.status == 200:
            if sha(reply.body) != case.wanted:
                return "wrong", f"another body for {case.name} ({len(reply.body)} bytes)"
            if reply.get("X-Standin-Body-SHA256") != case.sent:
                return "wrong", f"the cloud got another body of {case.name}"
            return "good", ""
        reason = REASON.search(reply.body)
        if reason:
            return "told", reason[1].decode()
        return "passed", str(reply.status)
