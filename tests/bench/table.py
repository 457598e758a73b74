"""Figures of a benchmark: medians, spreads, ratios; as a table and as TSV."""

import statistics

OURS = "connector"


class Figure:
    """values: {peer: [one per round, None where there is none]}.  limit: the
    ratio to target_peer that is to be reached, or None."""

    def __init__(self, name, values, limit=None, target_peer="haproxy", digits=1):
        self.name, self.values, self.digits = name, values, digits
        self.limit, self.target_peer = limit, target_peer

    def median(self, peer):
        rounds = [v for v in self.values.get(peer, ()) if v is not None]
        return statistics.median(rounds) if rounds else None

    def ratio(self, peer):
        """Ours to the peer's: the median of the ratios within each round, so
        that what a round suffered both have suffered."""
        pairs = zip(self.values.get(OURS, ()), self.values.get(peer, ()))
        ratios = [ours / theirs for ours, theirs in pairs if ours is not None and theirs]
        return statistics.median(ratios) if ratios else None

    def met(self, peer):
        """"yes", "no", or "" where nothing is demanded."""
        ratio = self.ratio(peer)
        if self.limit is None or peer != self.target_peer or ratio is None:
            return ""
        return "yes" if ratio <= self.limit else "no"

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
    return "-" if value is None else f"{value:.{digits}f}"


def show(figures, peers):
    """The table for a person."""
    others = [p for p in peers if p != OURS]
    head = ["", *peers, *(f"/ {p}" for p in others), "target", "met"]
    rows = [head]
    for figure in figures:
        target = "" if figure.limit is None or figure.target_peer not in others \
            else f"{figure.limit} x {figure.target_peer}"
        rows.append([figure.name, *(figure.text(p) for p in peers),
                     *(_number(figure.ratio(p), 2) for p in others),
                     target, figure.met(figure.target_peer) if target else ""])
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    for row in rows:
        cells = [row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:])]
        print("  ".join(cells).rstrip())


def write(figures, peers, path):
    """One line per figure and peer."""
    with open(path, "w", encoding="ascii") as out:
        print("figure", "ours", "peer", "theirs", "ratio", "target", "met", sep="\t", file=out)
        for figure in figures:
            for peer in (p for p in peers if p != OURS):
                met = figure.met(peer)
                print(figure.name, _number(figure.median(OURS), 3), peer,
                      _number(figure.median(peer), 3), _number(figure.ratio(peer), 3),
                      figure.limit if met else "", met, sep="\t", file=out)
