"""Tasks that meet on two workers of one Engine: as exact as in one, whoever is killed in between.

Two runners in this process stand for two workers where their timing matters, real processes where their death
or their independence does.
"""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from typing import Any

import pytest
from tests.conftest import ENGINE, IDLE_BOT, MakeRunner, RunnerUnderTest, ignore_progress
from tests.core.examples import BOT, answer, nothing_left, status
from tests.core.tasks.slow_starts import SlowStart, build_step, slow_build

from bot_runner_worker.coordination import liveness
from bot_runner_worker.engine import volumes
from bot_runner_worker.model.identity import INSTANCE, NAMESPACE, PRESENCE_ROLE, ROLE, BotKey
from bot_runner_worker.runner import Runner
from bot_runner_worker.testing.waiting import SCALE, until

KEY = BotKey("alice", "bot")
SIMPLE = {"deployment_mode": "simple", "code": IDLE_BOT}

Two = tuple[RunnerUnderTest, RunnerUnderTest]


@pytest.fixture
async def runner(make_runner: MakeRunner) -> RunnerUnderTest:
    """One of its own: whatever other workers leave in its namespace is looked at."""
    return await make_runner()


@pytest.fixture
async def two(make_runner: MakeRunner) -> Two:
    """Two workers in one namespace."""
    first = await make_runner()
    return first, await make_runner(runner_namespace=first.settings.runner_namespace)


class Process:
    """A worker in a process of its own that runs one task and ends.

    Args:
        process: The process.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def run(cls, like: RunnerUnderTest, name: str, params: dict[str, Any], *code: str) -> "Process":
        """Run ``bot-runner-worker task``, or Python code, with the settings of another runner.

        Args:
            like: Whose namespace and limits it has.
            name: The task's name.
            params: Its params.
            code: Python source to run instead.
        """
        settings = like.settings
        names = ("runner_namespace", "docker_network", "base_image", "max_bots_per_user", "worker_id")
        arguments = ("-c", *code, name) if code else ("-m", "bot_runner_worker", "task", name)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={
                **os.environ,
                **{each.upper(): str(getattr(settings, each)) for each in names},
                "DOCKER_HOST": ENGINE,
                "STOP_GRACE_SECONDS": "2",
            },
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(params).encode())
        process.stdin.close()
        return cls(process)

    async def answer(self) -> str:
        """Its answer in one word."""
        out, _ = await self._process.communicate()
        data = json.loads(out)["data"]
        print(data)  # for a test that fails: an answer in one word does not say why
        return str(data.get("status") or data["error"]["code"])

    async def kill(self) -> None:
        """End it at once, so that it cannot tidy up."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
        await self._process.wait()


@pytest.mark.engine
async def test_20_starts_on_each_of_two_workers_with_a_limit_of_3(make_runner: MakeRunner) -> None:
    one = await make_runner(max_bots_per_user=3)
    other = await make_runner(max_bots_per_user=3, runner_namespace=one.settings.runner_namespace)
    outcomes = await asyncio.gather(
        *(each.start(bot_id=f"bot-{each is one}-{number}") for number in range(20) for each in (one, other))
    )
    assert Counter(map(answer, outcomes)) == {"started": 3, "QUOTA_EXCEEDED": 37}
    assert len(await one.containers()) == 3
    assert await one.claims() == await other.claims() == []


@pytest.mark.slow
async def test_starts_under_way_in_other_processes_hold_their_places(make_runner: MakeRunner) -> None:
    """Whoever comes fourth is refused while the three are still being built; a stop frees their places."""
    runner = await make_runner(max_bots_per_user=3)
    bots = [f"bot-{number}" for number in range(6)]
    processes = [await Process.run(runner, "start_bot", slow_build(bot_id=bot)) for bot in bots]
    try:
        answering = {asyncio.create_task(each.answer()) for each in processes}
        refused: set[asyncio.Task[str]] = set()
        async with asyncio.timeout(180 * SCALE):
            while len(refused) < 3:
                done, answering = await asyncio.wait(answering, return_when=asyncio.FIRST_COMPLETED)
                refused |= done
        assert {task.result() for task in refused} == {"QUOTA_EXCEEDED"}
        stops = await asyncio.gather(*(runner.task("stop_bot", user_id="alice", bot_id=bot) for bot in bots))
        assert Counter(map(answer, stops)) == {"stopped": 3, "not_found": 3}
        assert await asyncio.gather(*answering) == ["START_CANCELLED"] * 3
    finally:
        for each in processes:
            await each.kill()
    await until(lambda: only_mine(runner), 60)
    assert await runner.leftovers() == []


