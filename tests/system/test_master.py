"""The master as an operator meets it: what it says of its processes."""

import ctypes
import json
import os
import signal
import socket
import struct
import time

import pytest

import soap
from procs import wait_until


def refused(result):
    assert result.returncode != 0, result.stdout
    return result.stdout + result.stderr


# ---- reload --------------------------------------------------------------------

def test_reload_is_answered_when_it_is_in_force(private_lab):
    lab = private_lab(workers=2)
    for limit in (3, 5):
        lab.edit(auth_timeout_ms=f"{limit}s")
        lab.rmsctl("reload")
        assert not lab.not_ready()
        lab.event(1100, reason=f"set {lab.status()['configuration']['set']}")


def test_reload_does_not_wait_for_ever(private_lab):
    """A relay stands still: who reloads hears of it, and so does the log."""
    lab = private_lab(workers=2)
    pid = lab.kill("relay", 1, signal.SIGSTOP)
    try:
        began = time.monotonic()
        text = refused(lab.rmsctl("reload", check=False))
        took = time.monotonic() - began
    finally:
        os.kill(pid, signal.SIGCONT)
    assert "relay 1: has not said in time" in text and "not in every process" in text
    assert "relay 0" not in text
    assert 9 < took < 20
    assert "relay 1: has not said in time" in lab.event(2100)["reason"]
    lab.wait_ready()
    lab.rmsctl("reload")
    lab.event(1100)


def test_reload_does_not_hold_up_others(private_lab):
    """While one waits, the control socket serves, and so do the relays."""
    lab = private_lab(workers=1)
    pid = lab.kill("cloud", 0, signal.SIGSTOP)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as waiting:
            waiting.connect(lab.env["RMSCTL_SOCKET"])
            request = b"reload\0"
            waiting.sendall(struct.pack("<I", len(request)) + request)
            time.sleep(0.3)
            assert lab.status()["state"] == "running"
            with lab.client() as client:
                assert client.get("/healthz").status == 200
            os.kill(pid, signal.SIGCONT)
            length, = struct.unpack("<I", waiting.recv(4, socket.MSG_WAITALL))
            reply = json.loads(waiting.recv(length, socket.MSG_WAITALL))
    finally:
        os.kill(pid, signal.SIGCONT)
    assert reply["ok"] is True and reply["set"] == lab.status()["configuration"]["set"]


@pytest.mark.parametrize("name", ["event_log", "access_log"])
def test_log_that_keeps_no_lines_is_refused(private_lab, tmp_path, name):
    lab = private_lab(workers=1)
    os.mkfifo(tmp_path / "fifo")
    before = lab.env[{"event_log": "EVENT_LOG", "access_log": "ACCESS_LOG"}[name]]
    for bad in ("/dev/full", "/dev/null", str(tmp_path), str(tmp_path / "fifo")):
        lab.edit(**{name: f'"{bad}"'})
        text = refused(lab.rmsctl("reload", check=False))
        assert "rms-connector.conf:1: " in text and f"{name} = {bad}: " in text
        assert "name a regular file" in text
    with lab.client() as client:
        line = lab.access(client.get("/nowhere"))
    assert line["status"] == 404  # the old one stays
    lab.event(2100)
    assert problem(lab, 2100)["processes"] == ["master"]
    lab.edit(**{name: f'"{before}"'})
    lab.rmsctl("reload")
    assert problem(lab, 2100) is None


# ---- what is wrong -----------------------------------------------------------------

def problem(lab, number):
    return next((p for p in lab.status()["problems"] if p["event"] == number), None)


def test_status_knows_that_the_cloud_cannot_be_reached(private_lab):
    lab = private_lab(workers=2)
    assert lab.status()["problems"] == []
    assert "Nothing is wrong." in lab.rmsctl("status").stdout
    lab.cloud(listening={"soap": False})
    with lab.server() as server:
        assert server.call("AcquireLicense", soap.acquire_license()).status == 502
    assert wait_until(lambda: problem(lab, 3107), 3)
    shown = lab.rmsctl("status", check=False)
    assert shown.returncode == 4 and "Nothing is wrong" not in shown.stdout
    told = problem(lab, 3107)
    assert told["reason"] and told["first"] <= told["last"]
    assert f"Event 3107 of {told['processes'][0]}, " in shown.stdout
    assert told["reason"][:40] in shown.stdout
    assert problem(lab, 3000)["count"] == 1
    lab.cloud(listening={"soap": True})

    def is_back():  # the kernel chooses the relay: until it is the one that told
        with lab.server() as server:
            reply = server.call("AcquireLicense", soap.acquire_license())
        return reply.status == 200 and not problem(lab, 3107)
    assert wait_until(is_back, 10)


def test_status_knows_of_a_relay_that_died(private_lab):
    lab = private_lab(workers=2)
    pid = lab.kill("relay", 1)
    lab.wait_replaced("relay", 1, pid)
    told = problem(lab, 3101)
    assert (told["processes"], told["count"]) == (["relay 1"], 1)
    assert "signal 9" in told["reason"]
    lab.wait_ready()
    assert lab.rmsctl("status", check=False).returncode == 4


# ---- a relay that was taken over ----------------------------------------------------

def test_socket_that_a_relay_shut_down(private_lab):
    """Its successor listens all the same."""
    lab = private_lab(workers=1)
    pid = lab.pid("relay")
    listener = lab.url(tls=False).rsplit(":", 1)[1]
    pidfd = os.pidfd_open(pid)
    try:
        number = next(int(fd) for fd in os.listdir(f"/proc/{pid}/fd")
                      if is_listener(pid, int(fd), int(listener)))
        stolen = socket.socket(fileno=pidfd_getfd(pidfd, number))
        with stolen:
            stolen.shutdown(socket.SHUT_RDWR)
    finally:
        os.close(pidfd)
    lab.kill("relay")
    lab.wait_replaced("relay", 0, pid)
    with lab.client(tls=False) as client:
        assert client.get("/healthz").status == 200


def pidfd_getfd(pidfd, number):
    fd = ctypes.CDLL(None, use_errno=True).syscall(438, pidfd, number, 0)
    assert fd >= 0, os.strerror(ctypes.get_errno())
    return fd


def is_listener(pid, fd, port):
    try:
        link = os.readlink(f"/proc/{pid}/fd/{fd}")
    except OSError:
        return False
    with open(f"/proc/{pid}/net/tcp", encoding="ascii") as table:
        return any(f"socket:[{row.split()[9]}]" == link and row.split()[3] == "0A"
                   and int(row.split()[1].split(":")[1], 16) == port
                   for row in list(table)[1:])
