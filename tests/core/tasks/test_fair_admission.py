"""Starts of one tenant that never come to an end keep nobody else waiting, on the runner in memory."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.core.examples import BOT, answer

from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.model.image import Image
from bot_runner_worker.tasks import request_limits
from bot_runner_worker.tasks.outcome import Outcome
from bot_runner_worker.testing.memory_runner import MemoryRunner, memory_runner
from bot_runner_worker.testing.source_server import SourceServer
from bot_runner_worker.testing.waiting import SCALE, until

SIMPLE = {"deployment_mode": "simple", "code": "pass"}
BUILT = {**SIMPLE, "requirements": ["aiogram"]}
MakeHeld = Callable[..., Awaitable["Held"]]


class Held:
    """A runner in memory whose builds take until they are let go.

    Args:
        runner: The runner.
    """

    def __init__(self, runner: MemoryRunner) -> None:
        self.runner = runner
        self.let_go = asyncio.Event()
        self.error: Exception | None = None
        self.begun = 0
        self.starts: list[asyncio.Task[Outcome]] = []
        real = runner.images.with_packages

        async def with_packages(*arguments: Any) -> Image:
            self.begun += 1
            await self.let_go.wait()
            if self.error is not None:
                raise self.error
            return await real(*arguments)

        runner.images.with_packages = with_packages  # type: ignore[method-assign]

    async def start(self, *, times: int = 1, **params: Any) -> list[asyncio.Task[Outcome]]:
        """Begin the same start some times, and let it get as far as it gets."""
        begun = [asyncio.create_task(self.runner.start(**{**BUILT, **params})) for _ in range(times)]
        self.starts += begun
        await asyncio.sleep(0.01)
        return begun

    async def building(self, **params: Any) -> asyncio.Task[Outcome]:
        """Begin a start, and return when it is at its build."""
        builds = self.begun
        (task,) = await self.start(**params)
        await until(lambda: self.begun > builds, 30, "the build begins")
        return task

    async def answers(self) -> list[str]:
        """The answers of all starts, in order."""
        return [answer(outcome) for outcome in await asyncio.gather(*self.starts)]


@pytest.fixture
async def make_held() -> AsyncIterator[MakeHeld]:
    """Makes runners whose builds are held."""
    made: list[Held] = []

    async def make(**settings: Any) -> Held:
        held = Held(await stack.enter_async_context(memory_runner(**settings)))
        made.append(held)
        return held

    async with AsyncExitStack() as stack:
        yield make
        for held in made:
            for task in held.starts:
                task.cancel()
            await asyncio.gather(*held.starts, return_exceptions=True)
            assert held.runner.admission.busy() == set()
            assert held.runner.task_runner.waiting == held.runner.admission.working == 0


@pytest.fixture
async def held(make_held: MakeHeld) -> Held:
    """A runner whose builds are held."""
    return await make_held()


@pytest.fixture
def server() -> Iterator[SourceServer]:
    """A server whose archives come at ten bytes a second."""
    server = SourceServer()
    yield server
    server.close()


async def six_actions(runner: MemoryRunner, user_id: str) -> list[str]:
    """A tenant's answers, each within the time that the README promises."""
    bot = {"user_id": user_id, "bot_id": "bot"}
    answers = []
    for task, params in [("start_bot", SIMPLE), *((name, {}) for name in NEVER_BEHIND_STARTS)]:
        async with asyncio.timeout(2 * SCALE):
            wanted = {"user_id": user_id} if task == "list_bots" else {**bot, **params}
            outcome = await runner.task(task, **wanted)
        answers.append(outcome.data["bots"][0]["status"] if task == "list_bots" else answer(outcome))
    return answers


NEVER_BEHIND_STARTS = ("list_bots", "check_status", "get_logs", "restart_bot", "stop_bot")
SIX_ANSWERS = ["started", "running", "running", "ok", "started", "stopped"]


@pytest.mark.parametrize("slow", ["build", "download"])
async def test_100_starts_of_one_bot_are_one_that_runs_and_one_that_waits(
    slow: str, held: Held, server: SourceServer
) -> None:
    drip = {"deployment_mode": "custom", "archive_url": server.url("/drip")}
    params = BUILT if slow == "build" else drip
    held.starts = starts = [
        asyncio.create_task(held.runner.start(**params, env_vars={"N": str(number)})) for number in range(100)
    ]
    await until(lambda: sum(map(asyncio.Task.done, starts)) == 98, 30, "all but two are superseded")
    (error,) = {repr(each.result().data["error"]) for each in starts if each.done()}
    assert "SUPERSEDED" in error
    assert [each.done() for each in (starts[0], starts[-1])] == [False, False]
    assert await six_actions(held.runner, "bob") == SIX_ANSWERS
    async with asyncio.timeout(2 * SCALE):
        assert (await held.runner.task("check_status", **BOT)).data["status"] == "starting"
        assert answer(await held.runner.task("stop_bot", **BOT)) == "stopped"
    assert [answer(await each) for each in (starts[0], starts[-1])] == ["START_CANCELLED"] * 2


