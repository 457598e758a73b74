"""Loads the relays in turns and reads what they used."""

import os
import re
import resource
import time

import measure
from procs import LabError, interrupts, run
from world import DIRECT

NOISE = 0.08        # share of the machine that others may use in a calm run
REPEATS = 2         # of a run that was not calm
WARM_UP_S = 0.4


def told(line):
    """The name=value pairs of a line."""
    return {k: float(v) for k, v in re.findall(r"(\w+)=([\d.]+)", line)}


def used_by_us():
    """Seconds of this process and of its children that have ended."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usage)


def load_once(world, name, seconds, arguments, awake=False, **how):
    """One loaded stretch: CPU seconds of the peer's "relay" processes and of
    "all", the load's own words, and what share of the machine others used."""
    with world.kept_awake(awake) as spinning:
        return _load_once(world, name, seconds, arguments, world.others() + spinning, how)


def _load_once(world, name, seconds, arguments, others, how):
    peer = world.peers.get(name)
    groups = {"relay": peer.relays(), "all": peer.pids()} if peer else {}
    marks, result = {}, {}
    start = time.monotonic(), measure.machine_s(), measure.cpu_s(others) + used_by_us()
    if "-w" not in arguments:
        arguments = [*arguments, "-w", str(WARM_UP_S)]
    with world.running_load(name, *arguments, "-d", str(seconds), **how) as load:
        for line in load.stdout:
            interrupts.check()
            if line in ("begin\n", "end\n"):
                marks[line.strip()] = {k: measure.cpu_s(pids) for k, pids in groups.items()}
            else:
                result.update(told(line))
    wall = time.monotonic() - start[0]
    foreign = measure.machine_s() - start[1] - \
        (measure.cpu_s(others) + used_by_us() - start[2])
    if name != DIRECT and sorted(peer.relays()) != sorted(groups["relay"]):
        raise LabError(f"a process of {name} ended under load:\n{peer.tail()}")
    if not result.get("requests"):
        raise LabError(f"{name} answered nothing within {seconds} s")
    for key in groups:
        result[key] = marks["end"][key] - marks["begin"][key]
    result["noise"] = max(0.0, foreign) / wall / os.cpu_count()
    return result


class Rounds:
    """Runs of several peers, one after the other, a number of times."""

    def __init__(self, world, rounds, seconds, wait_s):
        self.world, self.rounds, self.seconds = world, rounds, seconds
        self.quiet = measure.Quiet(NOISE, wait_s)

    def calmly(self, name, arguments, how):
        """A run at a quiet moment; the calmest of a few when it was not."""
        best = None
        for _ in range(1 + REPEATS):
            self.quiet.wait()
            result = load_once(self.world, name, self.seconds, arguments, **how)
            if best is None or result["noise"] < best["noise"]:
                best = result
            if best["noise"] < NOISE or self.quiet.budget <= 0:
                break
            self.quiet.budget -= self.seconds
        return best

    def of(self, title, loads, told_of, **how):
        """loads: {peer: arguments}.  The results {peer: [one a round]}; what
        told_of makes of each is printed.  For each round that was not calm
        there is another, up to half as many again."""
        names = list(loads)
        results = {name: [] for name in names}
        for name in names:  # what the first of a kind costs is nobody's figure
            load_once(self.world, name, 0.3, loads[name], **how)
        calm_ones, most = 0, self.rounds + self.rounds // 2
        for number in range(most):
            if calm_ones == self.rounds:
                break
            start = number // 2 % len(names)
            order = names[start:] + names[:start]
            for name in order[::-1] if number % 2 else order:
                result = self.calmly(name, loads[name], how)
                results[name].append(result)
                note = f"  (others used {result['noise']:.0%})" \
                    if result["noise"] >= NOISE else ""
                print(f"{title:15} {number + 1:2} {name:18} {told_of(result)}{note}", flush=True)
            calm_ones += all(rows[-1]["noise"] < NOISE for rows in results.values())
        return results

    def program(self, command):
        """What a program that only computes tells, started at a quiet moment,
        and what share of the machine others used meanwhile."""
        self.quiet.wait()
        start = time.monotonic(), measure.machine_s(), \
            measure.cpu_s(self.world.others()) + used_by_us()
        result = told(run(command))
        foreign = measure.machine_s() - start[1] - \
            (measure.cpu_s(self.world.others()) + used_by_us() - start[2])
        result["noise"] = max(0.0, foreign) / (time.monotonic() - start[0]) / os.cpu_count()
        return result


def calm(results, wanted):
    """({peer: results of the calmest rounds, as many as wanted}, how many of
    these were not calm)"""
    noise = [max(r["noise"] for r in rows) for rows in zip(*results.values())]
    kept = sorted(sorted(range(len(noise)), key=lambda i: noise[i])[:wanted])
    return {name: [rows[i] for i in kept] for name, rows in results.items()}, \
        sum(noise[i] >= NOISE for i in kept)


def value(results, of):
    """{peer: [of(result), None where there is none]}"""
    return {name: [None if r is None else of(r) for r in rows] for name, rows in results.items()}
