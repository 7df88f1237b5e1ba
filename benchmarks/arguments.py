"""The command line."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for.

    Args:
        groups: Names of the groups of rows to measure, in order.
        quick: Whether few samples must do.
        rounds: Number of samples of each contender, instead of each row's own.
        json: Whether to print the results as JSON.
        list: Whether to print what there is and measure nothing.
    """

    groups: tuple[str, ...]
    quick: bool = False
    rounds: int | None = None
    json: bool = False
    list: bool = False


def parse(arguments: Sequence[str] | None, groups: Mapping[str, bool]) -> Options:
    """Read the command line; a mistake ends the process with a message, as ``--help`` does.

    Args:
        arguments: By default, the process's.
        groups: What can be measured, and whether ``--quick`` has it.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the runner against doing the same by hand. Exit code 1 if a target is missed.",
    )
    parser.add_argument("--quick", action="store_true", help="the most important rows, with few samples")
    parser.add_argument(
        "--only",
        metavar="GROUP",
        action="append",
        choices=list(groups),
        help=f"measure this group of rows; may be repeated: {', '.join(groups)}",
    )
    parser.add_argument("--rounds", metavar="N", type=_count, help="samples of each contender in each row")
    parser.add_argument("--json", action="store_true", help="print the results as JSON, progress aside")
    parser.add_argument("--list", action="store_true", help="say what there is, and measure nothing")
    given = parser.parse_args(arguments)
    usual = [name for name, in_quick in groups.items() if in_quick or not given.quick]
    wanted = usual if given.only is None else [name for name in groups if name in given.only]
    return Options(tuple(wanted), given.quick, given.rounds, given.json, given.list)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number
