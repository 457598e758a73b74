"""Fixtures of the system tests: real processes, real Kerberos, real TLS.

lab           one lab for the whole session, its stand-in at rest before each
              test; a test must leave it as it found it
private_lab   function: private_lab(conf="…", workers=1, …) brings up a lab of
              the test's own (keywords of Lab.up), stopped at its end
module_lab    function for the fixtures of one module, as private_lab; each
              test uses what it made through using()
module_ad     function for the fixtures of one module: a Samba AD DC, as root
cloud_lab     a lab without connector: KDC, CA and stand-in

The clients of most tests connect directly, so these labs have connection_auth
on (a test need not send a ticket with each request); direct=False leaves the
connector as it is by default.

In a run with a sanitizer (sanitizers.py) a report of any process fails the test.

After each test every lab in use is looked at: a process that ended, events
that tell of a crash, or something that the stand-in objects to, fail the test
unless it said that it expects them (lab.expected)."""

import json
import os
import re
import signal
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
# pylint: disable=wrong-import-position
import ad
import soap
# pylint: disable-next=unused-import
from as_root import pytest_collection_modifyitems, pytest_configure, pytest_pyfunc_call
from labctl import Lab, build_dir
from procs import LabError, wait_until
from sanitizers import reports

# A shell ignores these for what it runs in the background, and whatever a test
# starts would inherit that: it could not be interrupted.
for number in (signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT
                      else signal.SIG_DFL)

reports.arm()

LOG_WAIT_S = 3
# Events that no test may cause unawares: a process ended, hung or lied.
CRASH_EVENTS = {3101, 3102, 3103}
SANITIZER = re.compile(r"ERROR: \w+Sanitizer|runtime error:|WARNING: ThreadSanitizer|BUG_ON|"
                       r"BUG at")


def read_json_lines(path, start=0, killed=False):
    """The whole lines of a log from a byte offset on.  Who was killed within a
    write may have left the start of one, on a line of its own."""
    try:
        with open(path, "rb") as file:
            file.seek(start)
            lines = [line for line in file if line.endswith(b"\n")]
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if not killed or line.endswith(b"}\n")]


def size_of(path):
    return os.path.getsize(path) if os.path.exists(path) else 0


def _no_report():
    before = reports.take()
    assert not before, "reported between tests:\n" + before
    yield
    text = reports.take()
    assert not text, text


# Also when labs of the session or of a module are stopped, which is when leaks
# are looked for.
@pytest.fixture(scope="session", autouse=True)
def _no_report_in_session():
    yield from _no_report()
    reports.disarm()


@pytest.fixture(scope="module", autouse=True)
def _no_report_in_module(_no_report_in_session):
    yield from _no_report()


@pytest.fixture(autouse=True)
def _no_report_in_test(_no_report_in_module):
    yield from _no_report()


