"""Two workers of one namespace: one is active, one stands by and takes over; nothing is lost or doubled."""

import asyncio
import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import pytest
from tests.conftest import IDLE_BOT
from tests.corpus.servers import ALLOWED, Servers
from tests.engine_gateway import engine_gateway
from tests.redis_server import redis_server
from tests.stack.conftest import Client, client_of, running

from bot_runner_stack import ports, repository
from bot_runner_stack.embedded import EmbeddedStack
from bot_runner_stack.processes import ManagedProcess
from bot_runner_worker.engine import Engine, containers, volumes
from bot_runner_worker.model.identity import BOT_ID, NAMESPACE, ROLE, USER_ID
from bot_runner_worker.testing.waiting import SCALE, stays, until

pytestmark = pytest.mark.timeout(900)

USERS = 30
TASKS_OF_A_USER = 10
MAX_BOTS = 2
SIMPLE = {"deployment_mode": "simple", "code": IDLE_BOT}
PATIENT = {"WORKER_WAIT_SECONDS": "50"}
"""The orchestrator's: jobs wait until the standby has taken over."""


async def with_standby(stack: EmbeddedStack, **env: str) -> tuple[ManagedProcess, ManagedProcess]:
    """The active worker, and a standby with the same settings."""
    (active,) = stack.workers
    standby = await stack.start_worker({"WORKER_ID": active.environment["WORKER_ID"], **env})
    await until(lambda: "standby: " in standby.log.read_text(), 30, standby.log_tail)
    return active, standby


@pytest.mark.parametrize(
    ("how", "within"),
    [
        pytest.param(signal.SIGTERM, 3.0, marks=pytest.mark.engine),
        pytest.param(signal.SIGKILL, 30.0, marks=pytest.mark.slow),
        pytest.param(signal.SIGSTOP, 30.0, marks=pytest.mark.slow),
    ],
)
async def test_the_standby_serves_the_next_task(how: signal.Signals, within: float, engine: Engine) -> None:
    """Within 3 s after the active worker has ended, within 30 s after it was killed or stands still."""
    async with running(orchestrator_env=PATIENT) as stack:
        active, standby = await with_standby(stack)
        client = client_of(stack)
        before = await client.result("start", bot_id="before", **SIMPLE)
        os.kill(active.pid, how)
        if how is signal.SIGTERM:
            assert await active.wait() == 0
        begun = monotonic()
        after = await client.result("start", bot_id="after", **SIMPLE)
        assert after["status"] == "started"
        assert monotonic() - begun < within * SCALE
        assert "this worker is active" in standby.log.read_text()
        if how is signal.SIGSTOP:
            os.kill(active.pid, signal.SIGCONT)
            assert await active.wait() == 2, active.log_tail()
            log = active.log.read_text()
            assert "has taken over" in log
            assert "never retrieved" not in log, log
        report = await client.result("status", bot_id="before")
        assert (report["status"], report["container_id"]) == ("running", before["container_id"])
        bots = await containers.list_by_labels(engine, {NAMESPACE: stack.namespace, ROLE: "bot"})
        assert sorted(each["Labels"][BOT_ID] for each in bots) == ["after", "before"]


@pytest.mark.slow
async def test_a_standby_is_alive_but_not_ready_and_takes_no_task(engine: Engine) -> None:
    async with running() as stack:
        address = f"127.0.0.1:{ports.free_port('127.0.0.1')}"
        active, standby = await with_standby(stack, HEALTH_ADDRESS=address)
        client = client_of(stack)
        for number in range(4):
            await client.result("start", bot_id=f"bot-{number % 2}", **SIMPLE)
        async with aiohttp.ClientSession(f"http://{address}") as session:
            async with session.get("/ready") as answer:
                assert answer.status == 503
                reason = f"standby: the worker {active.environment['WORKER_ID']} is active"
                assert (await answer.json())["reasons"] == [reason]
            async with session.get("/health") as answer:
                assert (answer.status, (await answer.json())["status"]) == (200, "alive")
        assert standby.log.read_text().count("standby: ") == 1
        assert "start_bot of" not in standby.log.read_text()
        assert len(await client.workers()) == 1
        await standby.stop(grace_seconds=10)
        assert standby.exit_code == 0
        await stays(lambda: active.running, 1)


@pytest.mark.slow
async def test_a_worker_that_starts_without_its_engine(tmp_path: Path) -> None:
    """The orchestrator knows it at once; when the Engine answers, it serves, or finds another active."""
    async with engine_gateway(tmp_path) as gateway, running(orchestrator_env=PATIENT) as stack:
        await gateway.cut()
        late = await stack.start_worker({"DOCKER_HOST": gateway.address})
        assert late.environment["WORKER_ID"] in await stack.registered_workers()
        await gateway.mend()
        assert await late.wait() == 2
        assert "worker-1 is active" in late.log_tail()

        await gateway.cut()
        stack.workers[0].kill()
        late.start()
        job = await client_of(stack).post("start", bot_id="bot", **SIMPLE)
        await gateway.mend()
        assert (await client_of(stack).end_of(job))["result"]["status"] == "started"


