"""Plots of a few figures over a number that grows by powers of ten, as SVG."""

import math
from collections.abc import Mapping, Sequence
from typing import Final
from xml.sax.saxutils import escape

WIDTH: Final = 200
HEIGHT: Final = 120
MARGIN: Final = 48
GAP: Final = 28
INSET: Final = 24
"""From the axis to the first point."""
COLORS: Final = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd")

Point = tuple[float, float]


def growth_svg(panels: Mapping[str, Sequence[Point]], about: str) -> str:
    """Draw a panel for each figure: x grows by powers of ten, y starts at 0.

    Args:
        panels: The points of each figure, by its name with the unit.
        about: What x is.
    """
    width = MARGIN + len(panels) * (WIDTH + MARGIN + GAP)
    height = HEIGHT + 2 * MARGIN
    drawn = [
        f'<g transform="translate({MARGIN + number * (WIDTH + MARGIN + GAP)} {MARGIN})">'
        f"{_panel(name, points, about, COLORS[number % len(COLORS)])}</g>"
        for number, (name, points) in enumerate(panels.items())
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="11" fill="#333">'
    )
    background = f'<rect width="{width}" height="{height}" fill="#fff"/>'
    return "\n".join((head, background, *drawn, "</svg>\n"))


def _panel(name: str, points: Sequence[Point], about: str, color: str) -> str:
    top = _round_up(max((y for _, y in points), default=1.0))
    first, last = (math.log10(pick(x for x, _ in points)) for pick in (min, max))
    places = [
        (
            INSET + (WIDTH - 2 * INSET) * (math.log10(x) - first) / ((last - first) or 1.0),
            *(HEIGHT * (1 - y / top), x, y),
        )
        for x, y in points
    ]
    line = " ".join(f"{left:.1f},{down:.1f}" for left, down, _, _ in places)
    parts = [
        f'<text y="-16" font-weight="bold">{escape(name)}</text>',
        f'<path d="M0 0V{HEIGHT}H{WIDTH}" fill="none" stroke="#999"/>',
        f'<text x="-6" y="4" text-anchor="end">{top:g}</text>',
        f'<text x="-6" y="{HEIGHT + 4}" text-anchor="end">0</text>',
        f'<text x="{WIDTH / 2}" y="{HEIGHT + 34}" text-anchor="middle">{escape(about)}</text>',
        f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>',
    ]
    for left, down, x, y in places:
        parts += [
            f'<circle cx="{left:.1f}" cy="{down:.1f}" r="3" fill="{color}"/>',
            f'<text x="{left:.1f}" y="{down - 8:.1f}" text-anchor="middle">{y:.3g}</text>',
            f'<text x="{left:.1f}" y="{HEIGHT + 16}" text-anchor="middle">{x:,.0f}</text>',
        ]
    return "".join(parts)


def _round_up(figure: float) -> float:
    """Return the next of 1, 2 and 5 times a power of ten."""
    if figure <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(figure))
    return next(step * power for step in (1, 2, 5, 10) if figure <= step * power * 1.0001)