class TestLab(Lab):
    """A lab with what tests ask of it.

    expected holds what a test announces: "death" (a process may end),
    "violations" (the stand-in may object), or numbers of CRASH_EVENTS."""

    __test__ = False

    def __init__(self, directory):
        super().__init__(directory)
        self.expected, self._marks = set(), {}

    # -- what is expected of it --

    def begin(self):
        """A test starts to use it."""
        self.expected, self._marks = set(), {
            name: size_of(self.env[name]) for name in ("ACCESS_LOG", "EVENT_LOG", "CLOUD_LOG",
                                                       "CONNECTOR_LOG")}
        self.cloud(clear=True, reset=True, listening={"soap": True, "token": True})

    def complaints(self):
        """What went wrong in it since begin(), as text."""
        out = []
        if "death" not in self.expected:
            out += [f"{name} ended unexpectedly:\n{self.process(name).tail(30)}"
                    for name in self.dead()]
        for event in self.new("EVENT_LOG"):
            if event["id"] in CRASH_EVENTS - self.expected:
                out.append(f"event {event}")
        with open(self.env["CONNECTOR_LOG"], "rb") as file:
            file.seek(self._marks.get("CONNECTOR_LOG", 0))
            text = file.read().decode(errors="replace")
        if SANITIZER.search(text):
            out.append("the connector's log tells of a fault:\n" + text[-6000:])
        if "violations" not in self.expected and "standin_cloud" not in self.dead():
            figures = self.cloud()
            if figures["violation_count"]:
                out.append(f"the stand-in objects: {figures['violations']}")
        return out

    # -- logs --

    def new(self, name):
        """Lines of a log (its name in the environment) since begin()."""
        return read_json_lines(self.env[name], self._marks.get(name, 0),
                               killed="death" in self.expected)

    def wait_line(self, name, matches, seconds=LOG_WAIT_S):
        """The first new line of a log that matches; fails when none comes."""
        line = wait_until(lambda: next((l for l in self.new(name) if matches(l)), None),
                          seconds, 0.02)
        if line is None:
            last = "\n".join(json.dumps(l) for l in self.new(name)[-10:])
            pytest.fail(f"no such line in {name}; the last ones are:\n{last}")
        return line

    def access(self, reply):
        """The access log's line for a reply."""
        wanted = reply.get("X-RMS-Request-Id")
        assert wanted, "the reply has no X-RMS-Request-Id"
        return self.wait_line("ACCESS_LOG", lambda l: l["request_id"] == wanted)

    def event(self, number, seconds=LOG_WAIT_S, **members):
        """The first new event with this number and these members."""
        return self.wait_line("EVENT_LOG", lambda e: e["id"] == number and all(
            e.get(k) == v for k, v in members.items()), seconds)

    # -- its processes --

    def status(self):
        return self.rmsctl_json("status")

    def counters(self):
        return self.status()["counters"]

    def row(self, role, slot=0):
        """What the master says of one process."""
        return next(p for p in self.status()["processes"]
                    if (p["role"], p["slot"]) == (role, slot))

    def pid(self, role, slot=0):
        return self.row(role, slot)["pid"]

    def wait_ready(self, seconds=15):
        """Waits until every process has the newest set and tokens are there."""
        if not wait_until(lambda: not self.not_ready(), seconds, 0.02):
            pytest.fail(f"the connector does not get ready: {self.not_ready()}")

    def wait_replaced(self, role, slot, pid, seconds=15):
        """Waits until another process has the place of pid and serves; its pid."""
        row = wait_until(lambda: (lambda r: r["ready"] and r["pid"] != pid and r)(
            self.row(role, slot)), seconds, 0.02)
        assert row, f"{role} {slot} was not replaced: {self.row(role, slot)}"
        return row["pid"]

    def kill(self, role, slot=0, number=signal.SIGKILL):
        """Sends a signal to a child; its pid.  A kill is expected from now on."""
        pid = self.pid(role, slot)
        if number == signal.SIGKILL:
            self.expected.add(3101)
        os.kill(pid, number)
        return pid

    def edit(self, **directives):
        """Puts directives (text as it stands in the file) into the
        configuration; None takes one out."""
        with open(self.env["CONNECTOR_CONF"], encoding="utf-8") as file:
            text = file.read()
        for name, value in directives.items():
            text = re.sub(rf"(?m)^{name} = .*\n", "", text)
            if value is not None:
                text = f"{name} = {value}\n" + text
        with open(self.env["CONNECTOR_CONF"], "w", encoding="utf-8") as file:
            file.write(text)

    def configure(self, **directives):
        """The same, and in force in every process."""
        self.edit(**directives)
        self.rmsctl("reload")
        self.wait_ready()

    # -- clients --

    def url(self, tls=True):
        return self.env["CONNECTOR_HTTPS" if tls else "CONNECTOR_HTTP"]

    def client(self, tls=True, **options):
        """A connection that does not authenticate."""
        return soap.Client(self.url(tls), ca=self.env["CONNECTOR_CA"], **options)

    def server(self, account="EXCHANGE", tls=True, **options):
        """A connection that authenticates as an account of the lab."""
        os.environ["KRB5_CONFIG"] = self.env["KRB5_CONFIG"]
        return soap.Server(self.url(tls), self.env["KRB5CCNAME_" + account],
                           ca=self.env["CONNECTOR_CA"], **options)


