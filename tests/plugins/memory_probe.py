"""A worker's process that serves one ``start_bot`` and says by how much its memory grew at most.

``python -m tests.plugins.memory_probe``: settings from the environment, params as JSON on standard input,
``{"grown": bytes, "error": {…} | null}`` on standard output.
"""

import asyncio
import json
import sys
from typing import Any

from tests.corpus.watching import PeakMemory

from bot_runner_worker.runner import Runner
from bot_runner_worker.settings import Settings
from bot_runner_worker.testing.memory_runner import ignore_progress


async def probe(params: dict[str, Any]) -> dict[str, Any]:
    """Serve the task between two looks at the memory, and remove what was started."""
    async with Runner(Settings.load()) as runner:
        # What is loaded at the first use of the Engine, TLS and plugins is not the context's doing.
        await runner.run_task("list_bots", {"user_id": "alice"}, ignore_progress)
        with PeakMemory() as memory:
            outcome = await runner.run_task("start_bot", params, ignore_progress)
        await runner.runtime.remove_all()
        return {"grown": memory.growth, "error": outcome.error}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(probe(json.load(sys.stdin)))))
