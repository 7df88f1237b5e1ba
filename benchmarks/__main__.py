"""``python -m benchmarks``: measure, print the table, write ``build/bench/``."""

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Sequence

from benchmarks import machine
from benchmarks.arguments import Options, parse
from benchmarks.bench import Bench, Plan
from benchmarks.docker_api import DockerError
from benchmarks.report import files
from benchmarks.report.table import table
from benchmarks.results import Results
from benchmarks.rows import GROUPS
from bot_runner_stack import interrupts
from bot_runner_stack.errors import StackError
from bot_runner_stack.locks import exclusive

DEFAULT_BASE_IMAGE = "python:3.12-slim"


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


async def _run(options: Options) -> int:
    results = await measure(options)
    paths = files.write(results)
    if options.json:
        print(json.dumps(results.to_dict(), indent=2, ensure_ascii=False))
    else:
        print(f"\n{table(results)}\n")
    _tell(f"written: {', '.join(map(str, paths))}")
    return results.exit_code


async def measure(options: Options) -> Results:
    """Measure the groups one after the other; one that fails is noted, and the others go on."""
    began = time.monotonic()
    base_image = os.environ.get("BASE_IMAGE") or DEFAULT_BASE_IMAGE

    def tell(line: str) -> None:
        _tell(f"{time.monotonic() - began:6.1f}  {line}")

    async with Bench(Plan(options.quick, options.rounds), base_image, tell) as bench:
        results = bench.results
        results.machine = await bench.by_hand(lambda: machine.facts(bench.docker))
        if (busy := machine.warning(results.machine)) is not None:
            tell(f"warning: {busy}")
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


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
