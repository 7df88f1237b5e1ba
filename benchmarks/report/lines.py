"""A picture of the curves: a small chart for each, side by side, written by hand as SVG."""

from collections.abc import Sequence
from html import escape

from benchmarks.report import words
from benchmarks.report.bars import WIDTH, document
from benchmarks.results import Curve

_COLUMNS = 3
_CHART_WIDTH, _CHART_HEIGHT = WIDTH // _COLUMNS, 150
_LEFT, _TOP, _RIGHT, _BOTTOM = 16, 40, 44, 24


def lines(curves: Sequence[Curve]) -> str:
    """The curves, each in a scale of its own that begins at zero."""
    parts = []
    for number, curve in enumerate(curves):
        row, column = divmod(number, _COLUMNS)
        chart = _chart(curve)
        parts.append(f'<g transform="translate({column * _CHART_WIDTH} {row * _CHART_HEIGHT})">{chart}</g>')
    height = -(-len(curves) // _COLUMNS) * _CHART_HEIGHT
    return document(height, parts, "What things take as the number of bots grows")


def _chart(curve: Curve) -> str:
    most = max(spread.median for _, spread in curve.points) or 1.0
    farthest = max(count for count, _ in curve.points)
    width, height = _CHART_WIDTH - _LEFT - _RIGHT, _CHART_HEIGHT - _TOP - _BOTTOM
    floor = _TOP + height
    points = [
        (_LEFT + width * count / farthest, floor - height * spread.median / most, count, spread.median)
        for count, spread in curve.points
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in points)
    parts = [
        f'<text x="{_LEFT}" y="16">{escape(curve.what)}</text>',
        f'<line class="axis" x1="{_LEFT}" y1="{floor}" x2="{_LEFT + width}" y2="{floor}"/>',
        f'<polyline class="runner" style="fill: none" stroke-width="2" points="{path}"/>',
    ]
    for x, y, count, median in points:
        value = escape(words.quantity(median, "s"))
        parts.append(f'<circle class="runner" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
        parts.append(f'<text class="faint" x="{x - 6:.1f}" y="{y - 7:.1f}">{value}</text>')
        parts.append(f'<text class="faint" x="{x - 6:.1f}" y="{floor + 15}">{count}</text>')
    return "".join(parts)
