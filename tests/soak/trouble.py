"""What happens to a connector in a year, in minutes.

Each trouble is a function; it returns once its consequences are over, and says
beforehand which outcomes it excuses, in requests that were under way between
its beginning and its end."""

import contextlib
import os
import random
import signal
import socket
import threading
import time

import soap
from procs import wait_until

WAIT_S = 60
# The connector's own reasons for what the cloud does to it.
CLOUD = {"CLOUD_CONNECT", "CLOUD_CONNECT_SLOW", "CLOUD_TLS", "CLOUD_IO", "CLOUD_CLOSED",
         "CLOUD_BAD_REPLY", "CLOUD_SLOW", "CLOUD_SLOW_BODY", "CLOUD_WAIT", "CLOUD_DOWN"}
TROUBLES = []


def trouble(*excuses):
    def note(run):
        TROUBLES.append((run.__name__, run, frozenset(excuses)))
        return run
    return note


class NotOver(Exception):
    """A trouble whose consequences do not end."""


def until(lab, what, condition):
    if not wait_until(condition, WAIT_S, 0.05):
        raise NotOver(f"{what}: {lab.status()['problems']}")


def well(lab):
    """Every worker serves again, over connections of its own."""
    def one():
        try:
            with lab.server() as server:
                return server.call("AcquireLicense", soap.acquire_license()).status == 200
        except (OSError, soap.BadReply):
            return False
    until(lab, "not ready", lambda: not lab.not_ready())
    until(lab, "no service", lambda: all(one() for _ in range(8)))


@trouble()
def reload(lab, _chance):
    lab.edit(cloud_via=f'"soak-{time.monotonic_ns() % 1000}"')
    lab.rmsctl("reload")


@trouble()
def list_of_servers(lab, _chance):
    for number in range(20):
        lab.rmsctl("servers", "add", "--role", "fci", "--name", f"srv{number}",
                   f"srv{number}$@LAB.TEST")
    for number in range(20):
        lab.rmsctl("servers", "remove", f"srv{number}$@LAB.TEST")


@trouble()
def logs_turned(lab, _chance):
    """As logrotate does."""
    log = lab.env["ACCESS_LOG"]
    os.rename(log, f"{log}.{time.monotonic_ns()}")
    os.kill(int(lab.env["CONNECTOR_PID"]), signal.SIGUSR1)
    until(lab, "no new access log", lambda: os.path.exists(log))


@trouble("lost")
def relay_killed(lab, _chance):
    """The second one: the first is looked at for leaks."""
    lab.wait_replaced("relay", 1, lab.kill("relay", 1))
    well(lab)


# A handshake or a token that it had in hands.
@trouble("lost", "AUTH_DOWN", "AUTH_BUSY", "AUTH_TIMEOUT", "AUTH_FAILED")
def keeper_killed(lab, _chance):
    lab.wait_replaced("keeper", 0, lab.kill("keeper"))
    well(lab)


@trouble()
def cloud_agent_killed(lab, _chance):
    lab.wait_replaced("cloud", 0, lab.kill("cloud"))
    well(lab)


@trouble("CLOUD_UNAUTHORIZED", "NO_TOKEN")
def tokens_revoked(lab, _chance):
    lab.cloud(expire_tokens=True)
    well(lab)


@trouble("lost", "passed", *CLOUD)
def cloud_faults(lab, chance):
    """The kinds that a network and an overloaded service have.  One that cuts
    a reply off is a lost one for the client: what came is not made whole."""
    kinds = [{"status": 503, "retry_after": 1}, {"status": 500}, {"fault": "Soak"},
             {"drop": "before"}, {"drop": "head"}, {"drop": "middle"}, {"truncate": 100},
             {"delay_ms": 300}, {"trickle": {"bytes": 4000, "every_ms": 20}},
             {"chunked": True, "until_close": False}, {"stall": "head"}]
    rules = [dict(chance.choice(kinds), times=3) for _ in range(8)]
    lab.cloud(rules=rules)
    wait_until(lambda: not lab.cloud()["rules"], 5, 0.1)
    lab.cloud(clear=True)
    well(lab)


@trouble("lost", "passed", *CLOUD)
def cloud_away(lab, _chance):
    lab.cloud(listening={"soap": False})
    time.sleep(0.5)  # for which it is away
    lab.cloud(listening={"soap": True})
    well(lab)


@trouble("lost", *CLOUD)
def cloud_connections_cut(lab, _chance):
    lab.cloud(drop_connections=True)
    well(lab)


class Slow(threading.Thread):
    """Connections that hold on, come and go, or talk nonsense, all the time."""

    def __init__(self, lab, seed, stop, count=100):
        super().__init__(name="slow")
        self.lab, self.stop, self.count = lab, stop, count
        self.random, self.opened = random.Random(seed), 0

    def run(self):
        socks = []
        while not self.stop.wait(0.02):
            with contextlib.suppress(OSError):
                tls = self.random.random() < 0.3
                sock = socket.create_connection(
                    ("127.0.0.1", self.lab.ports["https" if tls else "http"]), 5)
                sock.setblocking(False)
                socks.append(sock)
                self.opened += 1
                sock.send(self.random.choice((
                    b"", b"\x16\x03\x01\x02", b"POST /_wmcs/", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                    b"\0\1\2\3\r\n\r\n", b"GET /a b c\r\n\r\n",
                    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx")))
            if socks:
                with contextlib.suppress(OSError):
                    self.random.choice(socks).send(b"x")
            while len(socks) > self.count:
                socks.pop(self.random.randrange(len(socks))).close()
        for sock in socks:
            sock.close()
