"""The life of a keytab: it changes under load, holds keys of many names,
versions and realms, and `rmsctl keytab` says what is in it and what is wrong."""

import json
import os
import threading

import pytest

import kdc as kdc_module
import keeper_peers
import negotiate
import soap
from conftest import using
from procs import free_ports, port_lock, wait_until
from relay_peers import NAME, ask, ticket

BODY = soap.acquire_license()
AES256 = "aes256-cts-hmac-sha1-96"
LOCALHOST = "HTTP/localhost@LAB.TEST"


@pytest.fixture(scope="module")
def _own(module_lab):
    return module_lab()


@pytest.fixture
def own(_own):
    yield from using(_own)


def put(path, data, mode=0o600):
    """The file anew, by a rename."""
    with open(path + ".new", "wb") as file:
        file.write(data)
    os.chmod(path + ".new", mode)
    os.rename(path + ".new", path)


def troubles(lab, number):
    return [p for p in lab.status()["problems"] if p["event"] == number]


def version(lab, principal=LOCALHOST):
    """The newest version of a key in the keytab in force."""
    lines = [p.split() for p in lab.status()["keeper"]["principals"]]
    return max(int(kvno) for name, kvno, _ in lines if name == principal)


def ktutil(path, commands):
    """Runs ktutil and writes what it has to path."""
    if os.path.exists(path + ".tool"):
        os.unlink(path + ".tool")
    text = "".join(line + "\n" for line in commands) + f"wkt {path}.tool\n"
    kdc_module.run(["ktutil"], input=text.encode(),
                   env=dict(os.environ, PATH=kdc_module.SBIN))
    with open(path + ".tool", "rb") as file:
        return file.read()


# ---- the file changes ---------------------------------------------------------


def fresh_ticket(lab, directory, name):
    """An Authorization field whose ticket the KDC has just made."""
    cache = f"{directory}/{name}"
    lab.kdc.kinit("exch01$", cache)
    os.environ["KRB5_CONFIG"] = lab.env["KRB5_CONFIG"]
    return ("Authorization", negotiate.header("localhost", "FILE:" + cache))


