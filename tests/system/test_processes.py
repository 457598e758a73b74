"""The processes as an operator meets them: crashes, signals, reloads, a full
disk, another master; and what is in whose memory."""

import contextlib
import os
import pwd
import random
import re
import resource
import shutil
import signal
import ssl
import struct
import subprocess
import tempfile
import threading
import time

import pytest

import labctl
import pki
import process_peers
import sanitizers
import soap
from as_root import ROOT, needs_accounts, needs_root
from conftest import read_json_lines, using
from listener_peers import listener
from process_peers import Load
from procs import free_ports, run, wait_until
from relay_peers import NAME, ask, own_error, ticket

BODY = soap.acquire_license()
SANDBOX = os.environ.get("RMS_SANDBOX") != "off"  # off: a sanitizer's run
# Not for a package: sanitizers cannot run in the sandbox.
needs_sandbox = pytest.mark.skipif(not SANDBOX, reason="RMS_SANDBOX=off")
EXCH = "exch01$@LAB.TEST"


@pytest.fixture(scope="module")
def _two(module_lab):
    return module_lab(workers=2, conf='watchdog_ms = "1s"\nrespawn_max_ms = "400ms"')


@pytest.fixture
def two(_two):
    """A lab with two relays that tests may kill."""
    yield from using(_two)


_homes = {}  # of request ids: their first part is the process's own


def worker_of(lab, reply):
    """The number of the relay that made a reply."""
    home = reply.get("X-RMS-Request-Id").partition("-")[0]
    if home not in _homes:  # a look at the log takes a while
        _homes[home] = lab.access(reply)["worker"]
    return _homes[home]


def on_worker(lab, worker, **options):
    """An Exchange server's authenticated connection to this relay."""
    for _ in range(40):
        server = lab.server(**options)
        reply = server.call(NAME, BODY)
        assert reply.status == 200
        if worker_of(lab, reply) == worker:
            return server
        server.close()
    raise AssertionError(f"no connection came to relay {worker}")


def master(lab):
    return lab.process("rms-connectord")


# ---- at rest ---------------------------------------------------------------------

@pytest.mark.skipif(sanitizers.mode() is not None, reason="a sanitizer has a heap of its own")
def test_what_a_burst_needed_is_given_back(private_lab):
    """Some seconds later, with the clients still there; the connections to the
    cloud stay, too."""
    lab = private_lab(workers=1)

    def own():
        with open(f"/proc/{lab.pid('relay')}/smaps_rollup", encoding="ascii") as file:
            return int(re.search(r"Private_Dirty: +(\d+) kB", file.read())[1])

    with contextlib.ExitStack() as open_ones:
        servers = [open_ones.enter_context(lab.server()) for _ in range(48)]
        for server in servers:
            assert server.call(NAME, BODY).status == 200
        before = own()
        lab.cloud(rules=[{"op": "AcquireLicense", "delay_ms": 1500}])
        threads = [threading.Thread(target=server.call, args=(NAME, BODY)) for server in servers]
        for thread in threads:
            thread.start()
        most = 0
        while any(thread.is_alive() for thread in threads):
            most = max(most, own())
            time.sleep(0.05)
        assert most > before + 2000, f"{before} kB, then {most}"
        enough = before + (most - before) / 2
        assert wait_until(lambda: own() < enough, 20, 0.2), f"{before} kB, {most}, then {own()}"
        lab.cloud(rules=[])
        assert servers[0].call(NAME, BODY).status == 200


# ---- crashes --------------------------------------------------------------------

def test_killed_relay_costs_only_its_requests_in_flight(two):
    two.cloud(rules=[{"op": NAME, "delay_ms": 15}])
    counted = two.counters()["requests"]
    with Load(two, 8) as load:
        assert wait_until(lambda: len(load.done) > 40, 10)
        old = two.kill("relay", 0)
        killed = len(load.done)
        two.wait_replaced("relay", 0, old)
        assert wait_until(lambda: len(load.done) > killed + 80, 10)
    assert not load.wrong
    assert [status for _, status, _ in load.done if status != 200] == []
    # Whoever failed was a client of relay 0, once, and went on.
    lines = {l["request_id"]: l for l in two.new("ACCESS_LOG")}
    clients = [client for client, _, _ in load.failed]
    assert clients and len(set(clients)) == len(clients) < 8, load.failed
    for client, last, _ in load.failed:
        assert last not in lines or lines[last]["worker"] == 0
        after = [r for c, _, r in load.done if c == client]
        assert after.index(last) < len(after) - 1, f"client {client} got no further"
    # All the others kept the connection that they had.
    for client in set(range(8)) - set(clients):
        used = {lines[r]["worker"] for c, _, r in load.done if c == client and r in lines}
        assert used == {1}, f"client {client}: {used}"
    assert two.event(3101)["reason"].startswith("relay 0, ended by signal 9")
    # What it had counted is not lost (but for what it did after the last look).
    assert two.counters()["requests"] >= counted + len(load.done)


def test_listener_outlives_its_relay(private_lab):
    """A connection made while no relay runs waits for the next one."""
    lab = private_lab(workers=1)
    for _ in range(3):
        lab.kill("relay")
        with lab.client() as client:
            assert client.get("/healthz").status == 200
    with lab.server() as server:
        assert server.call(NAME, BODY).status == 200


