"""Exact counts of what a relay does for a request: system calls (strace) and
user-space instructions (valgrind).  Unlike times, these hold on a busy machine.

Counts are the difference between a long and a short run, so that what a
connection costs once is not in them.
"""

import os
import re
import signal
import subprocess
import time

import measure
from procs import LabError, run, wait_until

SHORT, LONG = 300, 2300
VALGRIND = "valgrind --tool=cachegrind --cachegrind-out-file=/dev/null"
COUNTED = f"{VALGRIND} --cache-sim=no"
# Those of a core of Xeon Scalable: 32 kB each for instructions and data, 1 MB
# for both behind them.
MODELLED = f"{VALGRIND} --cache-sim=yes --branch-sim=yes --I1=32768,8,64 --D1=32768,8,64 " \
    "--LL=1048576,16,64"
# {name: what valgrind calls it}
EVENTS = {"i1": r"I1\s+misses", "d1": r"D1\s+misses", "l2": r"LL misses",
          "branches": r"Mispredicts"}


def requests(world, name, count, connections, load):
    run(world.load_command(name, *load, "-c", str(connections), "-n", str(count), "-d", "60"),
        env=world.load_env)


def _is_traced(pid):
    return "TracerPid:\t0\n" not in measure.read(f"/proc/{pid}/status")


def _calls(world, name, count, connections, load):
    """{system call: number} of the relaying processes for so many requests."""
    out = f"{world.dir}/log/strace"
    pids = world.peers[name].relays()
    tracer = subprocess.Popen(["strace", "-f", "-c", "-o", out,
                               *(arg for pid in pids for arg in ("-p", str(pid)))],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        if not wait_until(lambda: all(_is_traced(pid) for pid in pids), 10):
            raise LabError("strace does not attach")
        requests(world, name, count, connections, load)
        time.sleep(0.2)
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(10)
    rows = (line.split() for line in measure.read(out).splitlines())
    return {row[-1]: int(row[3]) for row in rows
            if len(row) >= 5 and re.fullmatch(r"\d+\.\d+", row[0]) and row[-1] != "total"}


def calls(world, name, load, connections=32):
    """{system call: number a request}, those that are made at least once in a
    hundred."""
    requests(world, name, SHORT, connections, load)
    short, long = (_calls(world, name, n, connections, load) for n in (SHORT, LONG))
    rates = {k: (n - short.get(k, 0)) / (LONG - SHORT) for k, n in long.items()}
    return {k: rate for k, rate in rates.items() if rate >= 0.01}


def _valgrind(world, name, count, connections, load, wrap, tool):
    """What valgrind told at the end, of each process that it ran."""
    log = f"{world.dir}/log/valgrind"
    for stale in (f for f in os.listdir(f"{world.dir}/log") if f.startswith("valgrind")):
        os.unlink(f"{world.dir}/log/{stale}")
    world.start_peer(name, {wrap: f"{tool} --log-file={log}.%p"})
    requests(world, name, count, connections, load)
    world.stop_peer(name)
    return [measure.read(f"{world.dir}/log/{f}") for f in os.listdir(f"{world.dir}/log")
            if f.startswith("valgrind")]


def _most(texts, name, line):
    """That of the process that has most of it: the relaying one."""
    found = [int(n.replace(",", "")) for text in texts
             for n in re.findall(line + r":\s+([\d,]+)", text)]
    if not found:
        raise LabError(f"valgrind told nothing about {name}:\n{''.join(texts)[-2000:]}")
    return max(found)


def instructions(world, name, load, connections=2, numbers=(SHORT, LONG), wrap="BENCH_WRAP"):
    """Instructions a request.  Starts and stops the relay itself."""
    short, long = (_most(_valgrind(world, name, n, connections, load, wrap, COUNTED), name,
                         r"I\s+refs") for n in numbers)
    return (long - short) / (numbers[1] - numbers[0])


def misses(world, name, load, connections=32, numbers=(SHORT, LONG)):
    """{event of EVENTS: number a request} in user space, by a model of caches
    and branches that the kernel leaves alone.  Starts and stops the relay."""
    short, long = (_valgrind(world, name, n, connections, load, "BENCH_WRAP", MODELLED)
                   for n in numbers)
    return {event: (_most(long, name, line) - _most(short, name, line)) / (numbers[1] - numbers[0])
            for event, line in EVENTS.items()}
