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

from labctl import build_dir

MODES = {
    "asan": {
        # A fault ends the process by a signal; a leak, found when it is over,
        # leaves its exit status as it is.
        "ASAN_OPTIONS": "abort_on_error=1:exitcode=0:detect_leaks=1:quarantine_size_mb=32:"
                        "detect_stack_use_after_return=1:verify_asan_link_order=0",  # libfaketime
        "UBSAN_OPTIONS": "print_stacktrace=1",
    },
    "tsan": {"TSAN_OPTIONS": "exitcode=98:second_deadlock_stack=1"},
}

# What is said and is no fault.
REMARKS = re.compile(
    # OpenSSL changes to the stack of a job (a handshake that waits for the
    # keeper) with longjmp(), and ASan leaves that stack alone.
    r"==(?:[\w-]+==)?\d+==WARNING: ASan is ignoring requested __asan_handle_no_return: .*\n"
    r"False positive error reports may follow\n"
    r"For details see .*/issues/189\n"
    # It was killed while it looked for leaks.
    r"|==(?:[\w-]+==)?\d+==Unable to get registers from thread \d+\.\n")
# Leaks of libraries: of gss-ntlmssp where an authentication fails, of Cyrus SASL
# where a directory is reached over TLS (its credential).  The program, and
# what such a report names; what a source of ours allocated itself is ours.
FOREIGN_LEAKS = {"rms-ntlm": "gssntlmssp.so", "rmsctl": "gss_acquire_cred_from"}
OURS = re.compile(r"#1 0x\w+ in \w+ (?:conf|master|shm|tools|worker)/")


def is_fault(path, text):
    """Does a file of reports tell of a fault of ours?"""
    text = REMARKS.sub("", text)
    for program, name in FOREIGN_LEAKS.items():
        if f".{program}." in os.path.basename(path) and name in text and \
                "LeakSanitizer" in text and not OURS.search(text):
            return False
    return bool(text.strip())


def mode():
    """"asan" or "tsan", or None for a build without."""
    name = os.path.basename(os.path.normpath(build_dir()))
    return name if name in MODES else None


class Reports:
    """The directory that all processes of this run report to."""

    def __init__(self):
        self.told, self.dir = set(), None

    def arm(self):
        """Before anything is started."""
        if mode() is None:
            return
        self.dir = tempfile.mkdtemp(prefix=f"rms-{mode()}-")
        os.chmod(self.dir, 0o1777)  # children of another user
        os.environ["RMS_SANDBOX"] = "off"
        for name, value in MODES[mode()].items():
            os.environ[name] = f"{value}:log_path={self.dir}/report:log_exe_name=1"

    def take(self):
        """The text of reports that were not taken before."""
        texts = []
        for path in sorted(set(glob.glob(f"{self.dir}/report.*")) - self.told if self.dir else ()):
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read()
            if is_fault(path, text):
                self.told.add(path)  # else: there may be more of it later
                texts.append(text)
        return "\n".join(texts)

    def disarm(self):
        """At the end; the directory stays when a report is in it."""
        if self.dir and not self.told:
            shutil.rmtree(self.dir)


reports = Reports()
