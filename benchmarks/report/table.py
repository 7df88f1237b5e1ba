"""The table on the terminal."""

import textwrap
from collections.abc import Sequence

from benchmarks.report import words
from benchmarks.results import Curve, Results, Row

_WIDTH = 110


def row_line(row: Row) -> str:
    """One row on one line, for the progress."""
    target = words.target(row)
    wanted = f", target {target}: {words.VERDICTS[row.holds]}" if target else ""
    return f"{row.key}: {words.figure(row)}{wanted}"


def table(results: Results) -> str:
    """All of a run as text."""
    parts = [machine_line(results), _rows(results.rows)]
    if results.curves:
        parts.append(_curves(results.curves))
    parts += [f"! {failure}" for failure in results.failures]
    parts.append(verdict(results))
    return "\n\n".join(part for part in parts if part)


def machine_line(results: Results) -> str:
    """What the figures were measured on."""
    return ", ".join(f"{name} {value}" for name, value in results.machine.items())


def verdict(results: Results) -> str:
    """The last line."""
    with_target = [row for row in results.rows if row.target is not None]
    held = len(with_target) - len(results.missed)
    text = f"{held} of {len(with_target)} targets held"
    if results.missed:
        text += "; missed: " + ", ".join(row.key for row in results.missed)
    return text


def _rows(rows: Sequence[Row]) -> str:
    blocks = []
    for row in rows:
        head = f"{words.VERDICTS[row.holds]:<7} {row.key:<22} {words.figure(row):<28} {words.target(row)}"
        lines = [head.rstrip(), f"        {row.what}"]
        subject, baseline = words.spread(row.subject, row.unit), words.spread(row.baseline, row.unit)
        count = f", n={row.subject.count}" if row.subject else ""
        if subject:
            lines.append(f"        {subject} against {baseline}: {row.against}{count}")
        elif row.against:
            lines.append(f"        against: {row.against}")
        for note in row.notes:
            lines += textwrap.wrap(note, _WIDTH, initial_indent=" " * 8, subsequent_indent=" " * 8)
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _curves(curves: Sequence[Curve]) -> str:
    counts = sorted({count for curve in curves for count, _ in curve.points})
    width = max(len(curve.what) for curve in curves)
    lines = [f"{'with so many bots':<{width}}" + "".join(f"{count:>12}" for count in counts)]
    for curve in curves:
        at = {count: words.quantity(spread.median, "s") for count, spread in curve.points}
        lines.append(f"{curve.what:<{width}}" + "".join(f"{at.get(count, ''):>12}" for count in counts))
    return "\n".join(lines)
