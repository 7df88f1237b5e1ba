#!/usr/bin/env python3
"""Counts what one start touches on the in-memory runner: the core's modules, functions and calls.

A measure of how much there is to read. As a profiler counts, a coroutine counts again each time it goes on.
"""

import asyncio
import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import bot_runner_worker
from bot_runner_worker.testing.memory_runner import memory_runner

CORE = Path(bot_runner_worker.__file__).parent
PARAMS: dict[str, Any] = {
    "user_id": "alice",
    "bot_id": "bot",
    "deployment_mode": "simple",
    "files": {"bot.py": "print(1)"},
}


async def main() -> None:
    """Trace one start, and print its modules and the sums."""
    calls: Counter[tuple[str, str]] = Counter()

    def trace(frame: FrameType, event: str, _: Any) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(str(CORE)) and "/testing/" not in file:
            calls[file, frame.f_code.co_qualname] += 1

    async with memory_runner() as runner:
        threading.setprofile(trace)
        sys.setprofile(trace)
        try:
            outcome = await runner.task("start_bot", **PARAMS)
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    assert outcome.error is None, outcome
    modules: Counter[str] = Counter()
    for (file, _), number in calls.items():
        modules[str(Path(file).relative_to(CORE))] += number
    for module, number in sorted(modules.items()):
        print(f"{number:5}  {module}")
    print(f"{len(modules)} modules, {len(calls)} functions, {calls.total()} calls")


if __name__ == "__main__":
    asyncio.run(main())