async def test_cancelled_starts_end_whatever_they_wait_for(make_held: MakeHeld, server: SourceServer) -> None:
    held = await make_held(max_concurrent_tasks=4)
    drip = {"deployment_mode": "custom", "archive_url": server.url("/drip")}
    await held.building(user_id="builds")
    await held.start(user_id="builds", times=20)  # join it
    await held.start(user_id="builds", env_vars={"N": "1"}, times=20)  # wait for the bot
    for bot_id in ("1", "2", "3"):  # two download, the third waits for a slot
        held.starts.append(asyncio.create_task(held.runner.start("drips", bot_id, **drip)))
    await until(lambda: len(server.requests) == 2, 30, "two downloads")
    await until(lambda: len(held.runner.admission.starting("drips")) == 3)
    for task in held.starts:
        task.cancel()
    await until(lambda: all(task.done() for task in held.starts), 10, "all are over")
    assert await held.runner.leftovers() == []


async def test_the_same_start_joins_the_one_under_way_and_the_one_that_waits(held: Held) -> None:
    await held.building()
    await held.start(times=5)
    other = await held.start(env_vars={"N": "1"}, replace=True, times=3)
    await held.start(bot_id="another")
    held.let_go.set()
    assert Counter(await held.answers()) == {"started": 3, "already_running": 7}
    assert {(await each).data["container_id"] for each in other} == {
        each.id for each in await held.runner.runtime.list_bots() if each.bot == BotKey("alice", "bot")
    }
    assert held.begun == 3


async def test_those_who_joined_share_the_error(held: Held) -> None:
    await held.building()
    await held.start(times=5)
    held.error = Rejected(Code.BUILD_FAILED, "The image could not be built.")
    held.let_go.set()
    assert await held.answers() == ["BUILD_FAILED"] * 6
    assert held.begun == 1


async def test_if_the_first_is_cancelled_one_of_those_who_joined_begins_anew(held: Held) -> None:
    first = await held.building()
    rest = await held.start(times=5)
    first.cancel()
    await until(lambda: held.begun == 2, 30, "another build")
    held.let_go.set()
    assert Counter([answer(await each) for each in rest]) == {"started": 1, "already_running": 4}


async def test_whoever_joined_what_is_superseded_is_superseded(held: Held) -> None:
    await held.building()
    waiting = await held.start(env_vars={"N": "1"}, times=3)
    last = await held.start(env_vars={"N": "2"})
    assert [answer(await each) for each in waiting] == ["SUPERSEDED"] * 3
    assert not last[0].done()
    error = (await waiting[0]).data["error"]
    assert error["hint"]
    assert error["stage"] == "start"


async def test_a_start_after_a_stop_does_not_join_what_is_being_ended(held: Held) -> None:
    start = await held.building()
    stop = asyncio.create_task(held.runner.task("stop_bot", **BOT))
    await asyncio.sleep(0)
    (again,) = await held.start()
    assert (answer(await start), answer(await stop)) == ("START_CANCELLED", "stopped")
    held.let_go.set()
    assert answer(await again) == "started"


