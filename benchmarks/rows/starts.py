"""Starts of bots that were never seen: dependencies known, dependencies new, and until the bot works."""

import itertools
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks import by_hand
from benchmarks.bench import REQUIREMENT, Bench, BenchRunner, new_code
from benchmarks.leftovers import REPOSITORY
from benchmarks.measuring import Sample
from benchmarks.results import compare
from bot_runner_stack import engine
from bot_runner_stack.telegram import BotAccount, TelegramEmulator

POLL_SECONDS = 120
ECHO_BOT = Path("examples/echo_bot/bot.py").read_text()

FLOOR = "create + start by API (floor)"
DOCUMENTED = "documented build (cached) + run"

_numbers = itertools.count(1)


async def known(bench: Bench) -> None:
    """The runner with a network that is there and with one for each bot, the floor, the documented way.

    All start a bot with aiogram installed. The floor's image holds the bot already; the documented way builds
    the new code into one whose dependencies are cached.
    """
    floor = await bench.floor()

    async def documented() -> float:
        async with _documented(bench, new_code()) as took:
            return took

    def start(runner: BenchRunner) -> Sample:
        return lambda: runner.start_and_remove(requirements=[REQUIREMENT])

    async with (
        bench.runner("start-shared", network_mode="shared") as shared,
        bench.runner("start-own") as own,
    ):
        contenders = {"floor": floor, "shared": start(shared), "own": start(own), "documented": documented}
        taken = await bench.in_turn(contenders, full=20, quick=5)
    there = "start, dependencies known, new code; network there"
    included = "start, dependencies known, new code; own network included"
    own_network = taken["own"]
    bench.add(compare("ratio", "start.known", there, FLOOR, taken["shared"], taken["floor"], 1.25))
    bench.add(compare("ratio", "start.own-network", included, FLOOR, own_network, taken["floor"], 1.35))
    documented_row = ("start.documented", included, DOCUMENTED)
    bench.add(compare("speed-up", *documented_row, own_network, taken["documented"], 1.8))


async def requirements(bench: Bench) -> None:
    """The runner with its cache of wheels warm and cold, and the documented build with pip.

    The documented build keeps no cache of pip's, as in the documents and in most Dockerfiles. Cold is a
    namespace that has never installed anything: what is cached for others is not for it.

    What was made is removed after the last round, not after each sample. An ext4 without a journal passes
    over all inodes that were deleted in the last minute, for each file that is made (``recently_deleted`` in
    the kernel's ``fs/ext4/ialloc.c``): a sample right after thousands of files were removed would measure
    their removal.
    """
    namespaces = ["warm"]
    removals = AsyncExitStack()

    async def documented() -> float:
        return await removals.enter_async_context(_documented(bench, new_code(), _new_requirement()))

    async def installed(runner: BenchRunner) -> float:
        took = await runner.start(f"tenant-{uuid4().hex[:8]}", requirements=[_new_requirement()])
        await runner.at_rest()
        return took

    async def cold() -> float:
        namespaces.append(name := f"cold-{uuid4().hex[:6]}")
        async with bench.runner(name) as fresh:
            return await installed(fresh)

    async with removals, bench.runner("warm") as runner:
        contenders = {"documented": documented, "warm": lambda: installed(runner), "cold": cold}
        taken = await bench.in_turn(contenders, full=5, quick=2)
    for name in namespaces:
        async with bench.runner(name, background=False) as gone:
            await gone.runner.runtime.remove_all()
    against = "documented build with pip + run"
    for state, wheels in (("warm", "wheels cached"), ("cold", "no wheel cached")):
        row = (f"requirements.{state}", f"start, new requirements (aiogram), {wheels}", against)
        bench.add(compare("speed-up", *row, taken[state], taken["documented"], 4.0))


def _new_requirement() -> str:
    """A requirement that was never seen, and comes to the same packages as any other.

    It leaves out a version that was never published. So no image fits it and no layer is cached, by any key
    that is made of the requirements' text, while what is downloaded and installed is the same.
    """
    return f"{REQUIREMENT},!=3.0.0.dev{next(_numbers)}"


@asynccontextmanager
async def _documented(
    bench: Bench, code: str, requirement: str = REQUIREMENT, environment: Mapping[str, str] = {}
) -> AsyncIterator[float]:
    """Build and run a bot the documented way, and remove it afterwards; yields the seconds that it took."""
    tag = f"{REPOSITORY}/documented:{uuid4().hex[:8]}"
    files = by_hand.documented_files(bench.base, requirement, code)
    config = by_hand.container(tag, bench.network, environment)
    try:
        yield await bench.by_hand(lambda: by_hand.build_and_run(bench.docker, tag, files, config))
    finally:
        await bench.by_hand(lambda: by_hand.remove_built(bench.docker, tag))


async def first_poll(bench: Bench) -> None:
    """The echo bot of the examples with half a core, against an emulator of Telegram on this machine.

    The documented way builds the new code into an image whose dependencies are cached, with the bytecode that
    pip compiles, and runs it with the same half core.
    """
    await bench.ready_image()

    async with (
        TelegramEmulator(host=await engine.bridge_address()) as telegram,
        bench.runner("poll", container_cpu_limit=by_hand.CPUS) as runner,
    ):

        def new_bot() -> tuple[BotAccount, str, dict[str, str]]:
            account = telegram.register_bot(username=f"bench_{uuid4().hex[:8]}_bot")
            environment = {"BOT_TOKEN": account.token, "TELEGRAM_API_SERVER": telegram.url}
            return account, f"{ECHO_BOT}\n# {uuid4().hex}\n", environment

        async def by_runner() -> float:
            account, code, environment = new_bot()
            began = time.monotonic()
            params: dict[str, Any] = {"code": code, "requirements": [REQUIREMENT], "env_vars": environment}
            await runner.start(account.username, **params)
            took = await account.wait_for_first_poll(timeout=POLL_SECONDS) - began
            await runner.remove(account.username)
            await runner.at_rest()
            return took

        async def documented() -> float:
            account, code, environment = new_bot()
            began = time.monotonic()
            async with _documented(bench, code, environment=environment):
                return await account.wait_for_first_poll(timeout=POLL_SECONDS) - began

        taken = await bench.in_turn({"documented": documented, "runner": by_runner}, full=7, quick=2)
    what = "start to the bot's first getUpdates (aiogram, 0.5 CPU)"
    bench.add(compare("speed-up", "first-poll", what, DOCUMENTED, taken["runner"], taken["documented"], 2.0))
