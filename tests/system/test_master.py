"""The master as an operator meets it: what it says of its processes."""

import json
import os
import signal
import socket
import struct
import time


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
