"""Figures in words: units, targets, verdicts."""

from benchmarks.estimates import Spread
from benchmarks.results import Row, Target, Unit

VERDICTS = {True: "held", False: "MISSED", None: "-"}


def quantity(value: float, unit: Unit) -> str:
    """A figure with its unit, with three digits that count."""
    match unit:
        case "s" if abs(value) < 1:
            return f"{_three(1000 * value)} ms"
        case "":
            return f"{value:g}"
        case _:
            return f"{_three(value)} {unit}"


def figure(row: Row) -> str:
    """A row's figure, with the interval in which it lies."""
    one = _one(row)
    estimate = row.figure
    if estimate.low is None or estimate.high is None:
        return one(estimate.value)
    return f"{one(estimate.value)} ({one(estimate.low)} to {one(estimate.high)})"


def target(row: Row) -> str:
    """A row's target, empty without one."""
    wanted: Target | None = row.target
    if wanted is None:
        return ""
    sign = {"<=": "≤", ">=": "≥"}[wanted.relation]
    return f"{sign} {_one(row)(wanted.limit)}"


def spread(samples: Spread | None, unit: Unit) -> str:
    """A median with its quartiles, empty without samples."""
    if samples is None:
        return ""
    if samples.count == 1:
        return quantity(samples.median, unit)
    return f"{quantity(samples.median, unit)} [{_range(samples, unit)}]"


def _range(samples: Spread, unit: Unit) -> str:
    # Both ends in the unit of the median, which is written before them.
    factor = 1000 if unit == "s" and abs(samples.median) < 1 else 1
    return f"{_three(factor * samples.low)}-{_three(factor * samples.high)}"


def _one(row: Row) -> "_Words":
    return _Words(row)


class _Words:
    """Writes figures of a row."""

    def __init__(self, row: Row) -> None:
        self._row = row

    def __call__(self, value: float) -> str:
        match self._row.kind:
            case "ratio" | "speed-up":
                return f"{value:.2f} x"
            case "difference":
                return ("+" if value >= 0 else "") + quantity(value, self._row.unit)
            case _:
                return quantity(value, self._row.unit)


def _three(value: float) -> str:
    size = abs(value)
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"
