"""Samples of several contenders, and what they come to: medians, and how sure one may be of them."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

Sample = Callable[[], Awaitable[float]]
"""Does one thing once, with its preparation before and its clean-up after, and returns what was measured."""

Tell = Callable[[str], None]
"""Told of progress, a line at a time."""


async def in_turn(
    contenders: Mapping[str, Sample],
    *,
    rounds: int,
    warm_ups: int = 1,
    pause: float = 0.2,
    tell: Tell = lambda _line: None,
) -> dict[str, list[float]]:
    """Take one sample of each contender a round, each round in another order; returns the samples by name.

    Args:
        contenders: What is compared, by name.
        rounds: Number of samples of each.
        warm_ups: Rounds before that whose samples are thrown away: first uses of connections and caches.
        pause: Seconds between two samples, in which what the last one left running comes to rest.
        tell: Told of each round.
    """
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(-warm_ups, rounds):
        for name in random.sample(list(contenders), len(contenders)):
            samples[name].append(await contenders[name]())
            await asyncio.sleep(pause)
        title = "warm-up" if number < 0 else f"round {number + 1} of {rounds}"
        tell(f"{title}: " + ", ".join(f"{name} {taken[-1]:.4g}" for name, taken in samples.items()))
    return {name: taken[warm_ups:] for name, taken in samples.items()}


RESAMPLES = 2_000
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Spread:
    """What a series of samples comes to: their number, the median and the quartiles around it."""

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
    """A figure, and the interval in which it lies with a probability of 95 %; ``None`` of two samples."""

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
    one: Sequence[float], other: Sequence[float], figure: Callable[[Sequence[float], Sequence[float]], float]
) -> Estimate:
    """The figure, with the middle 95 % of what it is for samples drawn anew from the samples.

    The samples were taken round by round: a round is drawn as a whole, since whatever slowed the machine in
    it slowed both.
    """
    value = figure(one, other)
    if len(one) < 3:
        return Estimate(value)
    chance = random.Random(0)  # noqa: S311 (no secret: the same samples give the same interval)
    rounds = list(zip(one, other, strict=True))
    figures = sorted(
        figure(*zip(*chance.choices(rounds, k=len(rounds)), strict=True)) for _ in range(RESAMPLES)
    )
    tail = int(RESAMPLES * (1 - CONFIDENCE) / 2)
    return Estimate(value, figures[tail], figures[-1 - tail])
