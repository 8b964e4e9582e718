"""The picture of a report: one line a goal, a dot for each gateway, and the goal as a line to stay left of.

Plain SVG. The axis is the share of the limit that is used, on a logarithmic scale: 1 is the goal whatever the unit.
"""

from __future__ import annotations

import math
from html import escape

from benchmarks.goals import OURS, Measured, shares, words
from benchmarks.report import Report, figure

WIDTH = 1000
LEFT, RIGHT, TOP = 430, 40, 70
ROW = 40
ABOVE, BELOW = -9, 17
"""Where a dot's figure stands: ours above, the peers' below, so that neighbours can be read."""
COLOURS = {OURS: "#c2410c", "ferrogw": "#0369a1", "litellm": "#7c3aed"}
OTHER = "#6b7280"
FAMILY = "font-family='system-ui, sans-serif'"
FONT = f"{FAMILY} font-size='13'"
SMALL = f"{FAMILY} font-size='10'"


def draw(report: Report) -> str:
    """The SVG; rows that were not measured are left out."""
    rows = []
    for work, goal, judged in report.rows():
        found = report.measured.get(work.id, Measured())
        if goal is None or judged is None or judged.share is None:
            continue
        dots = {name: share for name, share in shares(goal, found).items() if name in COLOURS and share > 0}
        rows.append(
            (f"{work.title}: {words(goal, work.unit)}", dots, {name: figure(work, found, name) for name in dots})
        )
    every = [share for _, dots, _ in rows for share in dots.values()] or [1.0]
    low, high = min(0.5, *every) / 1.5, max(2.0, *every) * 1.5
    height = TOP + ROW * len(rows) + 40
    parts = [_frame(height), _legend(report), _axis(low, high, height)]
    parts += [_row(TOP + ROW * number + ROW / 2, *row, low, high) for number, row in enumerate(rows)]
    return "\n".join([*parts, "</svg>", ""])


def position(share: float, low: float, high: float) -> float:
    """Where on the axis from `low` to `high` that share stands, in pixels from the left."""
    span = math.log(high) - math.log(low)
    return LEFT + (WIDTH - LEFT - RIGHT) * (math.log(share) - math.log(low)) / span


def _frame(height: float) -> str:
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{height:.0f}' "
        f"viewBox='0 0 {WIDTH} {height:.0f}' role='img' aria-label='Share of each goal that is used'>\n"
        f"<rect width='{WIDTH}' height='{height:.0f}' fill='#ffffff'/>"
    )


def _legend(report: Report) -> str:
    parts = []
    for number, (name, version) in enumerate(report.versions.items()):
        x = 20 + 170 * number
        parts.append(f"<circle cx='{x}' cy='22' r='6' fill='{COLOURS.get(name, OTHER)}'/>")
        parts.append(f"<text x='{x + 12}' y='27' {FONT}>{escape(name)} {escape(version)}</text>")
    parts.append(
        f"<text x='{LEFT}' y='50' {FONT} fill='{OTHER}'>share of the goal's limit that is used, less is better</text>"
    )
    return "\n".join(parts)


def _axis(low: float, high: float, height: float) -> str:
    parts = []
    for exponent in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1):
        share = 10.0**exponent
        x = position(share, low, high)
        colour, width = ("#16a34a", 2) if share == 1 else ("#e5e7eb", 1)
        ends = f"x1='{x:.1f}' x2='{x:.1f}' y1='{TOP - 10}' y2='{height - 28:.0f}'"
        parts.append(f"<line {ends} stroke='{colour}' stroke-width='{width}'/>")
        label = "goal" if share == 1 else f"{share:g} x"
        parts.append(f"<text x='{x:.1f}' y='{height - 10:.0f}' {FONT} text-anchor='middle'>{label}</text>")
    return "\n".join(parts)


def _row(y: float, title: str, dots: dict[str, float], labels: dict[str, str], low: float, high: float) -> str:
    parts = [f"<text x='{LEFT - 14}' y='{y + 4:.1f}' {FONT} text-anchor='end'>{escape(title)}</text>"]
    for name, share in dots.items():
        x = position(share, low, high)
        parts.append(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='6' fill='{COLOURS[name]}' fill-opacity='0.85'/>")
        place = f"x='{x:.1f}' y='{y + (ABOVE if name == OURS else BELOW):.1f}' text-anchor='middle'"
        parts.append(f"<text {place} {SMALL} fill='{COLOURS[name]}'>{escape(labels[name])}</text>")
    return "\n".join(parts)
