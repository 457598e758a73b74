"""Figures of a benchmark: medians, spreads, ratios; as a table, TSV, JSON."""

import json
import statistics

from scenarios import OURS


class Figure:
    """values: {peer: [one per round, None where there is none]}.  more: a
    larger value is the better one."""

    def __init__(self, name, title, values, targets=(), digits=1, more=False):
        self.name, self.title, self.values = name, title, values
        self.targets, self.digits, self.more = list(targets), digits, more

    def peers(self):
        return [p for p in self.values if p != OURS]

    def median(self, peer):
        rounds = [v for v in self.values.get(peer, ()) if v is not None]
        return statistics.median(rounds) if rounds else None

    def ratio(self, peer):
        """Ours to the peer's: the median of the ratios within each round, so
        that what a round suffered both have suffered."""
        pairs = zip(self.values.get(OURS, ()), self.values.get(peer, ()))
        ratios = [ours / theirs for ours, theirs in pairs if ours is not None and theirs]
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
        rounds = [v for v in self.values.get(peer, ()) if v is not None]
        if not rounds:
            return "-"
        text = f"{statistics.median(rounds):.{self.digits}f}"
        if len(rounds) > 1:
            text += f" [{min(rounds):.{self.digits}f}-{max(rounds):.{self.digits}f}]"
        return text


def _number(value, digits):
    return "" if value is None else f"{value:.{digits}f}"


def verdicts(figure):
    """One text a target: what is demanded, what is reached."""
    found = []
    for target in figure.targets:
        judged = figure.judge(target)
        if judged is None:
            continue
        peer, reached, met = judged
        what = f"{reached:.2f} x {peer}" if peer else ""
        found.append((target.text(), what, "met" if met else "MISSED"))
    return found


def show(figures):
    """For a person: a figure a paragraph."""
    for f in figures:
        print(f"\n{f.title}")
        for peer in f.values:
            ratio = "" if peer == OURS or OURS not in f.values else \
                f"  ours {_number(f.ratio(peer), 2) or '-'} x"
            print(f"    {peer:18} {f.text(peer):>26}{ratio}")
        for demanded, reached, met in verdicts(f):
            print(f"    target {demanded:30} {reached:22} {met}")


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


def write(figures, facts, path):
    """path is the TSV; beside it, with .json for its end, every value of every
    round for document.py."""
    with open(path, "w", encoding="ascii") as out:
        print("figure", "ours", "peer", "theirs", "ratio", "target", "met", sep="\t", file=out)
        for row in rows(figures):
            print(*row, sep="\t", file=out)
    with open(path.removesuffix(".tsv") + ".json", "w", encoding="ascii") as out:
        json.dump(dict(facts, figures=[{
            "name": f.name, "title": f.title, "digits": f.digits, "more": f.more,
            "values": f.values, "targets": [vars(t) for t in f.targets],
        } for f in figures]), out, indent=1)
