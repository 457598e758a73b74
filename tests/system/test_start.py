"""What the master finds when it starts, and what it says when that is not
what it left: a key that is missing, a store that was cut to nothing."""

import os
import pty
import re
import subprocess

import pytest

from labctl import CLIENT_ID
from procs import wait_until


def start(lab, *arguments):
    """rms-connectord on the lab's own configuration; (status, what it wrote)."""
    result = subprocess.run(
        [os.path.join(lab.bin, "rms-connectord"), "-c", lab.env["CONNECTOR_CONF"], *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=20, check=False)
    return result.returncode, result.stdout


def on_a_terminal(command):
    """What a program writes to a terminal."""
    master, slave = pty.openpty()
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        said = b""
        while True:
            try:
                data = os.read(master, 4096)
            except OSError:  # EIO: nobody has it open
                break
            if not data:
                break
            said += data
        process.wait(20)
    os.close(master)
    return process.returncode, said.decode().replace("\r\n", "\n")


@pytest.fixture
def stopped(private_lab):
    """A lab whose master has stopped, with a credential in its store."""
    lab = private_lab(workers=1)
    lab.expected.add("death")
    lab.process("rms-connectord").stop()
    return lab


def test_missing_sealing_key(stopped):
    key = stopped.path("sealing.key")
    with open(key, "rb") as file:
        saved = file.read()
    os.unlink(key)
    for _ in range(2):
        status, said = start(stopped)
        assert status == 78 and key in said and "missing" in said and "backup" in said, said
        assert "--forget-credentials" in said, said
        assert not os.path.exists(key)
    handle = os.open(key, os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(handle, saved)
    os.close(handle)
    stopped.start_connector()
    assert wait_until(lambda: not stopped.not_ready(), 20), stopped.not_ready()


def test_lost_sealing_key(stopped):
    os.unlink(stopped.path("sealing.key"))
    status, said = start(stopped, "--forget-credentials")
    assert status == 0 and "1 credential" in said and "credentials add" in said, said
    stopped.start_connector()
    assert wait_until(lambda: stopped.rmsctl_json("status", check=False).get("ok"), 15)
    assert stopped.rmsctl_json("credentials", "list")["credentials"] == []
    assert len(stopped.rmsctl_json("servers", "list")["servers"]) == 3
    stopped.rmsctl("credentials", "add", "default", "--client-id", CLIENT_ID, "--secret-file",
                   stopped.path("client.secret"))
    assert wait_until(lambda: not stopped.not_ready(), 20), stopped.not_ready()


@pytest.mark.parametrize("how", ["empty", "missing", "garbage"])
def test_store_that_was_lost(stopped, how):
    data = stopped.path("state/store/data.mdb")
    if how == "missing":
        os.unlink(data)
    else:
        with open(data, "wb") as file:
            file.write(b"no database at all\n" * 4000 if how == "garbage" else b"")
    before = os.path.exists(data) and os.stat(data).st_size
    for _ in range(2):
        status, said = start(stopped)
        assert status == 65 and "restore" in said and "remove" in said, said
        assert stopped.path("state/store") in said, said
        assert (os.path.exists(data) and os.stat(data).st_size) == before
    assert not any(e["id"] == 2003 for e in stopped.new("EVENT_LOG"))


def test_errors_of_a_configuration_read_well(stopped):
    conf = stopped.path("wrong.conf")
    with open(stopped.env["CONNECTOR_CONF"], encoding="utf-8") as file:
        text = file.read()
    with open(conf, "w", encoding="utf-8") as file:
        file.write(text + "no_such = 1\n")
    daemon = os.path.join(stopped.bin, "rms-connectord")
    line = re.compile(re.escape(conf) + r":\d+: .*no_such")
    # Plain where it only checks: for people, editors and scripts.
    status, said = start(stopped, "-c", conf, "-t")
    assert status == 78 and all(line.match(l) for l in said.splitlines()), said
    status, said = on_a_terminal([daemon, "-c", conf, "-t"])
    assert status == 78 and all(line.match(l) for l in said.splitlines()), said
    # A start logs: with a priority for the journal, with a word for people.
    status, said = start(stopped, "-c", conf)
    assert status == 78 and re.match(r"<3>master: " + line.pattern, said), said
    status, said = on_a_terminal([daemon, "-c", conf])
    assert status == 78 and re.match(r"rms-connectord: error: " + line.pattern, said), said
