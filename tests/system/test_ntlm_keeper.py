"""The keeper between relays and NTLM processes: what is handed on, what is
bounded, and that Kerberos never waits for NTLM.

The driver plays the relays; the NTLM processes are real ones, or where one has
to misbehave the driver."""

import hashlib
import os
import signal
import time

import pytest

import keeper_peers as k
import ntlm
import sanitizers

BUILD = os.environ.get("BUILD", "build/debug")
ACCOUNT, PASSWORD = "CONTOSO\\exch01$", "Geheim-1"
WRAPPED = pytest.mark.parametrize("spnego", [False, True], ids=["raw", "spnego"])
KERBEROS, NTLM = 1, 2  # enum auth_mech
OPEN_SLOT_MAX, OPEN_MAX = 1024, 4096  # worker/keeper/ntlm.h
# Of 4,096 handshakes of 10 kB, and slack; ASan surrounds each piece, TSan notes
# who touched every word of it.
GROWTH_KB = {"asan": 256_000, "tsan": 2_000_000}.get(sanitizers.mode(), 64_000)


@pytest.fixture(scope="module")
def kdc(tmp_path_factory):
    it = k.Kdc(tmp_path_factory.mktemp("kdc"))
    it.use()
    yield it
    it.stop()


@pytest.fixture
def start(kdc, tmp_path):
    """start(processes=2, **settings): a keeper with NTLM processes."""
    keepers = []

    def go(processes=2, **settings):
        users = tmp_path / "users"
        users.write_text(f"CONTOSO:exch01$:{PASSWORD}\n")
        keeper = k.Keeper(BUILD, str(tmp_path / "log"))
        keepers.append(keeper)
        keeper.say("set krb5_config", kdc.config)
        for name, value in {"ntlm": "true", **settings}.items():
            keeper.say("set", name, value)
        keeper.say("keytab", kdc.keytab("good"))
        keeper.say("users", users)
        keeper.say("start")
        for slot in range(4):
            keeper.say("peer", slot)
        keeper.say("apply")
        keeper.wait("ready")
        keeper.pids = [begin(keeper, slot) for slot in range(processes)]
        return keeper

    yield go
    for keeper in keepers:
        for pid in getattr(keeper, "pids", []):
            wake(pid)
        keeper.stop()
        with open(keeper.log, encoding="utf-8", errors="replace") as file:
            text = file.read()
        assert "Sanitizer" not in text and "BUG" not in text, text


def begin(keeper, slot):
    keeper.say("ntlm", slot)
    pid = keeper.wait("ntlm-start")["pid"]
    assert keeper.wait("ntlm", slot=slot)["type"] == "READY"
    return pid


def wake(pid):
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        pass


def log_on(keeper, spnego=False, password=PASSWORD, bindings=None, slot=0, **options):
    """All legs of a handshake; the last answer."""
    one, number, challenge = ntlm.Ntlm(ACCOUNT, password, spnego=spnego, bindings=bindings), \
        keeper.new_id(), None
    for leg in range(3):
        answer = keeper.step(one.token(challenge), slot=slot, number=number, first=leg == 0,
                             **options)
        if answer["outcome"] != "continue":
            return answer
        challenge = bytes.fromhex(answer["token"])
    raise AssertionError(answer)


def let_in(answer):
    assert answer["outcome"] == "ok", answer
    assert (answer["principal"], answer["mech"], answer["nsids"]) == (ACCOUNT, "ntlm", 0)
    assert answer["spn"] == "HTTP/localhost"
    assert time.time() < answer["expires"] <= time.time() + 3600
    return answer


def kerberos_goes_on(keeper):
    assert keeper.step(k.token(), deadline=5000)["outcome"] == "ok"


def refused(answer, cause):
    assert (answer["outcome"], answer["cause"]) == ("failed", cause), answer


def comes_to(keeper, name, value):
    """A gauge follows the answer; and relays take turns, so another's answer
    says nothing."""
    end = time.monotonic() + k.WAIT_S
    while keeper.stats()[name] != value:
        assert time.monotonic() < end, keeper.stats()
        time.sleep(0.01)


def busy(answer, cause="ntlm-busy"):
    assert (answer["outcome"], answer["cause"]) == ("busy", cause), answer


FIRST = ntlm.SIGNATURE + b"\1\0\0\0\x07\x82\x08\xa2" + bytes(24)


