"""Processes of a lab: started in sessions of their own, known by pid and
start time, stopped by exactly that."""

import fcntl
import itertools
import os
import random
import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager


class LabError(Exception):
    """Says what went wrong to the person at the terminal."""


class Interrupts:
    """Ctrl-C, TERM and HUP, noted instead of acted upon where it matters, so
    that none falls between the start of a process and the note of its pid."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self):
        self._number, self._depth, self._ignored = 0, 0, 0
        self._old = {}

    def _note(self, number, _frame):
        self._number = number

    @contextmanager
    def noted(self):
        """Within, only check() (and wait_until, which calls it) acts."""
        if self._depth == 0 and threading.current_thread() is threading.main_thread():
            self._old = {n: signal.signal(n, self._note) for n in self.SIGNALS}
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                for number, handler in self._old.items():
                    signal.signal(number, handler)
                self._old = {}

    @contextmanager
    def ignored(self):
        """Within, they are forgotten: for stopping everything."""
        with self.noted():
            self._ignored += 1
            try:
                yield
            finally:
                self._ignored -= 1
                self._number = 0

    def take(self):
        """The exception that stands for a signal that came, or None."""
        if not self._number or self._ignored:
            return None
        number, self._number = self._number, 0
        return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)

    def check(self):
        error = self.take()
        if error is not None:
            raise error


interrupts = Interrupts()


def _stat(pid):
    """The fields of /proc/PID/stat after the name; None when it is gone or
    only waits to be reaped."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            rest = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if rest[0] in "ZX" else rest


def start_time(pid):
    """Start of a live process in clock ticks since boot, or None."""
    rest = _stat(pid)
    return int(rest[19]) if rest else None


class Process:
    """One process of the lab; to_json() and from_json() carry it from `lab up`
    to `lab down`."""

    def __init__(self, name, pid, started, log):
        self.name, self.pid, self.started, self.log = name, pid, started, log
        self.popen = None

    @classmethod
    def start(cls, name, argv, log, env):
        with open(log, "ab") as out:
            popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                     env=env, start_new_session=True)
        process = cls(name, popen.pid, start_time(popen.pid), log)
        process.popen = popen
        return process

    def to_json(self):
        return {"name": self.name, "pid": self.pid, "started": self.started, "log": self.log}

    @classmethod
    def from_json(cls, value):
        return cls(value["name"], value["pid"], value["started"], value["log"])

    def is_alive(self):
        if self.popen is not None:  # our own child, which this reaps
            return self.popen.poll() is None
        return self.started is not None and start_time(self.pid) == self.started

    def signal(self, number):
        if self.is_alive():
            os.kill(self.pid, number)

    def stop(self, seconds=15):
        """Ends it: TERM, and KILL after that time.  True if TERM was enough."""
        self.signal(signal.SIGTERM)
        if wait_until(lambda: not self.is_alive(), seconds):
            return True
        self.signal(signal.SIGKILL)
        wait_until(lambda: not self.is_alive(), 5)
        return False

    def tail(self, lines=15):
        """The last lines that it wrote."""
        try:
            with open(self.log, encoding="utf-8", errors="replace") as file:
                return "".join(f"    {line.rstrip()}\n" for line in file.readlines()[-lines:])
        except FileNotFoundError:
            return ""


def stop_orphans(processes):
    """Ends what stopped processes of the lab left behind: the others of their
    sessions (each was the leader of its own).  Their pids."""
    leaders = {p.pid: p.started for p in processes if not p.is_alive()}
    found = []
    for entry in os.listdir("/proc"):
        rest = _stat(entry) if entry.isdigit() else None
        if rest is None:
            continue
        pid, session, started = int(entry), int(rest[3]), int(rest[19])
        # A number is not used again for a process while a session has it; a
        # live leader that started at another time is somebody else's.
        if leaders.get(session) is not None and pid != session and \
                start_time(session) is None and started >= leaders[session]:
            found.append(Process("orphan", pid, started, "/dev/null"))
    for process in found:
        process.stop(2)
    return [p.pid for p in found]


def wait_until(condition, seconds, pause=0.01):
    """Polls until condition() is true; its value, or the last false one."""
    end = time.monotonic() + seconds
    while True:
        interrupts.check()
        value = condition()
        if value or time.monotonic() > end:
            return value
        time.sleep(pause)


def _user():
    """Who this is outside of a user namespace, as SO_REUSEPORT has it."""
    own = os.getuid()
    with open("/proc/self/uid_map", encoding="ascii") as file:
        for first, outside, count in (map(int, line.split()) for line in file):
            if first <= own < first + count:
                return outside + own - first
    return own


@contextmanager
def port_lock():
    """Held from choosing ports until they listen, so that two labs of one
    user never choose the same (SO_REUSEPORT would let both have it)."""
    path = f"/tmp/rms-lab-ports.{_user()}.lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _port_range():
    """Ports that the kernel gives to no connection by itself: one of those may
    be somebody's source before its owner listens."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        low, high = map(int, file.read().split())
    return max(range(10000, low), range(high + 1, 65536), key=len) or range(10000, 65536)


def _is_free(address, port):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        try:
            tcp.bind((address, port))
            udp.bind((address, port))
        except OSError:
            return False
    return True


def free_ports(count, address="127.0.0.1"):
    """Ports that nobody has now, for TCP and for UDP."""
    known = _port_range()
    # not random's own state, which a test may have set
    order = random.SystemRandom().sample(known, min(len(known), 1000))
    ports = list(itertools.islice((p for p in order if _is_free(address, p)), count))
    if len(ports) < count:
        raise LabError("no port is free")
    return ports


def run(argv, **options):
    """A command that must succeed; LabError with what it wrote."""
    try:
        result = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                check=False, timeout=60, **options)
    except FileNotFoundError as error:
        raise LabError(f"{argv[0]}: not installed (make deps installs what is needed)") from error
    text = result.stdout.decode(errors="replace")
    if result.returncode != 0:
        raise LabError(f"{' '.join(map(str, argv[:4]))} … ended with status "
                       f"{result.returncode}:\n{text.rstrip()}")
    return text
