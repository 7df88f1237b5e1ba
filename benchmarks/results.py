"""What a run comes to: rows with a figure and, mostly, a target; curves; facts about the machine."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from benchmarks.estimates import Estimate, Spread, difference_of_medians, ratio_of_medians

Unit = Literal["s", "MB", ""]
"""Of samples: seconds, megabytes, or a number of things."""

Kind = Literal["ratio", "speed-up", "difference", "value"]


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should be.

    Args:
        relation: Whether the limit is the most or the least.
        limit: In the figure's unit.
    """

    relation: Literal["<=", ">="]
    limit: float

    def holds(self, value: float) -> bool:
        """Whether a figure is as it should be."""
        return value <= self.limit if self.relation == "<=" else value >= self.limit


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Args:
        key: Group and name, such as ``start.own-network``.
        what: What was measured.
        against: The baseline, in words.
        kind: How the figure follows from the samples.
        unit: Of the samples; the figure's own unless it is a ratio.
        figure: The figure that the target speaks of.
        target: ``None`` for what is reported only.
        subject: The runner's samples, summed up.
        baseline: The baseline's.
        notes: What else should be known.
    """

    key: str
    what: str
    against: str
    kind: Kind
    unit: Unit
    figure: Estimate
    target: Target | None = None
    subject: Spread | None = None
    baseline: Spread | None = None
    notes: tuple[str, ...] = ()

    @property
    def holds(self) -> bool | None:
        """Whether the target is reached; ``None`` without one."""
        return None if self.target is None else self.target.holds(self.figure.value)


@dataclass(frozen=True, slots=True)
class Curve:
    """How something grows with the number of bots.

    Args:
        what: What was measured, in seconds.
        points: Number of bots and the samples' spread.
    """

    what: str
    points: tuple[tuple[int, Spread], ...]


@dataclass(slots=True)
class Results:
    """All of a run."""

    machine: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """Groups that could not be measured, and what was left behind."""

    @property
    def missed(self) -> list[Row]:
        """Rows whose target is not reached."""
        return [row for row in self.rows if row.holds is False]

    @property
    def exit_code(self) -> int:
        """0 if everything was measured, every target is reached and nothing is left behind."""
        return 1 if self.missed or self.failures else 0

    def to_dict(self) -> dict[str, Any]:
        """For ``results.json``."""
        rows = [asdict(row) | {"holds": row.holds} for row in self.rows]
        return {
            "machine": self.machine,
            "rows": rows,
            "curves": [asdict(curve) for curve in self.curves],
            "failures": self.failures,
            "exit_code": self.exit_code,
        }


def ratio(
    key: str,
    what: str,
    against: str,
    subject: Sequence[float],
    baseline: Sequence[float],
    at_most: float | None,
    *notes: str,
) -> Row:
    """A row that says how many times as long as its baseline the runner takes."""
    return Row(
        key,
        what,
        against,
        "ratio",
        "s",
        ratio_of_medians(subject, baseline),
        None if at_most is None else Target("<=", at_most),
        Spread.of(subject),
        Spread.of(baseline),
        notes,
    )


def speed_up(
    key: str,
    what: str,
    against: str,
    subject: Sequence[float],
    baseline: Sequence[float],
    at_least: float | None,
    *notes: str,
) -> Row:
    """A row that says how many times as fast as its baseline the runner is."""
    return Row(
        key,
        what,
        against,
        "speed-up",
        "s",
        ratio_of_medians(baseline, subject),
        None if at_least is None else Target(">=", at_least),
        Spread.of(subject),
        Spread.of(baseline),
        notes,
    )


def difference(
    key: str,
    what: str,
    against: str,
    subject: Sequence[float],
    baseline: Sequence[float],
    at_most: float | None,
    *notes: str,
    unit: Unit = "s",
) -> Row:
    """A row that says how much more than its baseline the runner takes."""
    return Row(
        key,
        what,
        against,
        "difference",
        unit,
        difference_of_medians(subject, baseline),
        None if at_most is None else Target("<=", at_most),
        Spread.of(subject),
        Spread.of(baseline),
        notes,
    )


def value(
    key: str, what: str, figure: float, at_most: float | None, *notes: str, unit: Unit = "", against: str = ""
) -> Row:
    """A row with a figure of its own, without a baseline."""
    target = None if at_most is None else Target("<=", at_most)
    return Row(key, what, against, "value", unit, Estimate(figure), target, notes=notes)