# --- handed on --------------------------------------------------------------


@WRAPPED
def test_both_legs(start, spnego):
    keeper = start()
    for _ in range(6):  # by turns of both processes
        let_in(log_on(keeper, spnego))
    kerberos_goes_on(keeper)


def test_many_handshakes_at_once_each_in_its_process(start):
    keeper = start()
    ones = {keeper.new_id(): ntlm.Ntlm(ACCOUNT, PASSWORD) for _ in range(40)}
    second = {}
    for number, one in ones.items():
        answer = keeper.step(one.token(), number=number)
        second[number] = one.token(bytes.fromhex(answer["token"]))
    comes_to(keeper, "ntlm_open", 40)
    for number in reversed(second):
        let_in(keeper.step(second[number], number=number, first=False))
    comes_to(keeper, "ntlm_open", 0)


@WRAPPED
def test_bindings(start, spnego):
    """The client's is found among ours; none is fine unless it is demanded."""
    keeper = start(1)
    data = [b"tls-server-end-point:" + hashlib.sha256(bytes([i])).digest() for i in range(3)]
    client = lambda i: ntlm.gssapi.raw.ChannelBindings(application_data=data[i])
    own = {"binding": data[0], "further": data[1:]}
    answer = let_in(log_on(keeper, spnego, bindings=client(0), must_bind=True, **own))
    assert answer["bound"] and not answer["bound_before"]
    answer = let_in(log_on(keeper, spnego, bindings=client(2), must_bind=True, **own))
    assert answer["bound"] and answer["bound_before"]
    assert not let_in(log_on(keeper, spnego, **own))["bound"]
    refused(log_on(keeper, spnego, must_bind=True, **own), "not-bound")
    refused(log_on(keeper, spnego, bindings=client(1), binding=data[0]), "bad-binding")
    # over plain HTTP there is nothing to be bound to
    assert not let_in(log_on(keeper, spnego, bindings=client(1)))["bound"]


def test_off(start):
    keeper = start(0, ntlm="false")
    refused(keeper.step(FIRST), "ntlm")


def test_through_an_intermediary(start):
    keeper = start(1)
    keeper.say("via 1")
    refused(keeper.step(FIRST), "ntlm-proxy")
    kerberos_goes_on(keeper)
    keeper.say("via 0")
    one, number = ntlm.Ntlm(ACCOUNT, PASSWORD), keeper.new_id()
    answer = keeper.step(one.token(), number=number)
    second = one.token(bytes.fromhex(answer["token"]))
    keeper.say("via 1")
    refused(keeper.step(second, number=number, first=False), "ntlm-proxy")
    keeper.say("via 0")
    busy(keeper.step(second, number=number, first=False), "timeout")


def test_legs_of_another_exchange_or_relay(start):
    keeper = start(1)
    one, number = ntlm.Ntlm(ACCOUNT, PASSWORD), keeper.new_id()
    answer = keeper.step(one.token(), number=number)
    second = one.token(bytes.fromhex(answer["token"]))
    busy(keeper.step(second, slot=1, number=number, first=False), "timeout")
    busy(keeper.step(second, number=keeper.new_id(), first=False), "timeout")
    # an answer as the first message, and to another challenge
    refused(keeper.step(second), "malformed")
    answer = keeper.step(FIRST)
    refused(keeper.step(second, number=answer["id"], first=False), "logon")
    let_in(keeper.step(second, number=number, first=False))


def test_kerberos_in_the_middle_of_ntlm(start):
    """An exchange that was NTLM's stays so."""
    keeper = start(1)
    answer = keeper.step(FIRST)
    refused(keeper.step(k.token(), number=answer["id"], first=False), "malformed")
    answer = keeper.step(k.spnego_init([k.OID_NTLM], FIRST))
    refused(keeper.step(k.spnego_answer(b"x"), number=answer["id"], first=False), "malformed")


# --- bounds -------------------------------------------------------------------


def rss_kb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(l.split()[1]) for l in file if l.startswith("VmRSS"))