def test_what_crashes_again_and_again_is_started_ever_later(two):
    with contextlib.closing(on_worker(two, 1)) as other:
        for _ in range(5):
            pid = two.kill("relay", 0)
            assert ask(other).status == 200
            two.wait_replaced("relay", 0, pid)
    times = {3101: [], 1101: []}
    for event in two.new("EVENT_LOG"):
        if event["id"] in times and event["reason"].startswith("relay 0"):
            times[event["id"]].append(float(event["time"].rpartition(":")[2][:-1]))
    pauses = [(b - a) % 60 for a, b in zip(times[3101], times[1101])]
    assert len(pauses) == 5 and max(pauses[2:]) > 0.15, pauses
    assert two.row("relay", 0)["last_end"].startswith("ended by signal 9")


def test_stuck_processes_are_replaced(two):
    """Each role stopped at the same time; sessions of the rest go on."""
    stuck = [("relay", 0), ("keeper", 0), ("cloud", 0)]
    two.expected.add(3102)
    with contextlib.closing(on_worker(two, 1)) as other:
        pids = {who: two.kill(*who, signal.SIGSTOP) for who in stuck}
        for who in stuck:
            two.wait_replaced(*who, pids[who])
            assert ask(other).status == 200
        for role, _ in stuck:
            assert wait_until(lambda: any(e["id"] == 3102 and e["reason"].startswith(role)
                                          for e in two.new("EVENT_LOG")), 3), role
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids.values())
    two.wait_ready()
    with two.server() as server:
        assert server.call(NAME, BODY).status == 200


def test_cloud_agent_killed(two):
    """The token that it fetched stays in use."""
    with two.server() as server:
        assert server.call(NAME, BODY).status == 200
        pid = two.kill("cloud")
        assert ask(server).status == 200
        two.wait_replaced("cloud", 0, pid)
        two.wait_ready()
        assert ask(server).status == 200
        two.cloud(expire_tokens=True)
        assert ask(server).status == 200


def children(lab):
    return [p["pid"] for p in lab.status()["processes"]]


def start_again(lab):
    lab.start_connector()
    assert wait_until(lambda: lab.rmsctl_json("status", check=False).get("ok"), 15, 0.01), \
        master(lab).tail(20)


def test_master_killed(private_lab):
    """Its children end; the next one finds everything as it was."""
    lab = private_lab(workers=2)
    lab.expected.add("death")
    lab.rmsctl("servers", "add", "--role", "fci", "--note", "to be kept", "later@LAB.TEST")
    before = lab.rmsctl_json("servers", "list"), lab.rmsctl_json("get")
    pids = children(lab)
    with Load(lab, 2):
        os.kill(master(lab).pid, signal.SIGKILL)
        assert wait_until(lambda: not any(os.path.exists(f"/proc/{p}") for p in pids), 10)
    start_again(lab)
    lab.wait_ready()
    after = lab.rmsctl_json("servers", "list"), lab.rmsctl_json("get")
    for servers in (before[0], after[0]):
        for server in servers["servers"]:
            server.pop("last_seen")
    assert after == before
    with lab.server() as server:  # on the same port
        assert server.call(NAME, BODY).status == 200


def test_store_is_intact_after_50_kills(private_lab):
    lab = private_lab(workers=1)
    lab.expected.add("death")
    acknowledged, refused, draw = [], [], random.Random(4711)
    for cycle in range(50):
        stop = threading.Event()

        def write(writer, cycle=cycle, stop=stop):
            number = 0
            while not stop.is_set():
                name = f"s{cycle}-{writer}-{number}@LAB.TEST"
                result = lab.rmsctl("servers", "add", "--role", "fci", name, check=False)
                (acknowledged if result.returncode == 0 else refused).append(name)
                if result.returncode != 0:
                    return
                number += 1
        begun = len(acknowledged)
        writers = [threading.Thread(target=write, args=(n,)) for n in range(2)]
        for writer in writers:
            writer.start()
        assert wait_until(lambda: len(acknowledged) > begun, 10, 0.001)
        time.sleep(draw.uniform(0, 0.012))  # anywhere within a change
        master(lab).popen.kill()
        master(lab).popen.wait()
        stop.set()
        for writer in writers:
            writer.join()
        start_again(lab)
    lab.wait_ready()
    there = [s["subject"] for s in lab.rmsctl_json("servers", "list")["servers"]]
    lost = set(acknowledged) - set(there)
    assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged changes are lost"
    assert len(acknowledged) >= 50 and len(there) == len(set(there))
    # What was under way may be there or not; nothing else is.
    known = {f"{a}@LAB.TEST" for a in ("exch01$", "sp01$", "fci01$")}
    assert set(there) - known - set(acknowledged) <= set(refused)
    assert EXCH in there
    with lab.server() as server:
        assert server.call(NAME, BODY).status == 200


# ---- reload -----------------------------------------------------------------------