def test_no_request_fails_while_the_key_is_rotated(own, tmp_path):
    """The new key goes into the keytab beside the old one, then the KDC gets
    it.  Clients come with cached tickets and with new ones all the time."""
    stop, statuses, old = threading.Event(), [], version(own)

    def load(number):
        while not stop.is_set():
            with own.client() as client:
                field = fresh_ticket(own, tmp_path, f"cc{number}") if number else ticket(own)
                statuses.append(ask(client, field).status)

    threads = [threading.Thread(target=load, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    try:
        assert wait_until(lambda: len(statuses) > 10, 20)
        path = own.env["KEYTAB"]
        put(path, ktutil(path, [f"rkt {path}",
                                f"addent -password -p {LOCALHOST} -k {old + 1} -e {AES256}",
                                "the next password"]))
        told = own.event(1105, seconds=10)
        assert told["reason"] == f"new: {LOCALHOST} kvno {old + 1} {AES256}"
        own.kdc.admin(f"cpw -pw \"the next password\" {LOCALHOST}\n")
        before = len(statuses)
        assert wait_until(lambda: len(statuses) > before + 20, 20)
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
    assert set(statuses) == {200}, statuses
    assert version(own) == old + 1
    with own.server() as server:
        assert server.call(NAME, BODY).status == 200
    assert own.new("EVENT_LOG") and not troubles(own, 3109)


@pytest.mark.parametrize("how, words", [
    ("cut", "cut short"), ("empty", "not a keytab"), ("garbage", "not a keytab"),
    ("open", "chmod 600"), ("gone", "No such file"), ("directory", "not a regular file")])
def test_bad_file_leaves_the_last_good_keytab(own, how, words):
    path = own.env["KEYTAB"]
    with open(path, "rb") as file:
        good = file.read()
    os.unlink(path)
    if how == "directory":
        os.mkdir(path, 0o700)
    elif how != "gone":
        put(path, {"cut": good[:-5], "empty": b"", "garbage": b"x" * 99, "open": good}[how],
            0o640 if how == "open" else 0o600)
    told = own.event(3109, seconds=10)
    assert words in told["reason"] and path in told["reason"], told
    assert "the last good keytab stays in force" in told["reason"]
    [trouble] = troubles(own, 3109)
    assert trouble["processes"] == ["master"] and words in trouble["reason"]
    with own.client() as client:
        assert ask(client, ticket(own)).status == 200
    # Also in a keeper that starts now.
    pid = own.kill("keeper")
    own.wait_replaced("keeper", 0, pid)
    with own.client() as client:
        assert ask(client, ticket(own)).status == 200
    assert troubles(own, 3109)
    assert len([e for e in own.new("EVENT_LOG") if e["id"] == 3109]) == 1
    if how == "directory":
        os.rmdir(path)
    put(path, good)
    assert wait_until(lambda: not troubles(own, 3109), 10, 0.05)


def test_directive_that_is_taken_out(own):
    """What was wrong with its file is not wrong any more."""
    path = own.env["KEYTAB"]
    os.chmod(path, 0o644)
    own.event(3109, seconds=10)
    own.configure(keytab=None)
    assert wait_until(lambda: not troubles(own, 3109), 10, 0.05)
    assert "no keytab is set" in one(keytab(own, "--local", status=4)["problems"], "keytab")
    os.chmod(path, 0o600)
    own.configure(keytab=f'"{path}"')
    with own.client() as client:
        assert ask(client, ticket(own)).status == 200


# ---- rmsctl keytab --------------------------------------------------------------


def keytab(lab, *options, status=0, **env):
    """The JSON of `rmsctl keytab`, which must end with this status."""
    environment = {n: v for n, v in os.environ.items() if not n.startswith("KRB5")}
    environment["KRB5CCNAME"] = f"FILE:{lab.dir}/no.cache"
    result = lab.rmsctl("--json", "keytab", *options, check=False, env={**environment, **env})
    assert result.returncode == status, result.stdout + result.stderr
    return json.loads(result.stdout)


def entry(facts, principal, kvno):
    return next(e for e in facts["entries"]
                if (e["principal"], e["kvno"]) == (principal, kvno))


def test_a_good_keytab(own):
    with own.client() as client:
        assert ask(client, ticket(own)).status == 200
    facts = keytab(own)
    now = version(own)
    assert facts["problems"] == [] and facts["file"] == own.env["KEYTAB"]
    assert len(facts["entries"]) == facts["keeper_entries"]
    assert entry(facts, LOCALHOST, now)["enctype"] == 18
    # Without tickets of the caller a service of the keytab asks.
    [realm] = facts["realms"]
    assert realm["realm"] == "LAB.TEST" and realm["asked_as"].startswith("HTTP/")
    assert abs(realm["clock_ahead_ms"]) <= realm["clock_within_ms"] + 1
    assert {"principal": LOCALHOST, "kvno": now, "enctype": 18, "opens": True} in facts["issued"]
    assert sorted(facts["names"]) == ["connector.lab.test", "localhost"]
    # With tickets, these.
    [realm] = keytab(own, KRB5CCNAME=own.env["KRB5CCNAME_SHAREPOINT"])["realms"]
    assert realm["asked_as"] == "sp01$@LAB.TEST"
    assert keytab(own, "--local").get("realms") is None
    # Tickets that the KDC does not take (of a realm of the same name) are none.
    with port_lock():
        other = kdc_module.Kdc(own.dir + "/other", free_ports(1)[0])
        other.create(["sp01$"], ["host/other"])
        process = other.start()
    other.kinit("sp01$", own.dir + "/other/cc")
    process.stop()
    [realm] = keytab(own, KRB5CCNAME=f"FILE:{own.dir}/other/cc")["realms"]
    assert realm["asked_as"].startswith("HTTP/") and realm["error"] is None
    text = own.rmsctl("keytab").stdout
    assert "Nothing is wrong." in text and "issued" in text and "its clock is" in text, text


def test_tickets_are_counted_for_each_key(private_lab):
    """All that were let in since the start, each once."""
    own = private_lab()

    def uses():
        return keytab(own, "--local")["use"]

    def all_counted():
        return sum(u["tickets"] for u in uses()) == own.counters()["auth_ok"]

    now = version(own)
    with own.client() as client:
        for _ in range(5):
            assert ask(client, ticket(own)).status == 200
    assert wait_until(all_counted, 10, 0.1), (uses(), own.counters())
    assert {u["enctype"] for u in uses()} == {18}
    assert {(u["principal"], u["kvno"]) for u in uses()} <= {
        (e["principal"], e["kvno"]) for e in keytab(own)["entries"]}
    last = max(u["last"] for u in uses())
    # A keeper that ends takes nothing of it along.
    pid = own.kill("keeper")
    own.wait_replaced("keeper", 0, pid)
    with own.client() as client:
        assert ask(client, fresh_ticket(own, own.dir, "fresh")).status == 200
    assert wait_until(all_counted, 10, 0.1), (uses(), own.counters())
    [newest] = [u for u in uses() if u["principal"] == LOCALHOST and u["kvno"] == now]
    assert newest["last"] > last and newest["longest_life_s"] > 86400
    # Nor does a connector that is started again.
    before, since = uses(), keytab(own, "--local")["use_since"]
    own.process("rms-connectord").stop()
    own.start_connector()
    own.wait_ready()
    assert uses() == before and keytab(own, "--local")["use_since"] == since


def test_kdc_that_cannot_be_asked(own, tmp_path):
    """The local half works, says so, and nothing is wrong for that."""
    with open(own.env["KRB5_CONFIG"], encoding="ascii") as file:
        text = file.read()
    (tmp_path / "krb5.conf").write_text(
        text.replace(f"127.0.0.1:{own.ports['kdc']}", "127.0.0.1:9"))
    facts = keytab(own, KRB5_CONFIG=str(tmp_path / "krb5.conf"))
    assert facts["entries"] and not facts["problems"] and not facts["issued"]
    [note] = [n for n in facts["notes"] if n.startswith("not asked")]
    assert "LAB.TEST" in note and "KDC" in note


def with_keytab(lab, data):
    """This keytab comes into force."""
    told = lambda: len([e for e in lab.new("EVENT_LOG") if e["id"] == 1105])
    before = told()
    put(lab.env["KEYTAB"], data)
    assert wait_until(lambda: told() > before, 10, 0.05)


@pytest.fixture
def again(own):
    """Puts the keytab back."""
    with open(own.env["KEYTAB"], "rb") as file:
        data = file.read()
    yield data
    put(own.env["KEYTAB"], data)
    entries = len(keytab_entries(data))
    assert wait_until(lambda: own.status()["keeper"]["entries"] == entries, 10, 0.05)


def keytab_entries(data):
    """The records of a keytab, each with its length."""
    out, at = [], 2
    while at < len(data):
        size = int.from_bytes(data[at:at + 4], "big", signed=True)
        out.append(data[at:at + 4 + abs(size)])
        at += 4 + abs(size)
    return out


def one(lines, *words):
    found = [l for l in lines if all(w in l for w in words)]
    assert len(found) == 1, lines
    return found[0]


def test_rc4_only(own, again):
    rc4 = keeper_peers.keytab_bytes("LAB.TEST", [("HTTP/old.lab.test", 4, 23, os.urandom(16))])
    with_keytab(own, again + rc4[2:])
    line = one(keytab(own, "--local", status=4)["problems"], "RC4")
    assert "HTTP/old.lab.test@LAB.TEST" in line and "AES" in line
    status = own.rmsctl("status", check=False)
    assert status.returncode == 4 and "HTTP/old.lab.test@LAB.TEST" in status.stdout
    line = one(keytab(own, status=4)["problems"], "issues no ticket")
    assert "HTTP/old.lab.test@LAB.TEST" in line and "setspn" in line


def test_duplicates(own, again):
    record = keytab_entries(again)[0]
    with_keytab(own, again + record)
    assert "the same key" in one(keytab(own, "--local", status=4)["problems"], "twice")
    other = bytearray(record)
    other[-5] ^= 1  # of the key: a version of four bytes follows
    with_keytab(own, again + bytes(other))
    assert "different keys" in one(keytab(own, "--local", status=4)["problems"], "twice")


def test_no_key_for_a_name_of_the_certificate(own, again):
    rest = [e for e in keytab_entries(again) if b"connector.lab.test" not in e]
    with_keytab(own, again[:2] + b"".join(rest))
    line = one(keytab(own, "--local", status=4)["problems"], "HTTP/connector.lab.test")
    assert "cannot log on" in line
    host = keeper_peers.keytab_bytes("LAB.TEST", [("host/localhost", 1, 18, os.urandom(32))])
    with_keytab(own, host)
    assert one(keytab(own, "--local", status=4)["problems"], "any HTTP/<name>")


def test_key_that_the_kdc_has_changed(own):
    """Its newest version is not in the keytab; then it is, beside the old."""
    name = "HTTP/connector.lab.test"
    old = version(own, name + "@LAB.TEST")
    own.kdc.admin(f"cpw -randkey {name}\n")
    line = one(keytab(own, status=4)["problems"], name)
    assert f"kvno {old + 1}" in line and f"newest in the keytab is kvno {old}" in line
    own.kdc.admin(f"ktadd -norandkey -k {own.env['KEYTAB']} {name}\n")
    own.event(1105, seconds=10)
    facts = keytab(own)
    note = one(facts["notes"], f"old key: {name}@LAB.TEST kvno {old}")
    assert "keep it until it is unused for 1 d" in note or "for 7 d" in note, note


@pytest.mark.parametrize("offset, words", [
    ("-90s", ["behind", "at five minutes (or what krb5.conf sets"]), ("+6m", ["ahead of", "CLOCK_SKEW"])])
def test_clock_of_the_host_is_wrong(own, offset, words):
    facts = keytab(own, status=4, **keeper_peers.faketime_env(offset))
    line = one(facts["problems"], "clock")
    assert all(w in line for w in words), line
    [realm] = facts["realms"]
    seconds = {"-90s": 90, "+6m": -360}[offset]
    # As exact as it says, however busy the machine is.
    off = abs(realm["clock_ahead_ms"] - seconds * 1000)
    assert off <= realm["clock_within_ms"] + 5 and realm["clock_within_ms"] >= 1, realm