def test_ten_thousand_half_open_handshakes(start):
    """From four relays: each has its bound and all together theirs; Kerberos
    goes on; memory stays; when their time is over all is as before."""
    # All are begun within the time that each has.
    keeper = start(2, keeper_queue_max=100000,
                   auth_timeout_ms=18000 if sanitizers.mode() == "tsan" else 6000)
    let_in(log_on(keeper))
    pids = [keeper.stats()["pid"], *keeper.pids]
    before = [rss_kb(p) for p in pids]
    per_relay, outcomes = 2500, []
    for slot in range(4):
        keeper.say("flood", slot, 10**6, per_relay, FIRST.hex())
        answers = [keeper.wait("auth", slot=slot) for _ in range(per_relay)]
        outcomes.append([a["outcome"] for a in answers])
        kerberos_goes_on(keeper)
    for some in outcomes:
        assert some.count("continue") == OPEN_SLOT_MAX
        assert some.count("busy") == per_relay - OPEN_SLOT_MAX
    comes_to(keeper, "ntlm_open", OPEN_MAX)
    busy(keeper.step(FIRST, slot=3), "half-done")
    grown = [rss_kb(p) - b for p, b in zip(pids, before)]
    assert sum(grown) < GROWTH_KB, grown
    comes_to(keeper, "ntlm_open", 0)
    let_in(log_on(keeper))


def test_a_relay_that_goes_takes_its_handshakes_along(start):
    keeper = start(1)
    for slot in (0, 1):
        keeper.say("flood", slot, 10**6, 300, FIRST.hex())
        for _ in range(300):
            keeper.wait("auth", slot=slot)
    comes_to(keeper, "ntlm_open", 600)
    keeper.say("part 1")
    comes_to(keeper, "ntlm_open", 300)
    let_in(log_on(keeper))


def test_processes_that_hang(start):
    """As in a winbind that never answers: Kerberos goes on, the queue is
    bounded, deadlines are answered, and afterwards all is as before."""
    keeper = start(2, keeper_queue_max=50, auth_timeout_ms=6000)
    let_in(log_on(keeper))
    for pid in keeper.pids:
        os.kill(pid, signal.SIGSTOP)
    numbers = [keeper.new_id() for _ in range(2)]
    for number in numbers:  # one under way in each
        send(keeper, FIRST, deadline=6000, number=number)
    comes_to(keeper, "ntlm_open", 2)
    count = 40
    keeper.say("flood", 1, 10**6, count, FIRST.hex())
    kerberos_goes_on(keeper)
    comes_to(keeper, "ntlm_queue", count)
    keeper.say("flood", 2, 10**6, count, FIRST.hex())
    answers = [keeper.wait("auth", slot=s)
               for s, n in ((1, 15), (2, 15)) for _ in range(n)]  # the longest line gives way
    assert {a["cause"] for a in answers} == {"ntlm-busy"}
    kerberos_goes_on(keeper)
    comes_to(keeper, "ntlm_queue", 50)
    for number in numbers:
        busy(keeper.wait("auth", slot=0, id=number), "ntlm-timeout")
    answers = [keeper.wait("auth", slot=s) for s in (1, 2) for _ in range(25)]
    assert {a["cause"] for a in answers} == {"ntlm-timeout"}
    for name, value in (("ntlm_queue", 0), ("ntlm_open", 0), ("ntlm_late", 52)):
        comes_to(keeper, name, value)
    kerberos_goes_on(keeper)
    busy(keeper.step(FIRST, deadline=200), "ntlm-timeout")
    for pid in keeper.pids:
        os.kill(pid, signal.SIGCONT)
    for _ in range(4):
        let_in(log_on(keeper))


# --- processes that go, or lie ---------------------------------------------------


def test_without_a_process(start):
    keeper = start(0)
    busy(keeper.step(FIRST))
    kerberos_goes_on(keeper)
    keeper.pids.append(begin(keeper, 0))
    let_in(log_on(keeper))


def test_a_crash_costs_only_its_handshakes(start):
    keeper = start(2)
    ones = {keeper.new_id(): ntlm.Ntlm(ACCOUNT, PASSWORD) for _ in range(10)}
    second = {}
    for number, one in ones.items():
        answer = keeper.step(one.token(), number=number)
        second[number] = one.token(bytes.fromhex(answer["token"]))
    os.kill(keeper.pids[0], signal.SIGKILL)
    assert keeper.wait("ntlm-end", slot=0)["status"] == -signal.SIGKILL
    outcomes = []
    for number, data in second.items():
        answer = keeper.step(data, number=number, first=False)
        outcomes.append((answer["outcome"], answer["cause"]))
    assert sorted(set(outcomes)) == [("busy", "timeout"), ("ok", "none")]
    let_in(log_on(keeper))
    keeper.pids[0] = begin(keeper, 0)
    for _ in range(4):
        let_in(log_on(keeper))