@pytest.mark.slow
async def test_the_same_start_on_both_workers_is_one_start(two: Two) -> None:
    outcomes = await asyncio.gather(*(each.start() for each in two * 3))
    assert Counter(map(answer, outcomes)) == {"started": 1, "already_running": 5}
    assert len({each.data["container_id"] for each in outcomes}) == 1
    assert len(await two[0].containers()) == 1


@pytest.mark.slow
async def test_other_content_on_the_other_worker_is_refused(two: Two) -> None:
    outcomes = await asyncio.gather(*(each.start(env_vars={"A": str(n)}) for n, each in enumerate(two)))
    assert sorted(map(answer, outcomes)) == ["BOT_ALREADY_RUNNING", "started"]
    assert len(await two[0].containers()) == 1


@pytest.mark.slow
async def test_replacements_on_both_workers_leave_one_of_them(two: Two) -> None:
    await two[0].start()
    outcomes = await asyncio.gather(
        *(each.start(env_vars={"A": str(n)}, replace=True) for n, each in enumerate(two * 2))
    )
    assert [answer(each) for each in outcomes] == ["started"] * 4
    assert (await status(two[0]))["container_id"] in {each.data["container_id"] for each in outcomes}
    assert len(await two[0].containers()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("replace", [False, True])
async def test_a_stop_on_one_worker_ends_a_build_on_the_other(two: Two, replace: bool) -> None:
    one, other = two
    if replace:
        await one.start()
    start = await SlowStart.building(one, replace=replace)
    assert answer(await other.task("stop_bot", **BOT)) == "stopped"
    assert (await start.error())["code"] == "START_CANCELLED"
    assert not await build_step(one)
    if replace:
        assert (await status(one))["status"] == "stopped"
        assert len(await one.containers()) == 1
        assert await one.claims() == await other.claims() == []
    else:
        await other.claims()
        assert await one.leftovers() == []
    assert answer(await one.start()) == "started"


@pytest.mark.slow
async def test_stops_on_both_workers_end_the_starts_on_both(two: Two) -> None:
    one, other = two
    start = await SlowStart.building(one)
    waiting = asyncio.create_task(other.start())
    await until(lambda: waits(other))
    stops = await asyncio.gather(*(each.task("stop_bot", **BOT) for each in two))
    assert [answer(each) for each in stops] == ["stopped", "stopped"]
    assert (await start.error())["code"] == "START_CANCELLED"
    assert answer(await waiting) == "START_CANCELLED"
    await other.claims()
    assert await one.leftovers() == []


@pytest.mark.slow
async def test_a_stop_reaches_a_start_although_its_own_worker_waits_with_another_task(two: Two) -> None:
    one, other = two
    start = await SlowStart.building(one)

    async def look_after() -> None:
        async with other.runner.admission.exclusively(KEY):
            pass

    waiting = asyncio.create_task(look_after())
    await until(lambda: waits(other))
    assert answer(await other.task("stop_bot", **BOT)) == "stopped"
    await waiting
    assert (await start.error())["code"] == "START_CANCELLED"


@pytest.mark.slow
async def test_a_start_on_one_worker_is_seen_on_the_other(two: Two) -> None:
    one, other = two
    start = await SlowStart.building(one)
    assert (await status(other))["status"] == "starting"
    listed = (await other.task("list_bots", user_id="alice")).data
    assert [(row["bot_id"], row["status"], row["mode"]) for row in listed["bots"]] == [
        ("bot", "starting", "custom")
    ]
    assert await other.runner.admission.busy() == {KEY}
    await one.task("stop_bot", **BOT)
    await start.error()
    await one.claims()
    assert await other.runner.admission.busy() == set()


@pytest.mark.slow
async def test_a_stop_in_another_process_ends_a_build(runner: RunnerUnderTest) -> None:
    start = await SlowStart.building(runner)
    stop = await Process.run(runner, "stop_bot", BOT)
    assert await stop.answer() == "stopped"
    assert (await start.error())["code"] == "START_CANCELLED"
    await nothing_left(runner)


@pytest.mark.slow
async def test_what_a_killed_process_had_claimed_is_free_after_a_while(
    runner: RunnerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "PRESENCE_SECONDS", 6.0)
    process = await Process.run(runner, "start_bot", slow_build())
    await until(lambda: build_step(runner), 120)
    await process.kill()
    assert (await status(runner))["status"] == "starting"
    async with asyncio.timeout(120 * SCALE):
        assert answer(await runner.start()) == "started"
    await until(lambda: only_mine(runner), 60)


AS_WORKER = """
import asyncio, json, sys
from bot_runner_worker.runner import Runner
from bot_runner_worker.settings import Settings

async def ignore(fraction, message):
    pass

async def main():
    async with Runner(Settings.load_without_token()) as runner:
        await runner.run_task(sys.argv[1], json.load(sys.stdin), ignore)

asyncio.run(main())
"""


@pytest.mark.slow
async def test_a_worker_that_is_started_again_has_its_claims_back_at_once(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under another id it would wait for ten minutes."""
    monkeypatch.setattr(liveness, "PRESENCE_SECONDS", 600.0)
    looking_on = await make_runner(worker_id="bot-runner-1")
    process = await Process.run(looking_on, "start_bot", slow_build(), AS_WORKER)
    await until(lambda: build_step(looking_on), 120)
    await process.kill()
    again = await make_runner(runner_namespace=looking_on.settings.runner_namespace, worker_id="bot-runner-1")
    async with asyncio.timeout(120 * SCALE):
        assert answer(await again.start()) == "started"
    await until(lambda: only_mine(again), 60)


@pytest.mark.slow
async def test_a_command_beside_a_worker_does_not_take_over_its_claims(make_runner: MakeRunner) -> None:
    """It reads the same .env file, with the same WORKER_ID in it."""
    runner = await make_runner(worker_id="bot-runner-1")
    start = await SlowStart.building(runner)
    other = await Process.run(runner, "start_bot", {"user_id": "alice", "bot_id": "other", **SIMPLE})
    assert await other.answer() == "started"
    assert (await status(runner))["status"] == "starting"
    waiting = await Process.run(runner, "start_bot", {**BOT, **SIMPLE})
    await until(lambda: another_worker(runner), 60)
    assert answer(await runner.task("stop_bot", **BOT)) == "stopped"
    assert (await start.error())["code"] == "START_CANCELLED"
    assert await waiting.answer() in ("START_CANCELLED", "started")


@pytest.mark.slow
async def test_two_workers_make_one_shared_network(make_runner: MakeRunner) -> None:
    first = await make_runner(network_mode="shared")
    namespace = first.settings.runner_namespace
    rest = [await make_runner(network_mode="shared", runner_namespace=namespace) for _ in range(3)]
    outcomes = await asyncio.gather(
        *(each.start(user_id=f"user-{number}") for number, each in enumerate([first, *rest]))
    )
    assert [answer(each) for each in outcomes] == ["started"] * 4
    found = await first.engine.json(
        "GET", "networks", params={"filters": {"label": [f"{NAMESPACE}={namespace}"]}}
    )
    names = [each["Name"] for each in found]
    assert names.count(first.settings.docker_network) == 1


@pytest.mark.slow
async def test_a_runner_leaves_no_volume(runner: RunnerUnderTest) -> None:
    """Not even that which says that it was there."""
    async with Runner(runner.settings) as other:
        await other.run_task("start_bot", {**BOT, **SIMPLE}, ignore_progress)
        assert await other.coordination.leadership.held()
        start = asyncio.create_task(other.run_task("start_bot", slow_build(bot_id="slow"), ignore_progress))
        await until(lambda: build_step(runner), 120)
        start.cancel()
        await asyncio.wait([start])
    found = await volumes.list_by_labels(runner.engine, {NAMESPACE: runner.settings.runner_namespace})
    assert found == {}


def waits(runner: RunnerUnderTest) -> bool:
    """Whether some task of this worker waits for the bot."""
    return runner.runner.admission._lock_of(KEY).locked()


async def another_worker(runner: RunnerUnderTest) -> bool:
    """Whether another worker is there."""
    wanted = {NAMESPACE: runner.settings.runner_namespace, ROLE: PRESENCE_ROLE}
    found = await volumes.list_by_labels(runner.engine, wanted)
    return len({labels[INSTANCE] for labels in found.values()}) > 1


async def only_mine(runner: RunnerUnderTest) -> bool:
    """Whether nothing but this runner's own presence is left."""
    found = await volumes.list_by_labels(runner.engine, {NAMESPACE: runner.settings.runner_namespace})
    return len(found) == 1
