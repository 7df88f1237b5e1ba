"""Row 4: from the start to the bot's first ``getUpdates``."""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from uuid import uuid4

from benchmarks import by_hand
from benchmarks.bench import REQUIREMENT, Bench
from benchmarks.leftovers import REPOSITORY
from benchmarks.results import speed_up
from bot_runner_stack import engine
from bot_runner_stack.telegram import TelegramEmulator

POLL_SECONDS = 120
ECHO_BOT = Path("examples/echo_bot/bot.py").read_text()


async def measure(bench: Bench) -> None:
    """The echo bot of the examples with half a core, against an emulator of Telegram on this machine.

    The documented way builds the new code into an image whose dependencies are cached, with the bytecode that
    pip compiles, and runs it with the same half core.
    """
    await bench.ready_image()
    docker = bench.docker

    async with (
        TelegramEmulator(host=await engine.bridge_address()) as telegram,
        bench.runner("poll", container_cpu_limit=by_hand.CPUS) as runner,
    ):

        async def until_first_poll(start: Callable[[str, dict[str, str]], Awaitable[object]]) -> float:
            account = telegram.register_bot(username=f"bench_{uuid4().hex[:8]}_bot")
            environment = {"BOT_TOKEN": account.token, "TELEGRAM_API_SERVER": telegram.url}
            began = time.monotonic()
            await start(f"{ECHO_BOT}\n# {uuid4().hex}\n", environment)
            return await account.wait_for_first_poll(timeout=POLL_SECONDS) - began

        async def by_runner() -> float:
            user = f"tenant-{uuid4().hex[:8]}"

            async def start(code: str, environment: dict[str, str]) -> None:
                await runner.start(
                    user,
                    deployment_mode="simple",
                    code=code,
                    requirements=[REQUIREMENT],
                    env_vars=environment,
                )

            took = await until_first_poll(start)
            await runner.remove(user)
            await runner.at_rest()
            return took

        async def documented() -> float:
            tag = f"{REPOSITORY}/poll:{uuid4().hex[:8]}"
            made: list[str] = []

            def build_and_run(code: str, environment: dict[str, str]) -> None:
                docker.build(tag, by_hand.documented_files(bench.base, REQUIREMENT, code))
                made.append(docker.create(by_hand.container(tag, bench.network, environment=environment)))
                docker.start(made[0])

            try:
                return await until_first_poll(
                    lambda code, environment: bench.by_hand(lambda: build_and_run(code, environment))
                )
            finally:
                for container in made:
                    await bench.by_hand(partial(docker.remove, container))
                await bench.by_hand(partial(docker.remove_image, tag))

        taken = await bench.in_turn({"documented": documented, "runner": by_runner}, full=7, quick=2)
    bench.add(
        speed_up(
            "first-poll",
            "start to the bot's first getUpdates (aiogram, 0.5 CPU)",
            "documented build (cached) + run",
            taken["runner"],
            taken["documented"],
            2.0,
        )
    )
