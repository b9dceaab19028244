"""A drawing of what regions cost, as SVG: no plotting library is needed."""

from __future__ import annotations

from html import escape
from math import log2

WIDTH, HEIGHT, MARGIN, KEY = 420, 300, 50, 190
COLOURS = ("#0b7285", "#e8590c", "#5f3dc4", "#2b8a3e", "#c2255c", "#495057")

Line = list[tuple[int, float]]  # regions, ratio


def draw(panels: dict[str, dict[str, Line]]) -> str:
    """One panel for each model; across: regions, upwards: the ratio to the plain prompt, doubling from line to line."""
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}
    parts = [_panel(x * WIDTH, title, lines, colours) for x, (title, lines) in enumerate(panels.items())]
    left = len(panels) * WIDTH + 10
    for number, name in enumerate(names):
        y = MARGIN + number * 20
        parts.append(f'<rect x="{left}" y="{y - 9}" width="12" height="12" fill="{colours[name]}"/>')
        parts.append(f'<text x="{left + 18}" y="{y + 2}">{escape(name)}</text>')
    size = f'width="{left + KEY}" height="{HEIGHT}"'
    style = 'font-family="sans-serif" font-size="12"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}><rect {size} fill="white"/>{"".join(parts)}</svg>\n'


def _panel(left: float, title: str, lines: dict[str, Line], colours: dict[str, str]) -> str:
    points = [point for line in lines.values() for point in line]
    most, top = max((n for n, _ in points), default=1) or 1, max(1.0, *(log2(max(r, 0.5)) for _, r in points), 0.0)

    def place(regions: float, ratio: float) -> tuple[float, float]:
        across, upwards = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN
        return left + MARGIN + across * regions / most, HEIGHT - MARGIN - upwards * log2(max(ratio, 0.9)) / top

    parts = [f'<text x="{left + MARGIN}" y="{MARGIN - 16}" font-weight="bold">{escape(title)}</text>']
    for power in range(int(top) + 1):
        x, y = place(0, 2**power)
        parts.append(f'<path d="M{x:.0f} {y:.1f}H{left + WIDTH - MARGIN:.0f}" stroke="#ced4da"/>')
        parts.append(f'<text x="{x - 8:.0f}" y="{y + 4:.1f}" text-anchor="end">{2**power}x</text>')
    for regions in sorted({n for n, _ in points}):
        x, y = place(regions, 1)
        parts.append(f'<text x="{x:.1f}" y="{y + 22:.1f}" text-anchor="middle">{regions}</text>')
    for name, line in lines.items():
        marks = [place(*point) for point in sorted(line)]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in marks)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colours[name]}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colours[name]}"/>' for x, y in marks]
    return "".join(parts)
