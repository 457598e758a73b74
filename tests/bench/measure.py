"""What processes and the machine have used, read from /proc."""

import os
import re
import time

from procs import interrupts

TICK = 1.0 / os.sysconf("SC_CLK_TCK")


def read(path):
    """A file's text; "" when it is not there (any more)."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _fields(pid):
    """The fields of /proc/PID/stat after the name."""
    return read(f"/proc/{pid}/stat").rpartition(")")[2].split()


def command(pid):
    return read(f"/proc/{pid}/comm").strip()


def descendants(roots):
    """The live processes among roots, and all that come from them."""
    children = {}
    for entry in os.listdir("/proc"):
        fields = _fields(entry) if entry.isdigit() else []
        if fields:
            children.setdefault(int(fields[1]), []).append(int(entry))
    found, todo = [], [pid for pid in roots if _fields(pid)]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def cpu_s(pids):
    """Seconds that the threads of these processes have run, by the
    scheduler's own clock (nanoseconds)."""
    total = 0
    for pid in pids:
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        for thread in threads:
            fields = read(f"/proc/{pid}/task/{thread}/schedstat").split()
            total += int(fields[0]) if fields else 0
    return total / 1e9


def memory_kb(pid):
    """(resident, proportional) kilobytes of a process."""
    text = read(f"/proc/{pid}/smaps_rollup")
    values = dict(re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE))
    return int(values.get("Rss", 0)), int(values.get("Pss", 0))


def machine_s():
    """Seconds that all CPUs have worked, the hypervisor's theft included."""
    user, nice, system, _idle, _wait, irq, soft, steal = \
        (int(field) for field in read("/proc/stat").split("\n", 1)[0].split()[1:9])
    return (user + nice + system + irq + soft + steal) * TICK


class Quiet:
    """Waits for the machine to be left alone, for so many seconds in all."""

    def __init__(self, limit, budget):
        self.limit, self.budget = limit, budget

    def wait(self):
        """Until others use less than limit of the machine, or the time is up."""
        while self.budget > 0:
            busy, begun = machine_s(), time.monotonic()
            time.sleep(0.2)
            interrupts.check()
            took = time.monotonic() - begun
            self.budget -= took
            if (machine_s() - busy) / took / os.cpu_count() < self.limit:
                return
