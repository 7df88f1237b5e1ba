"""A worker's process that serves one ``start_bot`` and says by how much its memory grew at most.

``python -m tests.plugins.memory_probe``: settings from the environment, params as JSON on standard input,
``{"grown": bytes, "error": {…} | null}`` on standard output.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from bot_runner_worker.runner import Runner
from bot_runner_worker.settings import Settings


async def probe(params: dict[str, Any]) -> dict[str, Any]:
    """Serve the task between two looks at the memory, and remove what was started."""

    async def ignore(_fraction: float, _message: str) -> None:
        pass

    async with Runner(Settings.load()) as runner:
        # What is loaded at the first use of the Engine, TLS and plugins is not the context's doing.
        await runner.run_task("list_bots", {"user_id": "alice"}, ignore)
        before = _status("VmRSS")
        _forget_the_peak()
        outcome = await runner.run_task("start_bot", params, ignore)
        grown = _status("VmHWM") - before
        await runner.runtime.remove_all()
        return {"grown": grown, "error": outcome.error}


def _forget_the_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(probe(json.load(sys.stdin)))))
