"""What a run comes to: rows with a figure and, mostly, a target; growth; facts about the machine."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from benchmarks.measuring import Estimate, Spread, difference_of_medians, ratio_of_medians

Unit = Literal["s", "MB"]
Kind = Literal["ratio", "speed-up", "difference", "value"]
"""How many times as long as its baseline the runner takes, how many times as fast it is, how much more it
takes; or a figure of its own."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Its limit is the least of a speed-up, the most of anything else, and ``None`` for what is reported only.
    """

    key: str
    what: str
    against: str
    kind: Kind
    figure: Estimate
    limit: float | None = None
    unit: Unit = "s"
    subject: Spread | None = None
    baseline: Spread | None = None
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the target is reached; ``None`` without one."""
        if self.limit is None:
            return None
        value = self.figure.value
        return value >= self.limit if self.kind == "speed-up" else value <= self.limit


@dataclass(slots=True)
class Results:
    """All of a run; among its failures is what it left behind."""

    machine: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    curves: dict[str, dict[int, Spread]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    @property
    def missed(self) -> list[str]:
        """Rows whose target is not reached."""
        return [row.key for row in self.rows if row.holds is False]

    @property
    def exit_code(self) -> int:
        """0 if everything was measured, every target is reached and nothing is left behind."""
        return 1 if self.missed or self.failures else 0

    def to_dict(self) -> dict[str, Any]:
        """For ``results.json``."""
        rows = [asdict(row) | {"holds": row.holds} for row in self.rows]
        return {**asdict(self), "rows": rows, "exit_code": self.exit_code}


def compare(
    kind: Kind,
    key: str,
    what: str,
    against: str,
    subject: Sequence[float],
    baseline: Sequence[float],
    limit: float | None,
    note: str = "",
    unit: Unit = "s",
) -> Row:
    """A row of the runner's samples and its baseline's."""
    pair = (baseline, subject) if kind == "speed-up" else (subject, baseline)
    figure = difference_of_medians(*pair) if kind == "difference" else ratio_of_medians(*pair)
    return Row(key, what, against, kind, figure, limit, unit, Spread.of(subject), Spread.of(baseline), note)