@pytest.mark.slow
async def test_commands_beside_a_worker(engine: Engine) -> None:
    """A task is refused; what only looks, or removes everything, works."""
    async with running() as stack:

        async def command(*arguments: str, data: Any = None) -> subprocess.CompletedProcess[str]:
            return await asyncio.to_thread(
                subprocess.run,
                [repository.command("bot-runner-worker"), *arguments],
                input=json.dumps(data),
                env=stack.worker_environment(),
                capture_output=True,
                text=True,
                timeout=120 * SCALE,
            )

        client = client_of(stack)
        await client.result("start", bot_id="bot", **SIMPLE)
        params = {"user_id": "me", "bot_id": "other", **SIMPLE}
        refused = await command("task", "start_bot", data=params)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert f"The worker {stack.namespace}-worker-1 is active" in refused.stderr
        assert "orchestrator" in refused.stderr
        assert (await command("plugins", "list")).returncode == 0
        assert json.loads((await command("remove-all", "--yes", "--json")).stdout)["removed"] == 1
        await client.result("start", bot_id="bot", **SIMPLE)
        stack.workers[0].kill()
        # It takes over from a worker that was killed.
        done = await command("task", "start_bot", data=params)
        assert json.loads(done.stdout)["status"] == "success", done.stderr
        lease = await volumes.list_by_labels(engine, {NAMESPACE: stack.namespace, ROLE: "lease"})
        # On a machine that is too busy, it says so and leaves it to the next one.
        assert lease == {} or "the lease is not released" in done.stderr


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[EmbeddedStack]:
    """Redis, an orchestrator with a client who acts for others, and two workers."""
    async with redis_server(tmp_path) as redis:
        environment = {"CLIENT_MAY_ACT_FOR_OTHERS": "true", **redis.environment_of_clients, **PATIENT}
        # The standby takes over while jobs still wait for a worker, however slow the machine is.
        worker = {
            "MAX_BOTS_PER_USER": str(MAX_BOTS),
            "SOURCE_ADDRESSES_ALLOWED": f"{ALLOWED}/32",
            "DRAIN_SECONDS": "10",
        }
        async with running(
            workers=2, storage="redis", orchestrator_env=environment, worker_env=worker
        ) as made:
            yield made


@pytest.mark.slow
async def test_300_mixed_tasks_of_30_users(stack: EmbeddedStack, servers: Servers, engine: Engine) -> None:
    """In the middle of them the active worker is told to end."""
    repository = servers.repository("bot.git")
    repository.commit_files({"bot.py": IDLE_BOT, "requirements.txt": ""})
    git = {"deployment_mode": "custom", "git_repo": servers.git.url("/bot.git")}
    client = client_of(stack, seconds=300)

    async def hand_over() -> None:
        await until(lambda: len(client.jobs) > USERS * TASKS_OF_A_USER // 2, 300)
        await stack.workers[0].stop(grace_seconds=120)

    lives = (_life_of_a_user(client, f"user-{number}", git) for number in range(USERS))
    try:
        await asyncio.gather(hand_over(), *lives)
    except AssertionError as error:
        raise AssertionError(stack.log_tail(60)) from error

    assert len(client.jobs) == USERS * TASKS_OF_A_USER
    assert {worker["reputation"] for worker in await client.workers()} == {1.0}
    rows = await containers.list_by_labels(engine, {NAMESPACE: stack.namespace, ROLE: "bot"})
    there = Counter(
        (row["Labels"][USER_ID], row["Labels"][BOT_ID]) for row in rows if row["State"] == "running"
    )
    assert set(there.values()) == {1}
    assert Counter(user for user, _ in there) == {f"user-{number}": MAX_BOTS for number in range(USERS)}
    assert all("_bot of" in worker.log.read_text() for worker in stack.workers), "one had nothing to do"


async def _life_of_a_user(client: Client, user: str, git: dict[str, Any]) -> None:
    async def run(action: str, **data: Any) -> dict[str, Any]:
        return await client.result(action, user_id=user, **data)

    answers = await asyncio.gather(
        *(run("start", bot_id=bot_id, **SIMPLE) for bot_id in ("one", "one", "two", "three"))
    )
    refused = [answer["error"]["code"] for answer in answers if "error" in answer]
    assert set(refused) == {"QUOTA_EXCEEDED"}, answers
    started = {answer["container_id"] for answer in answers if "error" not in answer}
    assert len(started) == MAX_BOTS, answers

    listed = await run("list")
    first, second = (bot["bot_id"] for bot in listed["bots"] if bot["status"] == "running")
    assert {bot["container_id"] for bot in listed["bots"]} == started

    stopped, status, logs = await asyncio.gather(
        run("stop", bot_id=first), run("status", bot_id=second), run("logs", bot_id=second)
    )
    assert (stopped["status"], status["status"], logs["logs"]) == ("stopped", "running", "ready\n")

    answer = await run("start", bot_id="git", **git)
    # The latter if it was given out again just as it was done.
    assert answer.get("status") in ("started", "already_running"), answer
    listed = await run("list")
    assert {bot["bot_id"]: bot["status"] for bot in listed["bots"]} == {
        first: "stopped",
        second: "running",
        "git": "running",
    }