def hup(lab, event=1100):
    """SIGHUP; the event that tells what came of it."""
    have = len(lab.new("EVENT_LOG"))
    os.kill(master(lab).pid, signal.SIGHUP)
    told = wait_until(lambda: next((e for e in lab.new("EVENT_LOG")[have:] if e["id"] == event),
                                   None), 5, 0.02)
    assert told, lab.new("EVENT_LOG")[have:]
    lab.wait_ready()
    return told


def test_hup_brings_new_limits_into_force(two):
    """Live: also for connections that are open."""
    fields = [(f"X-{n}", "v") for n in range(10)]
    with two.server() as server:
        assert server.call(NAME, BODY).status == 200
        two.edit(header_count_max="10", health_path='"/other"')
        try:
            hup(two)
            assert ask(server).status == 200
            assert server.get("/other").status == 200
            own_error(server.get("/healthz"), 404, "NOT_FOUND", fault=False)
            own_error(ask(server, *fields), 431, "HEAD_TOO_LARGE", fault=False)
        finally:
            two.edit(header_count_max=None, health_path=None)
            hup(two)
    with two.server() as server:
        assert server.call(NAME, BODY, fields=fields).status == 200


@pytest.mark.parametrize("line, words", [
    ("no_such_directive = 1", "no_such_directive"), ("head_bytes_max = 12", "head_bytes_max"),
    ('cloud_ca_file = "/nowhere"', "/nowhere"), ("workers = two", "workers"),
    ('keytab = "/nowhere/keytab"', "/nowhere/keytab")])
def test_hup_with_a_bad_file_changes_nothing(two, line, words):
    with open(two.env["CONNECTOR_CONF"], encoding="utf-8") as file:
        good = file.read()
    with two.server() as server:
        assert server.call(NAME, BODY).status == 200
        name = line.split()[0]
        text = re.sub(rf"(?m)^{name} = .*\n", "", good)
        count = text.count("\n")
        with open(two.env["CONNECTOR_CONF"], "w", encoding="utf-8") as file:
            file.write(text + 'health_path = "/other"\n' + line + "\n")
        try:
            told = hup(two, 2100)
            place = f"{two.env['CONNECTOR_CONF']}:{count + 2}: "
            assert place in told["reason"] and words in told["reason"], told
            assert told["level"] == "warning"
            result = two.rmsctl("reload", check=False)
            assert result.returncode != 0 and place in result.stdout + result.stderr
            assert ask(server).status == 200 and server.get("/healthz").status == 200
        finally:
            with open(two.env["CONNECTOR_CONF"], "w", encoding="utf-8") as file:
                file.write(good)
    hup(two)


def test_directive_that_needs_a_restart(two):
    two.edit(workers="3")
    hup(two)
    assert "workers" in two.event(2105)["reason"]
    assert two.status()["configuration"]["restart_needed"] == ["workers"]
    assert len([p for p in two.status()["processes"] if p["role"] == "relay"]) == 2
    two.edit(workers="2")
    hup(two)
    assert two.status()["configuration"]["restart_needed"] == []


def test_listeners_come_and_go(two):
    """The others and their connections do not notice."""
    good, [port] = conf_text(two), free_ports(1)
    section = f'listener more {{\n\taddress = "127.0.0.1"\n\tport = {port}\n}}\n'
    more = soap.Client(f"http://localhost:{port}")
    with two.server() as server:
        assert server.call(NAME, BODY).status == 200
        for text, there in ((good + section, True), (good, False)):
            with open(two.env["CONNECTOR_CONF"], "w", encoding="utf-8") as file:
                file.write(text)
            hup(two)
            if there:
                assert more.get("/healthz").status == 200
            else:
                with pytest.raises(soap.BadReply):  # nothing says any more what it may
                    more.get("/healthz")
                more.close()
                with pytest.raises(ConnectionRefusedError):
                    more.connect()
            assert ask(server).status == 200


def serial(client):
    return client.connect().sock.getpeercert()["serialNumber"]


def test_certificate_is_renewed_without_dropping_a_connection(two, tmp_path):
    tls, names = two.path("tls"), ["DNS:localhost", "DNS:connector.lab.test"]
    with Load(two, 4) as load, two.server() as server:
        assert server.call(NAME, BODY).status == 200
        old = serial(server)
        assert wait_until(lambda: len(load.done) > 20, 10)
        pki.make_certificate(tls, "connector", names, pki.EC)  # and of another kind
        hup(two)
        with two.server(bindings=True) as fresh:
            assert serial(fresh) != old
            assert fresh.call(NAME, BODY).status == 200
        assert ask(server).status == 200 and serial(server) == old
        # One whose key does not fit is refused; the good one stays.
        for kind in ("pem", "key"):
            shutil.copy(f"{tls}/connector.{kind}", tmp_path)
        pki.make_certificate(str(tls), "foreign", names, pki.EC)
        shutil.copy(f"{tls}/foreign.key", f"{tls}/connector.key")
        assert "key" in hup(two, 2100)["reason"]
        with two.server() as fresh:
            assert fresh.call(NAME, BODY).status == 200
        for kind in ("pem", "key"):
            shutil.copy(tmp_path / f"connector.{kind}", tls)
        hup(two)
        have = len(load.done)
        assert wait_until(lambda: len(load.done) > have + 20, 10)
    assert not load.failed and not load.wrong
    assert {status for _, status, _ in load.done} == {200}


