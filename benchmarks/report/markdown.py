"""``results.md``: the same tables for a page."""

from collections.abc import Sequence

from benchmarks.report import words
from benchmarks.report.table import machine_line, verdict
from benchmarks.results import Results


def markdown(results: Results) -> str:
    """All of a run as Markdown."""
    parts = [
        f"Medians [quartiles], figures with their 95 % interval. {machine_line(results)}.",
        _table(
            ("what", "runner", "against", "baseline", "figure", "target", ""),
            [
                (
                    row.what,
                    words.spread(row.subject, row.unit),
                    row.against,
                    words.spread(row.baseline, row.unit),
                    words.figure(row),
                    words.target(row),
                    words.VERDICTS[row.holds],
                )
                for row in results.rows
            ],
        ),
    ]
    if results.curves:
        counts = sorted({count for curve in results.curves for count, _ in curve.points})
        rows = []
        for curve in results.curves:
            at = {count: words.spread(spread, "s") for count, spread in curve.points}
            rows.append((curve.what, *(at.get(count, "") for count in counts)))
        parts.append(_table(("with so many bots", *map(str, counts)), rows))
    parts += [f"- {row.key}: {note}" for row in results.rows for note in row.notes]
    parts += [f"- **{failure}**" for failure in results.failures]
    parts.append(f"{verdict(results)}.")
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(each.replace("|", "\\|") for each in line) + " |" for line in lines)
