"""``python -m benchmarks``: measure, print the table, write ``build/bench/``."""

import argparse
import logging
import os
import platform
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from benchmarks import report
from benchmarks.bench import Bench
from benchmarks.docker_api import DockerError
from benchmarks.rows import crowd, running, starts
from bot_runner_stack import interrupts
from bot_runner_stack.errors import StackError
from bot_runner_stack.locks import exclusive

GROUPS = {
    "start": starts.known,
    "requirements": starts.requirements,
    "first-poll": starts.first_poll,
    "replace": running.replace,
    "burst": running.burst,
    "redeploy": running.redeploy,
    "orchestrator": running.orchestrator,
    "logs": running.logs,
    "crowd": crowd.measure,
}
"""What is measured together, each described in its docstring."""

QUICK = ("start", "replace", "burst", "crowd")
"""The groups of ``--quick``."""


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the runner against doing the same by hand. Exit code 1 if a target is missed.",
    )
    parser.add_argument("--quick", action="store_true", help="the most important rows, with few samples")
    only = f"measure this group of rows; may be repeated: {', '.join(GROUPS)}"
    parser.add_argument("--only", metavar="GROUP", action="append", choices=list(GROUPS), help=only)
    samples = "samples of each contender in each row"
    parser.add_argument("--rounds", metavar="N", type=int, choices=range(1, 1001), help=samples)
    given = parser.parse_args(arguments)
    wanted = given.only or (QUICK if given.quick else GROUPS)
    given.groups = tuple(name for name in GROUPS if name in wanted)
    return given


def main() -> int:
    """Run what was asked for and return the exit code: 1 for a target that is missed, or a fault."""
    options = parse()
    # Of a runner that is measured, only what goes wrong matters.
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    try:
        with exclusive("bench", busy="Another benchmark is running on this machine: wait for its end."):
            return interrupts.run(_run(options))
    except (StackError, DockerError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


async def _run(options: argparse.Namespace) -> int:
    """Measure the groups one after the other; one that fails is noted, and the others go on."""
    began = time.monotonic()
    base_image = os.environ.get("BASE_IMAGE") or "python:3.12-slim"

    def tell(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f}  {line}", file=sys.stderr, flush=True)

    async with Bench(base_image, tell, quick=options.quick, rounds=options.rounds) as bench:
        results = bench.results
        # What the figures are measured on, and how busy it is.
        results.machine = {
            "began": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "Engine": bench.docker.json("GET", "/version")["Version"],
            "cores": os.cpu_count() or 1,
            "kernel": platform.release(),
            "Python": platform.python_version(),
            "load": round(os.getloadavg()[0], 2),
        }
        if results.machine["load"] > results.machine["cores"] / 2:
            tell("warning: this machine is busy: figures are noisy, most so in rows with little work")
        for name in options.groups:
            tell(f"== {name}")
            try:
                await GROUPS[name](bench)
            except Exception as error:  # noqa: BLE001 (whatever it is, the other rows are worth having)
                results.failures.append(f"{name} could not be measured: {type(error).__name__}: {error}")
                tell(results.failures[-1])
    results.machine["took"] = f"{time.monotonic() - began:.0f} s"
    paths = report.write(results)
    print(f"\n{report.table(results)}\n\nwritten: {', '.join(map(str, paths))}")
    return results.exit_code


if __name__ == "__main__":
    sys.exit(main())
