"""Figures of a benchmark: medians, spreads, ratios; as a table, TSV, JSON."""

import json
import math
import statistics

from scenarios import OURS, Target


class Figure:
    """values: {peer: [one per round, None where there is none]}.  more: a
    larger value is the better one."""

    def __init__(self, name, title, values, targets=(), digits=1, more=False):
        self.name, self.title, self.values = name, title, values
        self.targets, self.digits, self.more = list(targets), digits, more

    def peers(self):
        return [p for p in self.values if p != OURS]

    def rounds(self, peer):
        return [v for v in self.values.get(peer, ()) if v is not None]

    def median(self, peer):
        rounds = self.rounds(peer)
        return statistics.median(rounds) if rounds else None

    def ratios(self, peer):
        """Ours to the peer's within each round, so that what a round suffered
        both have suffered."""
        pairs = zip(self.values.get(OURS, ()), self.values.get(peer, ()))
        return [ours / theirs for ours, theirs in pairs if ours is not None and theirs]

    def ratio(self, peer):
        ratios = self.ratios(peer)
        return statistics.median(ratios) if ratios else None

    def best(self, peers):
        """Of these, the one with the best median; None when none was there."""
        there = [p for p in peers if self.median(p) is not None]
        return (max if self.more else min)(there, key=self.median) if there else None

    def judge(self, target):
        """(peer or None, ratio or figure, is it met); None: not to be judged
        in this run."""
        if not target.peers:
            reached, peer = self.median(OURS), None
        else:
            peer = self.best(target.peers)
            reached = self.ratio(peer) if peer else None
        if reached is None:
            return None
        met = reached >= target.limit if target.more else reached <= target.limit
        return peer, reached, met

    def text(self, peer):
        """The median, and the spread where there is more than one round."""
        rounds = self.rounds(peer)
        if not rounds:
            return "-"
        text = f"{statistics.median(rounds):.{self.digits}f}"
        if len(rounds) > 1:
            text += f" [{min(rounds):.{self.digits}f}-{max(rounds):.{self.digits}f}]"
        return text


def interval(values):
    """(from, to) that hold the median of such values with 95 % and more
    (the sign test's, of the order of the values alone); None: too few."""
    n, low = len(values), 0
    while 2 * sum(math.comb(n, k) for k in range(low + 1)) <= 0.05 * 2 ** n:
        low += 1
    values = sorted(values)
    return (values[low - 1], values[n - low]) if low else None


def _within(found, digits=2):
    return f" [{found[0]:.{digits}f}-{found[1]:.{digits}f}]" if found else ""


def _number(value, digits):
    return "" if value is None else f"{value:.{digits}f}"


def verdicts(figure):
    """One text a target: what is demanded, what is reached, whether the
    median meets it and whether the rounds leave that open."""
    found = []
    for target in figure.targets:
        judged = figure.judge(target)
        if judged is None:
            continue
        peer, reached, met = judged
        around = interval(figure.ratios(peer) if peer else figure.rounds(OURS))
        what = f"{reached:.2f}{_within(around)} x {peer}" if peer else ""
        word = "met" if met else "MISSED"
        if around and around[0] < target.limit < around[1]:
            word += ", not surely"
        found.append((target.text(), what, word))
    return found


def show(figures):
    """For a person: a figure a paragraph."""
    for f in figures:
        print(f"\n{f.title}")
        for peer in f.values:
            ratio = "" if peer == OURS or OURS not in f.values else \
                f"  ours {_number(f.ratio(peer), 2) or '-'}{_within(interval(f.ratios(peer)))} x"
            print(f"    {peer:18} {f.text(peer):>26}{ratio}")
        for demanded, reached, met in verdicts(f):
            print(f"    target {demanded:26} {reached:32} {met}")


def rows(figures):
    """The lines of the TSV: one for each peer, one for each target."""
    for f in figures:
        ours = _number(f.median(OURS), 3)
        for peer in f.peers():
            yield [f.title, ours, peer, _number(f.median(peer), 3), _number(f.ratio(peer), 3),
                   "", ""]
        for target in f.targets:
            judged = f.judge(target)
            if judged is None:
                continue
            peer, reached, met = judged
            yield [f.title, ours, peer or "-", _number(f.median(peer), 3) if peer else "",
                   _number(reached, 3) if peer else "", target.text(), "yes" if met else "no"]
        if not f.peers() and not f.targets:
            yield [f.title, ours, "-", "", "", "", ""]


def json_path(path):
    return path.removesuffix(".tsv") + ".json"


def load(path):
    """(facts, figures) that write() wrote."""
    with open(path, encoding="ascii") as file:
        facts = json.load(file)
    return facts, [Figure(f["name"], f["title"], f["values"],
                          [Target(t["limit"], tuple(t["peers"]), t["more"]) for t in f["targets"]],
                          f["digits"], f["more"]) for f in facts.pop("figures")]


def add(figures, facts, path):
    """The figures of an earlier run with these rounds added; facts become
    those of the earlier run, and tell of this one."""
    earlier, found = load(json_path(path))
    new = {f.name: f for f in figures}
    for f in found:
        more = new.pop(f.name, None)
        if more is not None:  # a round stays a round, whoever was in it
            none, none_more = ([None] * max(map(len, values.values()))
                               for values in (f.values, more.values))
            f.values = {p: f.values.get(p, none) + more.values.get(p, none_more)
                        for p in {**f.values, **more.values}}
    told = {key: facts[key] for key in ("date", "commit", "rounds", "seconds")}
    told["scenarios"] = sorted({f.name for f in figures})
    disturbed = earlier["disturbed"] + facts["disturbed"]
    facts.clear()
    facts.update(earlier, disturbed=disturbed, added=[*earlier.get("added", ()), told])
    return found + list(new.values())


def write(figures, facts, path):
    """path is the TSV; beside it, with .json for its end, every value of every
    round for document.py."""
    with open(path, "w", encoding="ascii") as out:
        print("figure", "ours", "peer", "theirs", "ratio", "target", "met", sep="\t", file=out)
        for row in rows(figures):
            print(*row, sep="\t", file=out)
    with open(json_path(path), "w", encoding="ascii") as out:
        json.dump(dict(facts, figures=[{
            "name": f.name, "title": f.title, "digits": f.digits, "more": f.more,
            "values": f.values, "targets": [vars(t) for t in f.targets],
        } for f in figures]), out, indent=1)
