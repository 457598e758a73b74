"""Runs with a sanitizer in every program (make check-system MODE=asan|tsan).

The programs are told by the name of the build directory.  They run without
their sandbox, which is tested in release: a report needs to look at /proc and
to start the symbolizer, a search for leaks traces the process, and a report
that is cut short by the sandbox would tell nothing.

Each process writes its reports to a file of its own here, whatever becomes of
its standard error; one fails the test in which it was seen."""

import glob
import os
import re
import shutil
import tempfile

import pytest

from labctl import build_dir

MODES = {
    "asan": {
        # Exit statuses that no program of ours has.
        "ASAN_OPTIONS": "exitcode=97:detect_leaks=1:detect_stack_use_after_return=1:"
                        "quarantine_size_mb=32:verify_asan_link_order=0",  # libfaketime
        "UBSAN_OPTIONS": "print_stacktrace=1",
    },
    "tsan": {"TSAN_OPTIONS": "exitcode=98:second_deadlock_stack=1"},
}

# No fault: OpenSSL changes to the stack of a job (a handshake that waits for the
# keeper) with longjmp(), and ASan says that it leaves that stack alone.
NO_FAULT = re.compile(r"==\d+==WARNING: ASan is ignoring requested __asan_handle_no_return: .*\n"
                      r"False positive error reports may follow\n"
                      r"For details see .*/issues/189\n")


def mode():
    """"asan" or "tsan", or None for a build without."""
    name = os.path.basename(os.path.normpath(build_dir()))
    return name if name in MODES else None


def skipped(why, *modes):
    """A mark for a test that cannot be run under these sanitizers (all)."""
    return pytest.mark.skipif(mode() in (modes or MODES), reason=f"{mode()}: {why}")


class Reports:
    """The directory that all processes of this run report to."""

    def __init__(self):
        self.told, self.dir = set(), None

    def arm(self):
        """Before anything is started."""
        if mode() is None:
            return
        self.dir = tempfile.mkdtemp(prefix=f"rms-{mode()}-")
        os.environ["RMS_SANDBOX"] = "off"
        for name, value in MODES[mode()].items():
            os.environ[name] = f"{value}:log_path={self.dir}/report"

    def take(self):
        """The text of reports that were not taken before."""
        texts = []
        for path in sorted(set(glob.glob(f"{self.dir}/report.*")) - self.told if self.dir else ()):
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read()
            if NO_FAULT.sub("", text).strip():
                self.told.add(path)  # else: there may be more of it later
                texts.append(text)
        return "\n".join(texts)

    def disarm(self):
        """At the end; the directory stays when a report is in it."""
        if self.dir and not self.told:
            shutil.rmtree(self.dir)


reports = Reports()