def make_lab(name, direct=True, **options):
    # One directory for each of pytest-xdist's processes, and of as_root.py's.
    lab = TestLab(os.path.join(build_dir(), "system", os.environ.get("PYTEST_XDIST_WORKER", ""),
                               os.environ.get("RMS_LABS", ""), name))
    if direct:
        options["conf"] = "connection_auth = true\n" + options.get("conf", "")
    try:
        lab.up(**options)
    except LabError as error:
        pytest.fail(str(error), pytrace=False)
    os.environ["KRB5_CONFIG"] = lab.env["KRB5_CONFIG"]
    return lab


def end_lab(lab):
    """Stops it; what did not go well."""
    found = lab.down()
    return [] if "death" in lab.expected else found


@pytest.fixture(scope="session")
def _session_lab():
    lab = make_lab("session")
    yield lab
    lab.expected = set()
    problems = end_lab(lab)
    assert not problems, "\n".join(problems)


@pytest.fixture
def lab(_session_lab):
    yield from using(_session_lab)


def using(lab):
    """For a fixture: `yield from using(lab)` watches over a lab during a test."""
    os.environ["KRB5_CONFIG"] = lab.env["KRB5_CONFIG"]
    lab.begin()
    yield lab
    problems = lab.complaints()
    assert not problems, "\n".join(problems)


@pytest.fixture(scope="module")
def module_lab(request):
    labs, name = [], request.module.__name__

    def make(**options):
        labs.append(make_lab(f"{name}.{len(labs)}", **options))
        return labs[-1]
    yield make
    problems = []
    for made in labs:
        made.expected = set()
        problems += end_lab(made)
    assert not problems, "\n".join(problems)


@pytest.fixture(scope="module")
def module_ad(request):
    """A function for the fixture of one module: an AD's DC that runs (keywords
    of Ad.up).  Where there can be none, for want of root or of Samba, the tests
    fail: who is let in by a group has no other test."""
    made = []

    def make(**options):
        why = ad.missing()
        assert not why, why
        made.append(ad.Ad(os.path.join(build_dir(), "system", f"{request.module.__name__}.ad")))
        return made[-1].up(**options)
    yield make
    problems = [p for a in made for p in a.down()]
    assert not problems, "\n".join(problems)


@pytest.fixture
def private_lab(request):
    labs, name = [], re.sub(r"\W+", "-", request.node.name)[:60]

    def make(**options):
        made = make_lab(f"{name}.{len(labs)}", **options)
        labs.append(made)
        made.begin()
        return made
    yield make
    problems = []
    for made in labs:
        try:
            problems += made.complaints()
        finally:
            problems += end_lab(made)
    assert not problems, "\n".join(problems)


@pytest.fixture(scope="session")
def _session_cloud():
    lab = make_lab("cloud", connector=False)
    open(lab.env["CONNECTOR_LOG"], "ab").close()
    yield lab
    problems = end_lab(lab)
    assert not problems, "\n".join(problems)


@pytest.fixture
def cloud_lab(_session_cloud):
    os.environ["KRB5_CONFIG"] = _session_cloud.env["KRB5_CONFIG"]
    _session_cloud.begin()
    _session_cloud.expected = {"violations"}
    yield _session_cloud
    _session_cloud.cloud(set={"scheme": "Bearer", "prefix": "/_wmcs", "expect_client": None,
                              "role_field": "", "expires_in": 3599, "refresh_in": None})
    problems = _session_cloud.complaints()
    assert not problems, "\n".join(problems)
