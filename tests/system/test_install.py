"""What `make install` puts where works from there."""

import os
import subprocess

import pytest

from labctl import build_dir
from procs import Process, wait_until

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
MODES = ("release", "debug", "asan", "tsan", "cov")


@pytest.fixture
def installed(tmp_path):
    """The directory that the programs were installed under, as /opt/rms."""
    build = os.path.relpath(build_dir(), TOP)  # as make names it: no rebuild
    mode = os.path.basename(build)
    options = [f"MODE={mode}"] if mode in MODES else []
    subprocess.run(["make", "-s", "install", f"BUILD={build}", *options,
                    f"DESTDIR={tmp_path}", "PREFIX=/opt/rms"], cwd=TOP,
                   stdout=subprocess.DEVNULL, timeout=300, check=True)
    return str(tmp_path / "opt/rms")


def test_installed_tree(installed, private_lab):
    lab = private_lab(workers=1)
    lab.expected.add("death")
    lab.process("rms-connectord").stop()
    daemon, conf = os.path.join(installed, "sbin/rms-connectord"), lab.env["CONNECTOR_CONF"]
    check = subprocess.run([daemon, "-c", conf, "-t"], stdout=subprocess.PIPE, text=True,
                           timeout=20, check=True)
    assert "good" in check.stdout
    master = Process.start("installed", [daemon, "-c", conf], lab.path("log/installed.log"),
                           dict(os.environ))
    try:
        assert wait_until(lambda: lab.rmsctl_json("status", check=False).get("ok") and
                          not lab.not_ready(), 20), master.tail()
        status = subprocess.run([os.path.join(installed, "sbin/rmsctl"), "-s",
                                 lab.env["RMSCTL_SOCKET"], "status"], timeout=20,
                                stdout=subprocess.DEVNULL, check=True)
        assert status.returncode == 0
        for process in lab.rmsctl_json("status")["processes"]:
            exe = os.readlink(f"/proc/{process['pid']}/exe")
            assert exe.startswith(os.path.join(installed, "libexec/rms-connector/")), exe
    finally:
        assert master.stop()


def test_installed_documents(installed):
    for page in ("man5/rms-connector.conf.5", "man8/rms-connectord.8", "man8/rmsctl.8"):
        with open(os.path.join(installed, "share/man", page), encoding="utf-8") as file:
            assert ".Sh NAME" in file.read()
    sample = os.path.join(installed, "share/doc/rms-connector/rms-connector.conf.sample")
    told = subprocess.run([os.path.join(installed, "sbin/rms-connectord"), "--print-sample"],
                          stdout=subprocess.PIPE, text=True, timeout=20, check=True)
    with open(sample, encoding="utf-8") as file:
        assert file.read() == told.stdout