def test_usr1_reopens_the_logs(two):
    with Load(two, 2) as load:
        assert wait_until(lambda: len(load.done) > 10, 10)
        names = {name: two.env[name] for name in ("ACCESS_LOG", "EVENT_LOG")}
        lines = {name: two.new(name) for name in names}
        for path in names.values():
            os.rename(path, path + ".1")
        os.kill(master(two).pid, signal.SIGUSR1)
        assert wait_until(lambda: all(os.path.exists(p) for p in names.values()), 5)
        assert wait_until(lambda: read_json_lines(names["ACCESS_LOG"]), 5)
        have = len(load.done)
        assert wait_until(lambda: len(load.done) > have + 20, 5)
    assert not load.failed
    wanted = {r for _, _, r in load.done}

    def logged():
        both = read_json_lines(names["ACCESS_LOG"] + ".1") + read_json_lines(names["ACCESS_LOG"])
        return wanted <= {l["request_id"] for l in both}
    assert wait_until(logged, 3, 0.05)
    assert {l["request_id"] for l in read_json_lines(names["ACCESS_LOG"])} & wanted
    size = os.path.getsize(names["ACCESS_LOG"] + ".1")
    two._marks = dict.fromkeys(two._marks, 0)  # pylint: disable=protected-access
    two.rmsctl("servers", "add", "--role", "fci", "new@LAB.TEST")
    two.rmsctl("servers", "remove", "new@LAB.TEST")
    assert two.event(1004) and lines["EVENT_LOG"] is not None
    assert os.path.getsize(names["ACCESS_LOG"] + ".1") == size


# ---- the end ------------------------------------------------------------------------

def under_way(lab, count=1, until=None, **rule):
    """Requests that the cloud has and answers late; [(thread, replies)].  With
    until, an event, the clients keep their connections up to then."""
    lab.cloud(rules=[dict(rule, op=NAME)])
    threads = []
    for _ in range(count):
        server, replies = lab.server(), []
        server.connect()

        def work(server=server, replies=replies):
            try:
                replies.append(server.call(NAME, BODY, eager=True))
            except (OSError, soap.BadReply) as error:
                replies.append(error)
            if until is not None:
                until.wait(30)
            server.close()
        threads.append((threading.Thread(target=work), replies))
        threads[-1][0].start()
    assert wait_until(lambda: lab.cloud()["total"] == count, 5)
    return threads


def ended(lab, seconds):
    """The exit status of the master, and how long it took."""
    start = time.monotonic()
    status = master(lab).popen.wait(seconds)
    return status, time.monotonic() - start


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT],
                         ids=["TERM", "INT", "QUIT"])
def test_what_is_under_way_is_finished(private_lab, number):
    quits = number == signal.SIGQUIT
    lab = private_lab(workers=2, conf=f'drain_ms = "{"100ms" if quits else "20s"}"')
    lab.expected.add("death")
    with lab.server() as idle, lab.client(tls=False) as fresh:
        assert idle.call(NAME, BODY).status == 200
        lab.cloud(reset=True)
        late = under_way(lab, 3, delay_ms=900)
        os.kill(master(lab).pid, number)
        assert idle.connect().at_end()
        with pytest.raises(OSError):  # no new ones
            assert wait_until(lambda: fresh.close() or not fresh.connect(), 3)
        status, seconds = ended(lab, 15)
        for thread, replies in late:
            thread.join(10)
            assert replies[0].status == 200 and replies[0].get("Connection") == "close"
    assert status == 0 and seconds < 5
    assert [e["id"] for e in lab.new("EVENT_LOG")][-1] == 1001


def test_reply_that_has_begun_is_finished_and_nothing_waits_for_its_client(private_lab):
    """Its connection could be kept: it is closed all the same."""
    lab = private_lab(workers=1, conf='drain_ms = "20s"')
    lab.expected.add("death")
    over = threading.Event()
    late = under_way(lab, 1, over, trickle={"bytes": 6000, "every_ms": 120})
    time.sleep(0.2)  # some of it is with the client
    os.kill(master(lab).pid, signal.SIGTERM)
    status, seconds = ended(lab, 25)
    over.set()
    late[0][0].join(10)
    assert late[0][1][0].status == 200 and status == 0 and seconds < 6


def test_drain_has_an_end(private_lab):
    lab = private_lab(workers=1, conf='drain_ms = "500ms"')
    lab.expected.add("death")
    late = under_way(lab, 1, delay_ms=30_000)
    os.kill(master(lab).pid, signal.SIGTERM)
    status, seconds = ended(lab, 15)
    late[0][0].join(10)
    assert isinstance(late[0][1][0], (OSError, soap.BadReply))
    assert status == 0 and 0.4 < seconds < 5


def test_second_term_does_not_wait(private_lab):
    lab = private_lab(workers=1, conf='drain_ms = "60s"')
    lab.expected.add("death")
    pids = children(lab)
    late = under_way(lab, 1, delay_ms=30_000)
    os.kill(master(lab).pid, signal.SIGTERM)
    assert wait_until(lambda: lab.rmsctl_json("status", check=False).get("state") == "draining", 5)
    os.kill(master(lab).pid, signal.SIGTERM)
    status, seconds = ended(lab, 10)
    late[0][0].join(10)
    assert status == 0 and seconds < 4
    assert not any(os.path.exists(f"/proc/{p}") for p in pids)


