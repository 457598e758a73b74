"""The life of a keytab: it changes under load, holds keys of many names,
versions and realms, and `rmsctl keytab` says what is in it and what is wrong."""

import os
import threading

import pytest

import kdc as kdc_module
import negotiate
import soap
from conftest import using
from procs import wait_until
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
    assert len([e for e in own.new("EVENT_LOG") if e["id"] == 3109]) == 1
    if how == "directory":
        os.rmdir(path)
    put(path, good)
    assert wait_until(lambda: not troubles(own, 3109), 10, 0.05)
