"""Takes samples of several contenders in turn, so that noise of the machine meets all of them alike."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping

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
    chance: random.Random | None = None,
) -> dict[str, list[float]]:
    """Take one sample of each contender a round, each round in another order.

    Args:
        contenders: What is compared, by name.
        rounds: Number of samples of each.
        warm_ups: Rounds before that whose samples are thrown away: first uses of connections and caches.
        pause: Seconds between two samples, in which what the last one left running comes to rest.
        tell: Told of each round.
        chance: Decides upon the order.

    Returns:
        The samples by contender, in the order of the rounds.
    """
    chance = chance or random.Random()  # noqa: S311 (no secret)
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(-warm_ups, rounds):
        order = list(contenders)
        chance.shuffle(order)
        taken = {}
        for name in order:
            taken[name] = await contenders[name]()
            await asyncio.sleep(pause)
        told = ", ".join(f"{name} {taken[name]:.4g}" for name in contenders)
        if number < 0:
            tell(f"warm-up: {told}")
            continue
        tell(f"round {number + 1} of {rounds}: {told}")
        for name in contenders:
            samples[name].append(taken[name])
    return samples
