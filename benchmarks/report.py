"""A run's results as text, as JSON, and as a picture for the README."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from benchmarks.measuring import Spread
from benchmarks.results import Results, Row, Unit

FOLDER = Path("build/bench")
VERDICTS = {True: "held", False: "MISSED", None: "-"}


def write(results: Results, folder: Path = FOLDER) -> list[Path]:
    """Write ``results.json``, ``results.txt`` and ``speed.svg``; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "results.json": json.dumps(results.to_dict(), indent=2, ensure_ascii=False) + "\n",
        "results.txt": table(results) + "\n",
        "speed.svg": picture(results.rows),
    }
    for name, content in contents.items():
        (folder / name).write_text(content, encoding="utf-8")
    return [folder / name for name in contents]


def row_line(row: Row) -> str:
    """One row on one line, for the progress."""
    target = _target(row)
    return f"{row.key}: {_figure(row)}" + (f", target {target}: {VERDICTS[row.holds]}" if target else "")


def table(results: Results) -> str:
    """All of a run as text."""
    machine = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    parts = [machine, "\n\n".join(map(_block, results.rows)), _curves(results.curves)]
    parts += [f"! {failure}" for failure in results.failures]
    with_target = [row for row in results.rows if row.limit is not None]
    held = f"{len(with_target) - len(results.missed)} of {len(with_target)} targets held"
    parts.append(held + (f"; missed: {', '.join(results.missed)}" if results.missed else ""))
    return "\n\n".join(part for part in parts if part)


def _block(row: Row) -> str:
    head = f"{VERDICTS[row.holds]:<7} {row.key:<22} {_figure(row):<28} {_target(row)}"
    lines = [head.rstrip(), f"        {row.what}"]
    if row.subject and row.baseline:
        samples = f"{_spread(row.subject, row.unit)} against {_spread(row.baseline, row.unit)}"
        lines.append(f"        {samples}: {row.against}, n={row.subject.count}")
    return "\n".join([*lines, *([f"        {row.note}"] if row.note else [])])


def _curves(curves: Mapping[str, Mapping[int, Spread]]) -> str:
    lines: list[str] = []
    for what, points in curves.items():
        if not lines:
            lines.append(f"{'with so many bots':<40}" + "".join(f"{count:>12}" for count in points))
        medians = (quantity(spread.median, "s") for spread in points.values())
        lines.append(f"{what:<40}" + "".join(f"{median:>12}" for median in medians))
    return "\n".join(lines)


def quantity(value: float, unit: Unit) -> str:
    """A figure with its unit, with three digits that count."""
    return f"{_three(1000 * value)} ms" if unit == "s" and abs(value) < 1 else f"{_three(value)} {unit}"


def _figure(row: Row) -> str:
    one = _in_words(row, row.figure.value)
    if row.figure.low is None or row.figure.high is None:
        return one
    return f"{one} ({_in_words(row, row.figure.low)} to {_in_words(row, row.figure.high)})"


def _target(row: Row) -> str:
    sign = "≥" if row.kind == "speed-up" else "≤"
    return "" if row.limit is None else f"{sign} {_in_words(row, row.limit)}"


def _in_words(row: Row, value: float) -> str:
    if row.kind in ("ratio", "speed-up"):
        return f"{value:.2f} x"
    return ("+" if row.kind == "difference" and value >= 0 else "") + quantity(value, row.unit)


def _spread(samples: Spread, unit: Unit) -> str:
    """A median with its quartiles, these in the unit of the median."""
    middle = quantity(samples.median, unit)
    factor = 1000 if unit == "s" and abs(samples.median) < 1 else 1
    quartiles = f"{_three(factor * samples.low)}-{_three(factor * samples.high)}"
    return middle if samples.count == 1 else f"{middle} [{quartiles}]"


def _three(value: float) -> str:
    size = abs(value)
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


_LEFT, _BARS, _ROW_HEIGHT = 16, 470, 58
_STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.faint { fill: #59636e; font-size: 12px; }
.runner { fill: #0969da; stroke: #0969da; }
.baseline { fill: #afb8c1; stroke: #818b98; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; }
  .faint { fill: #9198a1; }
  .runner { fill: #4493f8; stroke: #4493f8; }
  .baseline { fill: #59636e; stroke: #9198a1; }
}
"""


def picture(rows: Sequence[Row]) -> str:
    """An SVG with a bar for the runner and one for its baseline, each row in a scale of its own."""
    shown = [row for row in rows if row.subject and row.baseline and row.unit == "s"]
    height = 44 + len(shown) * _ROW_HEIGHT
    legend = (
        f'<rect class="runner" x="{_LEFT}" y="12" width="12" height="12"/>'
        f'<text x="{_LEFT + 18}" y="22">Bot Runner</text>'
        f'<rect class="baseline" x="{_LEFT + 110}" y="12" width="12" height="12"/>'
        f'<text x="{_LEFT + 128}" y="22">by hand (shorter is better)</text>'
    )
    body = "\n".join([legend, *(_bars(row, 44 + at * _ROW_HEIGHT) for at, row in enumerate(shown))])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {height}" width="760" role="img">\n'
        f"<title>Speed against doing it by hand</title>\n<style>\n{_STYLE}</style>\n{body}\n</svg>\n"
    )


def _bars(row: Row, top: int) -> str:
    assert row.subject is not None
    assert row.baseline is not None
    longest = max(row.subject.median, row.baseline.median) or 1.0
    lines = [f'<text x="{_LEFT}" y="{top + 10}">{escape(row.what)}</text>']
    bars = (("runner", row.subject, top + 17, ""), ("baseline", row.baseline, top + 31, f", {row.against}"))
    for kind, spread, y, against in bars:
        width = max(1.0, _BARS * spread.median / longest)
        label = escape(quantity(spread.median, row.unit) + against)
        lines.append(
            f'<rect class="{kind}" x="{_LEFT}" y="{y}" width="{width:.1f}" height="11"/>'
            f'<text class="faint" x="{_LEFT + width + 6:.1f}" y="{y + 10}">{label}</text>'
        )
    return "\n".join(lines)