async def test_restarts_wait_as_one_and_supersede_no_start(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    restarts: list[str] = []
    real = held.runner.runtime.restart

    async def restart(record: Any) -> Any:
        restarts.append(record.bot.bot_id)
        return await real(record)

    monkeypatch.setattr(held.runner.runtime, "restart", restart)
    await held.building()
    await held.start(env_vars={"N": "1"}, replace=True)
    waiting = [asyncio.create_task(held.runner.task("restart_bot", **BOT)) for _ in range(20)]
    await asyncio.sleep(0.01)
    held.let_go.set()
    assert [answer(await each) for each in waiting] == ["started"] * 20
    assert await held.answers() == ["started", "started"]
    assert restarts == ["bot"]


async def test_starts_that_wait_for_a_slot_hold_their_place(
    make_held: MakeHeld, server: SourceServer
) -> None:
    held = await make_held(max_concurrent_tasks=1, max_bots_per_user=3)
    drip = {"deployment_mode": "custom", "archive_url": server.url("/drip")}
    tasks = [asyncio.create_task(held.runner.start("alice", bot, **drip)) for bot in ("1", "2", "3")]
    held.starts += tasks
    await until(lambda: len(held.runner.admission.starting("alice")) == 3)
    async with asyncio.timeout(2 * SCALE):
        refused = await held.runner.start("alice", "4", **drip)
    assert answer(refused) == "QUOTA_EXCEEDED"
    listed = (await held.runner.task("list_bots", user_id="alice")).data["bots"]
    assert [bot["status"] for bot in listed] == ["starting"] * 3
    await until(lambda: held.runner.task_runner.waiting == 2, 30, "two wait")
    assert answer(await held.runner.task("stop_bot", user_id="alice", bot_id="3")) == "stopped"
    assert answer(await tasks[2]) == "START_CANCELLED"


async def test_a_worker_that_stops_hands_back_what_has_not_begun(
    make_held: MakeHeld, server: SourceServer
) -> None:
    """Whoever takes over need not wait for all that still waited here."""
    held = await make_held(max_concurrent_tasks=1)
    drip = {"deployment_mode": "custom", "archive_url": server.url("/drip")}
    users = ("alice", "alice", "bob", "carol")
    held.starts += [asyncio.create_task(held.runner.start(user, "bot", **drip)) for user in users]
    await until(lambda: held.runner.task_runner.waiting == 3, 30, "three wait")
    held.runner.admission.close()
    ended = [await task for task in held.starts[1:]]
    assert [(each.ending, answer(each)) for each in ended] == [("failure", "WORKER_STOPPING")] * 3
    assert not held.starts[0].done()
    assert answer(await held.runner.start("dan", "bot", **drip)) == "WORKER_STOPPING"
    held.starts[0].cancel()


async def test_a_tenant_has_a_share_of_the_slots(make_held: MakeHeld, server: SourceServer) -> None:
    held = await make_held(max_concurrent_tasks=4)
    drip = {"deployment_mode": "custom", "archive_url": server.url("/drip")}
    for bot_id in ("1", "2", "3"):
        held.starts.append(asyncio.create_task(held.runner.start("greedy", bot_id, **drip)))
    await until(lambda: len(server.requests) == 2, 30, "two downloads")
    assert await six_actions(held.runner, "modest") == SIX_ANSWERS
    assert len(server.requests) == 2


async def test_who_waits_for_a_build_keeps_no_slot(make_held: MakeHeld) -> None:
    held = await make_held(max_concurrent_tasks=1)
    for number in range(3):
        await held.building(user_id=f"builder-{number}")
    assert await six_actions(held.runner, "modest") == SIX_ANSWERS


async def test_a_tenant_with_too_many_requests_is_refused_and_nobody_else(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_limits, "REQUESTS_OF_ONE_TENANT", 5)
    await held.building()
    await held.start(times=4)
    async with asyncio.timeout(2 * SCALE):
        refused = await held.runner.start(**BUILT)
    assert answer(refused) == "TOO_MANY_REQUESTS"
    assert refused.ending == "rejected"
    assert refused.data["error"]["hint"]
    assert await six_actions(held.runner, "bob") == SIX_ANSWERS
    assert answer(await held.runner.task("stop_bot", **BOT)) == "stopped"
    assert answer(await held.runner.start(**SIMPLE)) == "started"


async def test_what_waits_takes_bounded_memory(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """One large request is served, however large; others of the tenant wait elsewhere."""
    monkeypatch.setattr(request_limits, "BYTES_OF_ONE_TENANT", 3_000_000)
    monkeypatch.setattr(request_limits, "BYTES_OF_ALL", 6_000_000)
    large = {"files": {"bot.py": "pass", "data.txt": "x" * 2_000_000}, "code": None}
    params = {name: value for name, value in {**BUILT, **large}.items() if value is not None}

    async def start(user_id: str) -> Outcome:
        async with asyncio.timeout(10 * SCALE):
            return await held.runner.start(user_id, "bot", **params)

    for user_id in ("1", "2", "3"):
        held.starts.append(asyncio.create_task(start(user_id)))
    await until(lambda: held.begun == 2, 30, "two builds")
    third = await held.starts[2]
    assert (answer(third), third.ending) == ("TOO_MANY_REQUESTS", "failure")
    again = await start("1")
    assert (answer(again), again.ending) == ("TOO_MANY_REQUESTS", "rejected")
    assert await six_actions(held.runner, "bob") == SIX_ANSWERS
    held.let_go.set()
    assert (await held.answers())[:2] == ["started", "started"]
    assert answer(await start("4")) == "started"
