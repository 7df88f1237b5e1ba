"""Row 9, second half: the last 100 lines of a log of 95 MB."""

import time
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench
from benchmarks.results import ratio

LINES = 100
SIZE = 95_000_000
FILL_SECONDS = 180

LIMITS: dict[str, Any] = {"container_log_limit": "400m", "container_cpu_limit": 2.0}
"""For the bot: a file of that size, and more CPU so that it has said its lines sooner."""

# A line of the file holds the text, about 70 bytes around it, and the escaped end of the line.
_TEXT = 160
TALKER = f"""\
import sys, time
line = "x" * {_TEXT - 1} + "\\n"
for _ in range({SIZE // (_TEXT + 75)}):
    sys.stdout.write(line)
sys.stdout.flush()
while True:
    time.sleep(1)
"""


async def measure(bench: Bench) -> None:
    """``get_logs`` of the runner, and the raw call for the same lines of the same container."""
    docker = bench.docker
    # No watcher is at work here: it would end a bot that prints so much at once.
    async with bench.runner("logs", background=False, **LIMITS) as runner:
        result = await runner.task(
            "start_bot",
            user_id="talker",
            bot_id="bot",
            deployment_mode="simple",
            code=TALKER,
        )
        container = result["container_id"]
        size = await bench.by_hand(lambda: _filled(docker.json("GET", f"/containers/{container}/json")))
        bench.tell(f"the log has {size / 1e6:.0f} MB")

        def raw() -> float:
            began = time.perf_counter()
            docker.call(
                "GET", f"/containers/{container}/logs", stdout="1", stderr="1", timestamps="1", tail=LINES
            )
            return time.perf_counter() - began

        async def by_hand() -> float:
            return await bench.by_hand(raw)

        async def by_runner() -> float:
            return await runner.timed("get_logs", user_id="talker", bot_id="bot", lines=LINES)

        taken = await bench.in_turn({"raw": by_hand, "runner": by_runner}, full=40, quick=10, pause=0.02)
    await bench.by_hand(lambda: docker.remove(container))
    bench.add(
        ratio(
            "logs",
            f"get_logs of {LINES} lines in {size / 1e6:.0f} MB",
            "the raw API call",
            taken["runner"],
            taken["raw"],
            2.0,
        )
    )


def _filled(container: dict[str, str]) -> int:
    """Wait until the log has its size; returns it in bytes."""
    log = Path(container["LogPath"])
    deadline = time.monotonic() + FILL_SECONDS
    size, before = log.stat().st_size, 0
    while size < 0.95 * SIZE or size != before:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the log has only {size} bytes")
        time.sleep(0.5)
        size, before = log.stat().st_size, size
    return size
