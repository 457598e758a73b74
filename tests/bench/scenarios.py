"""What is measured, with what load, beside whom, and what is demanded."""

from dataclasses import dataclass, field

OURS = "connector"
KB, MB = 1024, 1 << 20
LICENSING, CERTIFICATION = "/_wmcs/licensing", "/_wmcs/certification"
KERBEROS_EACH = 3000  # requests of a run in which each brings a token


@dataclass
class Target:
    """limit: of ours divided by the figure of the best of peers; without
    peers, of ours itself.  more: at least, not at most."""
    limit: float
    peers: tuple = ()
    more: bool = False

    def text(self):
        sign = ">=" if self.more else "<="
        if not self.peers:
            return f"{sign} {self.limit:g}"
        return f"{sign} {self.limit:g} x " + "|".join(self.peers)


@dataclass
class Scenario:
    """A load, and the figure that its cost is."""
    name: str
    title: str
    load: list  # arguments of load
    peers: tuple
    targets: list = field(default_factory=list)
    whose: str = "relay"  # or "all": with the keeper
    unit: str = "us"  # CPU microseconds a request; s/GiB of what is relayed
    ec: bool = False  # the P-256 listener, else the RSA one
    anonymous: bool = False  # no SPNEGO
    awake: bool = True  # the relay's CPU never goes idle: as if it had more to do
    digits: int = 1


def _closed(connections, path, request, reply):
    return ["-m", "loop", "-c", str(connections), "-p", path, "-b", str(request), "-x", str(reply)]


def _rate(rate, connections=64):
    return ["-m", "rate", "-R", str(rate), "-c", str(connections), "-b", "4096", "-x", "8192"]


USUAL = _closed(32, f"{LICENSING}/license.asmx", 4 * KB, 8 * KB)
CONNECTIONS = ["-m", "conn", "-c", "8"]
RELAYS = (OURS, "nginx", "haproxy", "floor")
PLAIN = ("nginx", "haproxy")

SCENARIOS = [
    Scenario("8k", "CPU us a request, 4 kB request, 8 kB reply", USUAL,
             (*RELAYS, "apache"), [Target(0.90, PLAIN), Target(1.10, ("floor",))]),
    Scenario("8k-idle", "CPU us a request, same, the relay's CPU going idle in between", USUAL,
             RELAYS, awake=False),
    Scenario("16k", "CPU us a request, 16 kB request, 16 kB reply",
             _closed(32, f"{LICENSING}/publish.asmx", 16 * KB, 16 * KB),
             RELAYS, [Target(0.90, ("haproxy",))]),
    Scenario("down", "CPU s a GiB, 1 MB replies",
             _closed(8, f"{LICENSING}/templateDistribution.asmx", 2 * KB, MB),
             RELAYS, [Target(0.95, PLAIN)], unit="s/GiB", digits=2),
    Scenario("up", "CPU s a GiB, 1 MB requests",
             _closed(8, f"{LICENSING}/editissuancelicense.asmx", MB, 8 * KB),
             RELAYS, [Target(0.95, PLAIN)], unit="s/GiB", digits=2),
    Scenario("kerberos", "CPU us a request, Kerberos on each",
             [*_closed(32, f"{CERTIFICATION}/certification.asmx", 4 * KB, 8 * KB), "-K",
              "-n", str(KERBEROS_EACH), "-t", str(KERBEROS_EACH + 1500)],
             (OURS, "apache"), [Target(0.45, ("apache",))], whose="all"),
    Scenario("tls-ec", "CPU us a TLS connection, P-256, full", CONNECTIONS,
             RELAYS, [Target(1.05, ("nginx",))], "all", ec=True, anonymous=True),
    Scenario("tls-rsa", "CPU us a TLS connection, RSA-2048, full", CONNECTIONS,
             RELAYS, [Target(1.05, ("nginx",))], "all", anonymous=True),
    Scenario("tls-ec-resumed", "CPU us a TLS connection, P-256, resumed", [*CONNECTIONS, "-r"],
             RELAYS, [Target(1.00, ("nginx",))], "all", ec=True, anonymous=True),
    Scenario("tls-rsa-resumed", "CPU us a TLS connection, RSA-2048, resumed",
             [*CONNECTIONS, "-r"],
             RELAYS, [Target(1.00, ("nginx",))], "all", anonymous=True),
    Scenario("connect", "CPU us a new connection + SPNEGO + request, RSA-2048",
             [*CONNECTIONS, "-q", "-t", "3000"],
             (OURS, "nginx", "apache"), [Target(0.80, ("apache",))], "all"),
    Scenario("500", "CPU us a request, at 500 requests/s", _rate(500),
             RELAYS, [Target(1.00, ("nginx",))], awake=False),
]
# The figures that are no CPU time of a load: see the functions of run.
OTHERS = {
    "one": "latency that one connection sees, over a direct call",
    "70": "latency at 70 % of capacity",
    "calls": "system calls a request (strace)",
    "instructions": "user-space instructions a request (valgrind)",
    "misses": "cache misses and mispredicted branches a request (valgrind's model)",
    "memory": "of a worker, and of idle TLS connections",
    "workers": "capacity of two workers over one",
    "table": "deciding about an account with 1,000 SIDs",
    "growth": "how cost grows: connections, entries, workers, log (not in the default)",
}
DEFAULT = [s.name for s in SCENARIOS] + [name for name in OTHERS if name != "growth"]
