"""What the processes hold, and whether the figures agree."""

import glob
import json
import os
import re

from procs import wait_until

GROWTH_MAX_KB = 4096
FDS_MORE = 2
SUMS = {"requests": lambda l: 1, "status_2xx": lambda l: 200 <= l["status"] < 300,
        "status_4xx": lambda l: 400 <= l["status"] < 500,
        "status_5xx": lambda l: 500 <= l["status"] < 600}


def processes(lab):
    """{name: pid} of the connector's processes."""
    found = {f"{p['role']} {p['slot']}": p["pid"] for p in lab.status()["processes"]}
    return {"master": int(lab.env["CONNECTOR_PID"]), **found}


def held(pid):
    """(kilobytes of its own, descriptors)."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        anonymous = int(re.search(r"Anonymous:\s+(\d+) kB", file.read())[1])
    return anonymous, len(os.listdir(f"/proc/{pid}/fd"))


def at_rest(lab):
    """{name: (pid, kilobytes, descriptors)} when nobody is connected and no
    connection to the cloud is kept; None when that does not come."""
    def quiet():
        now = lab.counters()
        return not (now.get("conns_open") or now.get("up_idle") or now.get("requests_open"))
    if not wait_until(quiet, 60, 0.2):
        return None
    return {name: (pid, *held(pid)) for name, pid in processes(lab).items()}


def growth(before, after):
    """Lines about each process, and what is wrong with them."""
    lines, wrong = [], []
    for name, (pid, memory, fds) in after.items():
        old = before.get(name)
        same = old is not None and old[0] == pid
        told = f"{old[1]:8} -> {memory:6} kB, {old[2]:3} -> {fds:3} descriptors" if same else \
            f"{'':8}    {memory:6} kB, {'':3}    {fds:3} descriptors (another process)"
        lines.append(f"  {name:10}{told}")
        if same and memory - old[1] > GROWTH_MAX_KB:
            wrong.append(f"{name} grew by {memory - old[1]} kB at rest")
        if old is not None and fds - old[2] > FDS_MORE:
            wrong.append(f"{name} has {fds} descriptors at rest, and had {old[2]}")
    return lines, wrong


def log_lines(lab):
    """All of the access log, turned or not."""
    out = []
    for path in glob.glob(lab.env["ACCESS_LOG"] + "*"):
        with open(path, encoding="utf-8") as file:
            out += [json.loads(line) for line in file]
    return out


def sums(lab, outcomes):
    """What does not agree between the log, the first relay's counters (it was
    never killed) and what clients were told."""
    lines, wrong = log_lines(lab), []
    row = lab.row("relay", 0)["counters"]
    mine = [l for l in lines if l["worker"] == 0]
    for name, of in SUMS.items():
        logged = sum(of(l) for l in mine)
        if row.get(name, 0) != logged:
            wrong.append(f"relay 0 counts {row.get(name, 0)} {name}, its log has {logged}")
    ids = [l["request_id"] for l in lines]
    if len(ids) != len(set(ids)):
        wrong.append(f"{len(ids) - len(set(ids))} lines of the log have another's request id")
    homes = {l["request_id"].partition("-")[0]: l["worker"] for l in lines}
    known = set(ids)
    # What a killed relay had not written yet is lost with it.
    lost = [o.request_id for o in outcomes if o.request_id and o.request_id not in known
            and homes.get(o.request_id.partition("-")[0]) == 0]
    if lost:
        wrong.append(f"{len(lost)} replies of relay 0 are not in the log, such as {lost[0]}")
    return wrong
