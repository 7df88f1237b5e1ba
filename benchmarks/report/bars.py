"""A picture of the rows, written by hand as SVG: readable on light and on dark pages."""

from collections.abc import Sequence
from html import escape

from benchmarks.report import words
from benchmarks.results import Row

WIDTH = 760
_LEFT, _BARS = 16, 470
_ROW_HEIGHT = 58

STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.faint { fill: #59636e; font-size: 12px; }
.runner { fill: #0969da; stroke: #0969da; }
.baseline { fill: #afb8c1; stroke: #818b98; }
.axis { stroke: #d1d9e0; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; }
  .faint { fill: #9198a1; }
  .runner { fill: #4493f8; stroke: #4493f8; }
  .baseline { fill: #59636e; stroke: #9198a1; }
  .axis { stroke: #3d444d; }
}
"""


def bars(rows: Sequence[Row]) -> str:
    """A bar for the runner and one for its baseline, each row in a scale of its own.

    Args:
        rows: Those with samples of both in seconds are shown.
    """
    shown = [row for row in rows if row.subject and row.baseline and row.unit == "s"]
    parts = [_row(row, 44 + number * _ROW_HEIGHT) for number, row in enumerate(shown)]
    legend = (
        f'<rect class="runner" x="{_LEFT}" y="12" width="12" height="12"/>'
        f'<text x="{_LEFT + 18}" y="22">Bot Runner</text>'
        f'<rect class="baseline" x="{_LEFT + 110}" y="12" width="12" height="12"/>'
        f'<text x="{_LEFT + 128}" y="22">by hand (shorter is better)</text>'
    )
    return document(44 + len(shown) * _ROW_HEIGHT, [legend, *parts], "Speed against doing it by hand")


def document(height: int, parts: Sequence[str], title: str) -> str:
    """An SVG document in the pictures' common style."""
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'role="img">\n<title>{escape(title)}</title>\n<style>\n{STYLE}</style>\n{body}\n</svg>\n'
    )


def _row(row: Row, top: int) -> str:
    assert row.subject is not None
    assert row.baseline is not None
    longest = max(row.subject.median, row.baseline.median) or 1.0
    lines = [f'<text x="{_LEFT}" y="{top + 10}">{escape(row.what)}</text>']
    against = {"runner": "", "baseline": f", {row.against}"}
    for kind, spread, y in (("runner", row.subject, top + 17), ("baseline", row.baseline, top + 31)):
        width = max(1.0, _BARS * spread.median / longest)
        label = words.quantity(spread.median, row.unit) + against[kind]
        lines.append(
            f'<rect class="{kind}" x="{_LEFT}" y="{y}" width="{width:.1f}" height="11"/>'
            f'<text class="faint" x="{_LEFT + width + 6:.1f}" y="{y + 10}">{escape(label)}</text>'
        )
    return "\n".join(lines)
