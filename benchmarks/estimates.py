"""Medians, quartiles, and how sure one may be of a ratio of medians."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

RESAMPLES = 2_000
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Spread:
    """What a series of samples comes to.

    Args:
        count: Number of samples.
        low: First quartile.
        median: The middle.
        high: Third quartile.
    """

    count: int
    low: float
    median: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> "Spread":
        """Sum samples up; there must be at least one."""
        if len(samples) < 2:
            return cls(len(samples), samples[0], samples[0], samples[0])
        low, middle, high = quantiles(samples, n=4, method="inclusive")
        return cls(len(samples), low, middle, high)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, and the interval in which it lies with a probability of 95 %.

    Args:
        value: The figure.
        low: Lower end, ``None`` if there is nothing to tell it from.
        high: Upper end.
    """

    value: float
    low: float | None = None
    high: float | None = None


def ratio_of_medians(numerator: Sequence[float], denominator: Sequence[float]) -> Estimate:
    """The ratio of two series' medians."""
    return _bootstrap(numerator, denominator, lambda one, other: median(one) / median(other))


def difference_of_medians(minuend: Sequence[float], subtrahend: Sequence[float]) -> Estimate:
    """The difference of two series' medians."""
    return _bootstrap(minuend, subtrahend, lambda one, other: median(one) - median(other))


def _bootstrap(
    one: Sequence[float],
    other: Sequence[float],
    figure: Callable[[Sequence[float], Sequence[float]], float],
) -> Estimate:
    """The figure, with the middle 95 % of what it is for samples drawn anew from the samples.

    Series of one length were taken round by round: a round is drawn as a whole, since whatever slowed the
    machine in it slowed both.
    """
    value = figure(one, other)
    if min(len(one), len(other)) < 3:
        return Estimate(value)
    chance = random.Random(0)  # noqa: S311 (no secret: the same samples give the same interval)
    paired = len(one) == len(other)
    figures = []
    for _ in range(RESAMPLES):
        first = chance.choices(range(len(one)), k=len(one))
        second = first if paired else chance.choices(range(len(other)), k=len(other))
        figures.append(figure([one[index] for index in first], [other[index] for index in second]))
    figures.sort()
    tail = int(RESAMPLES * (1 - CONFIDENCE) / 2)
    return Estimate(value, figures[tail], figures[-1 - tail])
