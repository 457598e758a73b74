"""A page of small plots as SVG."""

from math import log10

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 340, 200, 46, 34, 28
COLOURS = ("#1f5fa8", "#c05a1a")


def _nice(value):
    """A round number not below value."""
    for mantissa in (1, 1.5, 2, 3, 4, 5, 6, 8, 10):
        step = mantissa * 10 ** int(log10(value) // 1)
        if step >= value:
            return step
    return value


class Plot:
    """Panels two by two."""

    def __init__(self):
        self.panels = []

    def _frame(self, title, top):
        parts = [f'<text x="{WIDTH / 2}" y="16" text-anchor="middle" font-weight="bold">'
                 f'{title}</text>']
        for share in (0, 0.5, 1):
            y = self._y(share * top, top)
            parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - 10}" y2="{y:.1f}" '
                         'stroke="#ccc"/>')
            parts.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">'
                         f'{share * top:g}</text>')
        return parts

    @staticmethod
    def _y(value, top):
        return HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - TOP)

    def bars(self, title, pairs):
        """pairs: (name, value)."""
        top = _nice(max(value for _name, value in pairs))
        parts, slot = self._frame(title, top), (WIDTH - LEFT - 10) / len(pairs)
        for i, (name, value) in enumerate(pairs):
            x, y = LEFT + slot * (i + 0.15), self._y(value, top)
            parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{slot * 0.7:.1f}" '
                         f'height="{HEIGHT - BOTTOM - y:.1f}" fill="{COLOURS[0 if i == 0 else 1]}"/>')
            middle = x + slot * 0.35
            parts.append(f'<text x="{middle:.1f}" y="{y - 3:.1f}" text-anchor="middle">'
                         f'{value:.0f}</text>')
            parts.append(f'<text x="{middle:.1f}" y="{HEIGHT - BOTTOM + 15}" '
                         f'text-anchor="middle">{name}</text>')
        self.panels.append(parts)

    def line(self, title, lines):
        """lines: {name: [(number, value)]}; numbers by their logarithm."""
        points = [pair for pairs in lines.values() for pair in pairs]
        if not points:
            return
        top = _nice(max(value for _number, value in points))
        numbers = sorted({number for number, _value in points})
        low, high = log10(numbers[0] or 1), log10(numbers[-1] or 1)

        def x_of(number):
            share = (log10(number or 1) - low) / ((high - low) or 1)
            return LEFT + 14 + share * (WIDTH - LEFT - 44)

        parts = self._frame(title, top)
        for number in numbers:
            parts.append(f'<text x="{x_of(number):.1f}" y="{HEIGHT - BOTTOM + 15}" '
                         f'text-anchor="middle">{number:,}</text>')
        for i, (name, pairs) in enumerate(lines.items()):
            path = " ".join(f"{x_of(n):.1f},{self._y(v, top):.1f}" for n, v in pairs)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[i]}" '
                         'stroke-width="2"/>')
            parts += [f'<circle cx="{x_of(n):.1f}" cy="{self._y(v, top):.1f}" r="3" '
                      f'fill="{COLOURS[i]}"/>' for n, v in pairs]
            if name:
                parts.append(f'<text x="{LEFT + 8}" y="{TOP + 12 + 13 * i}" '
                             f'fill="{COLOURS[i]}">{name}</text>')
        self.panels.append(parts)

    def svg(self):
        rows = (len(self.panels) + 1) // 2
        out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * WIDTH}" '
               f'height="{rows * HEIGHT}" font-family="sans-serif" font-size="11">',
               '<rect width="100%" height="100%" fill="white"/>']
        for i, parts in enumerate(self.panels):
            out.append(f'<g transform="translate({i % 2 * WIDTH},{i // 2 * HEIGHT})">')
            out += parts + ["</g>"]
        return "\n".join(out + ["</svg>", ""])