# ---- what keeps it from starting -------------------------------------------------------

def connectord(lab, text, *arguments):
    """Runs rms-connectord on a configuration; (exit status, what it wrote)."""
    path = lab.path("other.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    result = subprocess.run([os.path.join(lab.bin, "rms-connectord"), "-c", path, *arguments],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, timeout=20, check=False)
    return result.returncode, result.stdout


def conf_text(lab):
    with open(lab.env["CONNECTOR_CONF"], encoding="utf-8") as file:
        return file.read()


def test_second_master_on_the_same_store(two):
    free = free_ports(2)
    text = re.sub(r"port = \d+", lambda m: f"port = {free.pop()}", conf_text(two))
    text = text.replace(two.env["RMSCTL_SOCKET"], two.path("other.sock"))
    status, said = connectord(two, text)
    assert status == 69 and str(master(two).pid) in said and "store" in said, said
    with two.server() as server:
        assert server.call(NAME, BODY).status == 200


def test_store_of_a_newer_schema(private_lab):
    lab = private_lab(workers=1)
    lab.expected.add("death")
    master(lab).stop()
    store = lab.path("state/store")
    text = run(["mdb_dump", "-a", store])
    lines = text.splitlines(keepends=True)
    at = next(n for n, l in enumerate(lines) if l.strip().startswith(b"schema".hex()))
    value = lines[at + 1].strip()
    digits = list(value)
    digits[value.index("1")] = "7"
    lines[at + 1] = " " + "".join(digits) + "\n"
    os.unlink(store + "/data.mdb")
    run(["mdb_load", store], input="".join(lines).encode())
    with open(store + "/data.mdb", "rb") as file:
        before = file.read()
    status, said = connectord(lab, conf_text(lab))
    assert status == 65 and "newer version" in said and "schema" in said, said
    with open(store + "/data.mdb", "rb") as file:
        assert file.read() == before


BROKEN = {
    "unknown directive": (lambda t: t + "no_such = 1\n", "no_such"),
    "bad value": (lambda t: re.sub("workers = .*", "workers = many", t), "workers"),
    "out of bounds": (lambda t: re.sub("workers = .*", "workers = 1000", t), "workers"),
    "no certificate": (lambda t: t.replace("connector.pem", "nothing.pem"), "nothing.pem"),
    "no keytab": (lambda t: t.replace("service.keytab", "nothing.keytab"), "nothing.keytab"),
    "open keytab": (lambda t: t.replace("service.keytab", "open.keytab"), "open.keytab"),
    "unknown listener directive": (lambda t: t.replace("\ttls = true", "\ttls = true\n\tx = 1"),
                                   "x"),
    "port of no kind": (lambda t: re.sub(r"port = \d+", "port = 70000", t), "port"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_configuration_that_is_refused(two, name):
    change, words = BROKEN[name]
    shutil.copy(two.env["KEYTAB"], two.path("krb5/open.keytab"))
    os.chmod(two.path("krb5/open.keytab"), 0o644)
    for arguments in (["-t"], []):
        status, said = connectord(two, change(conf_text(two)), *arguments)
        assert status == 78, said
        assert re.search(re.escape(two.path("other.conf")) + r":\d+: ", said), said
        assert words in said
    status, said = connectord(two, conf_text(two), "-t")
    assert status == 0 and "good" in said


# ---- a full disk ---------------------------------------------------------------------------

@pytest.fixture
def small_disk(tmp_path):
    """A directory with room for half a megabyte."""
    where = str(tmp_path / "disk")
    os.mkdir(where, 0o700)
    run(["mount", "-t", "tmpfs", "-o", "size=512k,mode=700", "none", where])
    yield where
    subprocess.run(["umount", "-l", where], check=True)


def fill(where):
    """Leaves no room; what gives it back."""
    path = f"{where}/filler"
    with open(path, "wb", 0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return lambda: os.unlink(path)


def limit(lab, more=0):
    """The store's file may not grow, or by so many bytes; what lets it."""
    size = os.path.getsize(lab.env["STATE_DIR"] + "/store/data.mdb") + more
    pid = master(lab).pid
    old = resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    return lambda: resource.prlimit(pid, resource.RLIMIT_FSIZE, old)


# A write that took a part, to LMDB: a failing disk looks the same.
CUT = "Input/output error.*disk fails, or is full: look for room in"


@needs_root
def test_disk_is_full(private_lab, small_disk):
    store_cannot_grow(private_lab(workers=1, conf=f'state_dir = "{small_disk}/state"'),
                      lambda lab: fill(small_disk),
                      f"No space.*make room in|{CUT}")


@pytest.mark.parametrize("more", (0, 1000))
def test_file_may_not_grow(private_lab, more):
    """The same by the limit of a service manager, and without root: before a page or in it."""
    store_cannot_grow(private_lab(workers=1), lambda lab: limit(lab, more),
                      f"too large.*make room in|{CUT}")


def store_cannot_grow(lab, deny, words):
    subjects = lambda: [s["subject"] for s in lab.rmsctl_json("servers", "list")["servers"]]
    with lab.server() as server:
        assert server.call(NAME, BODY).status == 200
        allow, added = deny(lab), []
        for number in range(200):
            name = f"s{number}@LAB.TEST"
            result = lab.rmsctl("servers", "add", "--role", "fci", "--note", "x" * 200, name,
                                check=False)
            if result.returncode != 0:
                break
            added.append(name)
        said = result.stderr + result.stdout
        assert result.returncode != 0 and re.search(words, said), said
        assert re.search(words, lab.event(3104, level="error")["reason"])
        # Nothing was changed, in force or on disk, and sessions go on.
        assert set(subjects()[3:]) == set(added)
        assert ask(server).status == 200
        with lab.server("SHAREPOINT") as other:
            assert other.call(NAME, BODY).status == 200
        allow()
        lab.rmsctl("servers", "add", "--role", "fci", "after@LAB.TEST")
        assert set(subjects()[3:]) == set(added) | {"after@LAB.TEST"}
        assert ask(server).status == 200


@needs_root
def test_logs_on_a_full_disk(private_lab, small_disk):
    """Lines are lost, requests are not; and it is said."""
    lab = private_lab(workers=1, conf=f'access_log = "{small_disk}/access.log"')
    with lab.server() as server:
        assert server.call(NAME, BODY).status == 200
        fill(small_disk)
        for _ in range(30):
            assert ask(server).status == 200
        assert lab.event(3108, level="error")
        assert wait_until(lambda: lab.counters()["log_dropped"] > 0, 3)


# ---- the list of servers --------------------------------------------------------------------

def test_removed_server_is_refused_at_once_by_every_relay(two):
    account = "fci01$@LAB.TEST"
    servers = [on_worker(two, n, account="FCI") for n in (0, 1, 0, 1)]
    try:
        for _ in range(5):
            two.rmsctl("servers", "remove", account)
            for server in servers:
                own_error(ask(server), 403, "AUTH_DENIED")
            two.rmsctl("servers", "add", "--role", "fci", account)
            for server in servers:
                assert ask(server).status == 200
        assert two.event(2001, account=account)
        # Authorized anew, it is told anew.
        told = [e for e in two.new("EVENT_LOG") if e["id"] == 1002 and e["account"] == account]
        assert len(told) >= 2, two.new("EVENT_LOG")
        assert len(two.cloud()["violations"]) == 0
    finally:
        for server in servers:
            server.close()


def test_another_role_is_in_force_at_once(two):
    account = "fci01$@LAB.TEST"
    with two.server("FCI") as server:
        assert two.access(server.call(NAME, BODY))["role"] == "fci"
        two.rmsctl("servers", "remove", account)
        two.rmsctl("servers", "add", "--role", "sharepoint", account)
        assert two.access(ask(server))["role"] == "sharepoint"
        two.rmsctl("servers", "remove", account)
        two.rmsctl("servers", "add", "--role", "fci", account)


def test_empty_list(private_lab):
    lab = private_lab(servers=False, workers=1)
    assert wait_until(lambda: any(e["id"] == 2003 for e in read_json_lines(lab.env["EVENT_LOG"])),
                      3)
    with lab.server() as server:
        own_error(server.call(NAME, BODY), 403, "TABLE_EMPTY")
        lab.rmsctl("servers", "add", "--role", "exchange", EXCH)
        assert ask(server).status == 200
        result = lab.rmsctl("servers", "remove", EXCH, check=False)
        assert result.returncode != 0 and "force" in result.stderr + result.stdout
        assert ask(server).status == 200
        lab.rmsctl("servers", "remove", "--force", EXCH)
        own_error(ask(server), 403, "TABLE_EMPTY")
    assert lab.event(2003, level="warning")


# ---- TLS ------------------------------------------------------------------------------------

@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3],
                         ids=["TLS 1.2", "TLS 1.3"])
def test_session_resumes_in_any_relay(two, version):
    context = ssl.create_default_context(cafile=two.env["CONNECTOR_CA"])
    context.minimum_version = context.maximum_version = version

    def visit(session=None):
        """(worker, resumed, session) of one connection."""
        with two.client(context=context, session=session) as client:
            reply = client.get("/healthz")
            return worker_of(two, reply), client.sock.session_reused, client.sock.session
    worker, resumed, session = visit()
    assert not resumed and session is not None
    seen = set()
    for _ in range(40):
        before = session.id
        other, resumed, session = visit(session)
        assert resumed, f"a session of relay {worker} did not resume in relay {other}"
        # a client of TLS 1.3 uses a ticket once (RFC 8446 C.4): it needs the next one
        assert version == ssl.TLSVersion.TLSv1_2 or session.id != before
        seen.add((worker, other))
        worker = other
        if {(0, 1), (1, 0)} <= seen:
            break
    assert {(0, 1), (1, 0)} <= seen
    pid = two.kill("relay", 0)  # and in the one that takes its place
    two.wait_replaced("relay", 0, pid)
    for _ in range(40):
        other, resumed, session = visit(session)
        assert resumed
        if other == 0:
            break
    assert two.counters()["tls_resumed"] > 0


@pytest.mark.parametrize("flag", ["-tls1", "-tls1_1"])
def test_old_versions_of_tls(two, flag):
    result = subprocess.run(
        ["openssl", "s_client", flag, "-cipher", "ALL:@SECLEVEL=0", "-connect",
         f"127.0.0.1:{two.ports['https']}"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=10, check=False)
    assert result.returncode != 0 and "New, (NONE)" in result.stdout
    with two.client() as client:
        assert client.get("/healthz").status == 200


# ---- what each process has ---------------------------------------------------------------------

@needs_root
@needs_sandbox  # a sanitizer's maps have terabytes
def test_no_secret_is_in_a_relay(two):
    """A core of it: whatever of its memory can be read; and it has no
    environment."""
    with two.server() as server:  # everything was in use
        assert server.call(NAME, BODY).status == 200
        assert ask(server, ticket(two)).status == 200
    names = ["DNS:localhost", "DNS:connector.lab.test"]
    pki.make_certificate(two.path("tls"), "connector", names)
    pki.make_certificate(two.path("tls"), "curve", names, pki.EC)
    with listener(two, "curve", tls=True, certificate=two.path("tls/curve.pem"),
                  key=two.path("tls/curve.key")) as curve:
        for _ in range(8):
            with two.server() as server:
                assert server.call(NAME, BODY).status == 200
            with curve.client() as client:
                assert client.get("/healthz").status == 200
        search_for_secrets(two)


def search_for_secrets(two):
    with open(two.path("client.secret"), "rb") as file:
        secret = file.read()
    with open(two.path("sealing.key"), "rb") as file:
        sealing = file.read()
    keys = process_peers.keytab_keys(two.env["KEYTAB"])
    rsa = process_peers.rsa_secrets(two.path("tls/connector.key"))
    curve = process_peers.ec_secrets(two.path("tls/curve.key"))
    assert len(secret) >= 30 and len(keys) == 2 and len(rsa) == 12
    needles = {"client secret": secret, "sealing key": sealing, **keys, **rsa, **curve,
               "token": b"Authorization: Bearer "}
    relays = [two.pid("relay", n) for n in (0, 1)]
    for pid in relays:  # its token is there: so would the rest be
        assert process_peers.found(pid, needles) == {"token"}
        with open(f"/proc/{pid}/environ", "rb") as file:
            assert file.read() == b""
    # The search finds each of them where it belongs, and nowhere else.
    own = process_peers.found(two.pid("cloud"), needles)
    assert "client secret" in own, own
    assert not own & (set(keys) | set(rsa) | set(curve) | {"sealing key"}), own
    own = process_peers.found(two.pid("keeper"), needles)
    assert set(keys) <= own and own & set(rsa) and own & set(curve), own
    assert not own & {"client secret", "sealing key"}, own


def test_a_message_to_the_keeper_does_not_stop_the_relay(two):
    """On one CPU the keeper answers what has come when its turn comes."""
    assert os.sched_getscheduler(two.pid("keeper")) == os.SCHED_BATCH
    for slot in (0, 1):
        assert os.sched_getscheduler(two.pid("relay", slot)) == os.SCHED_OTHER


def test_keeper_keeps_a_policy_that_the_operator_gave(private_lab):
    """Where relays have a real-time policy, SCHED_BATCH waits until all sleep."""
    lab = private_lab(workers=1)
    try:
        os.sched_setscheduler(master(lab).pid, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        pytest.skip("needs the right to a real-time policy")
    keeper = lab.wait_replaced("keeper", 0, lab.kill("keeper"))
    assert os.sched_getscheduler(keeper) == os.SCHED_RR


def test_no_secret_is_on_a_command_line(two):
    with open(two.path("client.secret"), "rb") as file:
        secret = file.read()
    for pid in children(two) + [master(two).pid]:
        for name in ("cmdline", "environ"):
            try:
                with open(f"/proc/{pid}/{name}", "rb") as file:
                    assert secret not in file.read()
            except PermissionError:
                assert not ROOT


@needs_root
@needs_sandbox  # a sanitizer has its reports open
def test_a_relay_has_no_files(two):
    with two.server() as server:
        assert server.call(NAME, BODY).status == 200
    logs = {two.env["ACCESS_LOG"], two.env["CONNECTOR_LOG"], "/dev/null"}
    kernel = ("/proc/", "/sys/fs/cgroup/")  # how much memory there is: worker/relay/memory.c
    for slot in (0, 1):
        for number, what in process_peers.open_files(two.pid("relay", slot)).items():
            assert what in logs or what.startswith(
                ("socket:", "anon_inode:", "/memfd:", "pipe:", *kernel)), \
                f"descriptor {number} of relay {slot} is {what}"


@needs_sandbox
def test_children_are_shut_in(two):
    for row in two.status()["processes"]:
        status = process_peers.proc_status(row["pid"])
        assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "1", row
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0, row
        with open(f"/proc/{row['pid']}/limits", encoding="ascii") as file:
            core = next(l for l in file if l.startswith("Max core file size"))
        assert core.split()[4:6] == ["0", "0"], core


# Stands in the place of rms-relay: does what the file `orders` says, once, and
# otherwise becomes the real one.
ROGUE = """#!/usr/bin/python3
import os, socket, struct, sys, time
try:
    os.rename({orders!r}, {orders!r} + ".done")
    with open({orders!r} + ".done") as file:
        order = file.read()
except OSError:
    os.execv({real!r}, [{real!r}] + sys.argv[1:])
if order == "exit":
    sys.exit(3)
channel = socket.socket(fileno=3)
packet = bytes.fromhex(order)
channel.send(packet)
time.sleep(60)
"""

def message(name, body, length=None):
    """One of ipc_msgs.def as it goes over a channel (shm/ipc.h)."""
    with open(os.path.join(labctl.ROOT, "shm/ipc_msgs.def"), encoding="ascii") as file:
        names = re.findall(r"(?m)^IPC_MSG\((\w+)", file.read())
    return struct.pack("=IIQ", names.index(name), len(body) if length is None else length,
                       0) + body


LIES = {
    "nonsense": b"nonsense", "zeros": bytes(64), "long": bytes(30_000),
    "unknown type": struct.pack("=IIQ", 4711, 0, 0),
    "the master's word": message("DRAIN", bytes(8)),
    "the cloud agent's word": message("CLOUD_STATUS", bytes(100)),
    "shorter than it says": message("READY", bytes(8), 16),
    "longer than it may be": message("READY", bytes(9)),
    "without a descriptor": message("SEGMENT", bytes(8)),
    "body of another shape": message("SEEN", b"\xff" * 40),
}


@pytest.fixture(scope="module")
def _rogue(module_lab, tmp_path_factory):
    """A lab whose next relay can be given orders: (lab, orders)."""
    programs = tmp_path_factory.mktemp("programs")
    real = labctl.bin_dir()
    for name in ("rms-keeper", "rms-cloud", "rms-ntlm"):
        os.symlink(os.path.join(os.path.abspath(real), name), programs / name)
    rogue = programs / "rms-relay"
    rogue.write_text(ROGUE.format(orders=str(programs / "orders"),
                                  real=os.path.join(os.path.abspath(real), "rms-relay")))
    rogue.chmod(0o755)
    lab = module_lab(workers=2, conf=f'libexec_dir = "{programs}"\nwatchdog_ms = "1s"\n'
                     'respawn_max_ms = "100ms"')
    return lab, programs / "orders"


@pytest.fixture
def rogue(_rogue):
    for lab in using(_rogue[0]):
        yield lab, _rogue[1]


@pytest.mark.parametrize("what", LIES)
def test_liar_is_ended_and_its_receiver_lives(rogue, what):
    """What a relay has no right to say to its master."""
    lab, orders = rogue
    lab.expected |= {3101, 3103}
    with contextlib.closing(on_worker(lab, 1)) as other:
        orders.write_text(LIES[what].hex())
        pid = lab.kill("relay", 0)
        assert lab.event(3103, level="error", seconds=8)["reason"].startswith("relay 0")
        lab.wait_replaced("relay", 0, pid)
        assert ask(other).status == 200
    with contextlib.closing(on_worker(lab, 0)) as server:
        assert ask(server).status == 200
    assert not lab.dead()


def test_child_that_fails_at_its_start(rogue):
    lab, orders = rogue
    lab.expected.add(3101)
    with contextlib.closing(on_worker(lab, 1)) as other:
        orders.write_text("exit")
        pid = lab.kill("relay", 0)
        assert wait_until(lambda: any("exited with status 3" in e.get("reason", "")
                                      for e in lab.new("EVENT_LOG")), 5)
        lab.wait_replaced("relay", 0, pid)
        assert ask(other).status == 200


@needs_accounts
def test_workers_of_another_user(private_lab):
    uid = str(pwd.getpwnam("nobody").pw_uid)
    with tempfile.NamedTemporaryFile("w", prefix="krb5-", suffix=".conf") as config:
        config.write("[libdefaults]\n default_realm = LAB.TEST\n dns_lookup_kdc = false\n")
        config.flush()
        os.chmod(config.name, 0o644)  # the lab's own is closed to others
        lab = private_lab(workers=1, conf=f'user = "nobody"\nkrb5_config = "{config.name}"')
        _serves_as(lab, uid)


def _serves_as(lab, uid):
    for row in lab.status()["processes"]:
        status = process_peers.proc_status(row["pid"])
        assert status["Uid"].split() == [uid] * 4 and status["Groups"].strip() == "", row
    with lab.server() as server:
        assert server.call(NAME, BODY).status == 200
        pid = lab.kill("relay")
        lab.wait_replaced("relay", 0, pid)
    with lab.server() as server:
        assert server.call(NAME, BODY).status == 200


@needs_accounts
def test_everything_without_root():
    """The whole of `make run` as nobody."""
    where = tempfile.mkdtemp(prefix="rms-nobody-")
    try:
        shutil.chown(where, "nobody", "nogroup")
        result = subprocess.run(
            ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--",
             os.path.join(labctl.HERE, "run"), "--once", "--dir", where + "/lab"],
            env=dict(os.environ, HOME=where, BUILD=os.path.abspath(labctl.build_dir())),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
        assert result.returncode == 0, result.stdout[-3000:]
        assert "event 2001" in result.stdout
    finally:
        shutil.rmtree(where)
