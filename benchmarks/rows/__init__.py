"""The rows, in groups that are measured together."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.rows import start


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that share what they are measured with.

    Args:
        summary: What is measured.
        measure: Does it.
        quick: Whether ``--quick`` has it.
    """

    summary: str
    measure: Callable[[Bench], Awaitable[None]]
    quick: bool = False


GROUPS = {
    "start": Group("start with known dependencies, new code", start.measure, quick=True),
}
