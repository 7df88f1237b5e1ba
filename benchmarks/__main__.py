"""``python -m benchmarks``: measure, print the table, write ``build/bench/``."""

import argparse
import asyncio
import json
import logging
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from benchmarks import report
from benchmarks.bench import Bench
from benchmarks.docker_api import Docker, DockerError
from benchmarks.results import Results
from benchmarks.rows import GROUPS
from bot_runner_stack import interrupts
from bot_runner_stack.errors import StackError
from bot_runner_stack.locks import exclusive

DEFAULT_BASE_IMAGE = "python:3.12-slim"

BUSY_SHARE = 0.5
"""A load of more than so much of the cores is no quiet machine."""


def parse(arguments: Sequence[str] | None, groups: Mapping[str, bool]) -> argparse.Namespace:
    """Read the command line; ``groups`` says what can be measured, and whether ``--quick`` has it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the runner against doing the same by hand. Exit code 1 if a target is missed.",
    )
    parser.add_argument("--quick", action="store_true", help="the most important rows, with few samples")
    only = f"measure this group of rows; may be repeated: {', '.join(groups)}"
    parser.add_argument("--only", metavar="GROUP", action="append", choices=list(groups), help=only)
    parser.add_argument("--rounds", metavar="N", type=_count, help="samples of each contender in each row")
    parser.add_argument("--json", action="store_true", help="print the results as JSON, progress aside")
    parser.add_argument("--list", action="store_true", help="say what there is, and measure nothing")
    given = parser.parse_args(arguments)
    usual = [name for name, in_quick in groups.items() if in_quick or not given.quick]
    wanted = usual if given.only is None else [name for name in groups if name in given.only]
    given.groups = tuple(wanted)
    return given


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for and return the exit code: 1 for a target that is missed, or a fault."""
    options = parse(arguments, {name: group.quick for name, group in GROUPS.items()})
    if options.list:
        for name, group in GROUPS.items():
            print(f"{name:<14} {group.summary}{' (also --quick)' if group.quick else ''}")
        return 0
    # Of a runner that is measured, only what goes wrong matters.
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    try:
        with exclusive("bench", busy="Another benchmark is running on this machine: wait for its end."):
            return interrupts.run(_run(options))
    except (StackError, DockerError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


async def _run(options: argparse.Namespace) -> int:
    results = await measure(options)
    paths = report.write(results)
    if options.json:
        print(json.dumps(results.to_dict(), indent=2, ensure_ascii=False))
    else:
        print(f"\n{report.table(results)}\n")
    _tell(f"written: {', '.join(map(str, paths))}")
    return results.exit_code


async def measure(options: argparse.Namespace) -> Results:
    """Measure the groups one after the other; one that fails is noted, and the others go on."""
    began = time.monotonic()
    base_image = os.environ.get("BASE_IMAGE") or DEFAULT_BASE_IMAGE

    def tell(line: str) -> None:
        _tell(f"{time.monotonic() - began:6.1f}  {line}")

    async with Bench(base_image, tell, quick=options.quick, rounds=options.rounds) as bench:
        results = bench.results
        results.machine = await bench.by_hand(lambda: machine(bench.docker))
        if results.machine["load"] > BUSY_SHARE * results.machine["cores"]:
            tell("warning: this machine is busy: figures are noisy, most so in rows with little work")
        for name in options.groups:
            tell(f"== {name}: {GROUPS[name].summary}")
            try:
                await GROUPS[name].measure(bench)
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 (whatever it is, the other rows are worth having)
                results.failures.append(f"{name} could not be measured: {type(error).__name__}: {error}")
                tell(results.failures[-1])
    results.machine["took"] = f"{time.monotonic() - began:.0f} s"
    return results


def machine(docker: Docker) -> dict[str, Any]:
    """What the figures are measured on, and how busy it is."""
    return {
        "began": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "Engine": docker.json("GET", "/version")["Version"],
        "cores": os.cpu_count() or 1,
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