def send(keeper, data, deadline=5000, slot=0, number=None, first=True):
    number = number or keeper.new_id()
    keeper.say("step", slot, number, int(first), deadline, 0, 0, "-", data.hex())
    return number


def test_a_step_is_never_given_out_twice(start):
    """Else a wrong password would count twice."""
    keeper = start(0)
    keeper.say("fake 0")
    number = send(keeper, FIRST)
    keeper.wait("fake-step", slot=0)
    keeper.say("fake 1")
    keeper.say("fake 0")  # the process is replaced with a step under way
    busy(keeper.wait("auth", id=number))
    later = send(keeper, FIRST)
    steps = [keeper.wait("fake-step")]
    keeper.say("answer", steps[0]["slot"], steps[0]["number"], NTLM, "D\\u")
    assert keeper.wait("auth", id=later)["outcome"] == "ok"
    assert not [l for l in keeper.unread if l["what"] == "fake-step"]


def test_who_is_not_waited_for_any_more(start):
    """A late answer is nobody's, and its process goes on; so with a client that
    went away."""
    keeper = start(0)
    keeper.say("fake 0")
    number = send(keeper, FIRST, deadline=300)
    step = keeper.wait("fake-step")
    busy(keeper.wait("auth", id=number), "ntlm-timeout")
    assert keeper.wait("fake-abort")["number"] == step["number"]
    waiting = send(keeper, FIRST)
    keeper.say("answer", 0, step["number"], NTLM, "D\\late")
    step = keeper.wait("fake-step")
    keeper.say("abort", 0, waiting)
    assert keeper.wait("fake-abort")["number"] == step["number"]
    last = send(keeper, FIRST)
    keeper.say("answer", 0, step["number"], NTLM, "D\\gone")
    step = keeper.wait("fake-step")
    keeper.say("answer", 0, step["number"], NTLM, "D\\u")
    assert keeper.wait("auth", id=last)["principal"] == "D\\u"
    assert not [l for l in keeper.unread if l["what"] == "auth"]


def test_an_exchange_that_does_not_end(start):
    keeper = start(0)
    keeper.say("fake 0")
    number = send(keeper, FIRST)
    for _ in range(4):
        step = keeper.wait("fake-step")
        keeper.say("answer", 0, step["number"], 0, "-")
        assert keeper.wait("auth", id=number)["outcome"] == "continue"
        send(keeper, FIRST, number=number, first=False)
    refused(keeper.wait("auth", id=number), "malformed")
    assert keeper.wait("fake-abort")["number"] == step["number"]


def test_two_legs_at_once(start):
    """A client sends one after the other; a relay that does not is no reason to
    lose count."""
    keeper = start(0)
    keeper.say("fake 0")
    number = send(keeper, FIRST)
    step = keeper.wait("fake-step")
    send(keeper, FIRST, number=number, first=False)
    refused(keeper.wait("auth", id=number), "malformed")
    keeper.say("answer", 0, step["number"], NTLM, "D\\u")
    kerberos_goes_on(keeper)
    comes_to(keeper, "ntlm_open", 0)


@pytest.mark.parametrize("mech, name, wrong_number", [
    (KERBEROS, "EXCH01$@CONTOSO.TEST", 0), (NTLM, "no-domain", 0), (NTLM, "D\\u", 1)],
    ids=["kerberos", "no domain", "another number"])
def test_a_liar_is_accused(start, mech, name, wrong_number):
    """A process that was taken over cannot make itself somebody by Kerberos."""
    keeper = start(0)
    keeper.say("fake 0")
    number = send(keeper, FIRST)
    step = keeper.wait("fake-step")
    keeper.say("answer", 0, step["number"] + wrong_number, mech, name)
    accused = keeper.wait("accuse")
    assert (accused["role"], accused["slot"]) == ("ntlm", 0)
    busy(keeper.wait("auth", id=number))
    keeper.wait("fake-end")
    kerberos_goes_on(keeper)
    keeper.pids.append(begin(keeper, 1))
    let_in(log_on(keeper))
