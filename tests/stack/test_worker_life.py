"""A worker's life: its Engine or its orchestrator goes away, or its operator stops it."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from tests.conftest import BASE_IMAGE, IDLE_BOT
from tests.engine_gateway import engine_gateway
from tests.plugins.custom_archive.test_projects import archive_of
from tests.redis_server import redis_server
from tests.stack.conftest import TERMINAL, Client, sweep

from bot_runner_stack import ports
from bot_runner_stack.embedded import EmbeddedStack, StackOptions
from bot_runner_worker.engine import Engine, containers
from bot_runner_worker.identity import BUILD_ROLE, NAMESPACE, ROLE

pytestmark = [pytest.mark.stack, pytest.mark.engine]

SIMPLE = {"deployment_mode": "simple", "code": IDLE_BOT}


def building_for(seconds: int) -> dict[str, Any]:
    """A start whose build takes that long, and whose bot then idles."""
    dockerfile = (
        f"FROM {BASE_IMAGE}\n"
        # Unlike any other: the Engine does no step again whose outcome it has.
        f"RUN sleep {seconds} && echo {uuid4()}\n"
        "COPY bot.py /bot.py\n"
        'CMD ["python3", "/bot.py"]\n'
    )
    archive = archive_of({"Dockerfile": dockerfile, "bot.py": IDLE_BOT})
    return {"deployment_mode": "custom", "archive": b64encode(archive).decode()}


async def until(what: str, condition: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(600):
        if await condition():
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"it did not happen: {what}")


@asynccontextmanager
async def running(options: StackOptions) -> AsyncIterator[EmbeddedStack]:
    async with EmbeddedStack(options) as stack:
        try:
            yield stack
        finally:
            await sweep(stack)


class Jobs(Client):
    """A client that posts now and looks later, whatever the orchestrator does in between."""

    async def post(self, action: str, **data: Any) -> str:
        async with (
            self._session() as session,
            session.post("/api/jobs/bot_runner", json={"initial_data": {"action": action, **data}}) as answer,
        ):
            assert answer.status == 202, await answer.text()
            job_id: str = (await answer.json())["job_id"]
            return job_id

    async def end_of(self, job_id: str) -> dict[str, Any]:
        job: dict[str, Any] = {}

        async def over() -> bool:
            nonlocal job
            async with self._session() as session, session.get(f"/api/jobs/{job_id}") as answer:
                job = await answer.json()
            return job.get("status") in TERMINAL

        await until(f"the end of {job_id}", over)
        return job

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(self.url, headers={"X-Client-Token": self.token})


def jobs_of(stack: EmbeddedStack) -> Jobs:
    return Jobs(stack.url, stack.client_token)


async def build_steps(engine: Engine, stack: EmbeddedStack) -> list[Any]:
    return await containers.list_by_labels(engine, {NAMESPACE: stack.namespace, ROLE: BUILD_ROLE})


async def until_it_builds(engine: Engine, stack: EmbeddedStack) -> None:
    async def builds() -> bool:
        return bool(await build_steps(engine, stack))

    await until("a step of the build", builds)


def said(stack: EmbeddedStack, text: str, worker: int = 0) -> int:
    return stack.workers[worker].log.read_text().count(text)


async def test_without_its_engine_a_worker_takes_no_tasks_until_it_is_back(tmp_path: Path) -> None:
    port = ports.free_port("127.0.0.1")

    async def ready() -> tuple[int, list[str]]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}/ready") as answer,
        ):
            return answer.status, (await answer.json())["reasons"]

    async def is_ready() -> bool:
        return (await ready())[0] == 200

    async def is_not_ready() -> bool:
        return not await is_ready()

    async with engine_gateway(tmp_path) as gateway:
        options = StackOptions(
            worker_env={"DOCKER_HOST": gateway.address, "HEALTH_ADDRESS": f"127.0.0.1:{port}"},
            orchestrator_env={"WORKER_WAIT_SECONDS": "10"},
        )
        async with running(options) as stack:
            client = jobs_of(stack)
            assert (await client.result("start", bot_id="bot", **SIMPLE))["status"] == "started"
            await until("ready", is_ready)

            await gateway.cut()
            await until("not ready", is_not_ready)
            status, (reason, *_) = await ready()
            assert (status, reason.partition(":")[0]) == (503, "Docker Engine")
            error = await client.error("status", bot_id="bot")
            assert error["code"] == "NO_WORKER_AVAILABLE"
            assert "Docker Engine" in error["message"]

            waiting = await client.post("start", bot_id="other", **SIMPLE)
            await asyncio.sleep(1)
            await gateway.mend()
            assert (await client.end_of(waiting))["result"]["status"] == "started"
            assert (await client.result("status", bot_id="bot"))["status"] == "running"
            await until("ready", is_ready)
            assert said(stack, "does not answer (") == 1
            assert said(stack, "is back after") == 1


async def test_a_result_and_an_event_arrive_after_the_orchestrator_was_away(
    engine: Engine, tmp_path: Path
) -> None:
    history = tmp_path / "history.sqlite"
    async with AsyncExitStack() as cleanup:
        redis = await cleanup.enter_async_context(redis_server(tmp_path))
        options = StackOptions(
            storage="redis",
            orchestrator_env=redis.environment_of_clients | {"HISTORY_DATABASE_URI": f"sqlite:{history}"},
        )
        stack = await cleanup.enter_async_context(running(options))
        client = jobs_of(stack)
        job_id = await client.post("start", bot_id="bot", **building_for(4))
        await until_it_builds(engine, stack)
        stack.orchestrator.kill()

        async def done() -> bool:
            return bool(said(stack, "start_bot of"))

        await until("the task is done while the orchestrator is away", done)
        await stack.start_orchestrator()
        job = await client.end_of(job_id)
        assert (job["status"], job["result"]["status"]) == ("finished", "started")
        assert said(stack, "start_bot of") == 1

        async def told() -> bool:
            return await asyncio.to_thread(_events, history) == ["worker_event:bot_started"]

        await until("the event", told)


def _events(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT event_type FROM job_history").fetchall()
    return [kind for (kind,) in rows if kind.startswith("worker_event:bot_")]


async def test_an_orchestrator_that_has_forgotten_everything_gets_its_worker_back() -> None:
    async with running(StackOptions()) as stack:
        client = jobs_of(stack)
        await client.result("start", bot_id="bot", **SIMPLE)
        stack.orchestrator.kill()
        await asyncio.sleep(3)  # for polls that fail
        await stack.start_orchestrator()
        assert (await client.result("status", bot_id="bot"))["status"] == "running"
        assert (await client.result("stop", bot_id="bot"))["status"] == "stopped"


async def test_told_to_stop_it_finishes_its_tasks_and_bots_go_on(engine: Engine) -> None:
    async with running(StackOptions()) as stack:
        client = jobs_of(stack)
        await client.result("start", bot_id="idle", **SIMPLE)
        job_id = await client.post("start", bot_id="built", **building_for(3))
        await until_it_builds(engine, stack)
        await stack.workers[0].stop(grace_seconds=60)
        assert stack.workers[0].exit_code == 0
        job = await client.end_of(job_id)
        assert (job["status"], job["result"]["status"]) == ("finished", "started")

        await stack.start_worker()
        rows = (await client.result("list"))["bots"]
        assert {row["bot_id"]: row["status"] for row in rows} == {"idle": "running", "built": "running"}


async def test_a_task_that_does_not_end_in_time_goes_to_another_worker(engine: Engine) -> None:
    async with running(StackOptions(worker_env={"DRAIN_SECONDS": "1"})) as stack:
        client = jobs_of(stack)
        job_id = await client.post("start", bot_id="bot", **building_for(10))
        await until_it_builds(engine, stack)
        await stack.workers[0].stop(grace_seconds=60)
        assert stack.workers[0].exit_code == 0
        assert said(stack, "handing back 1 tasks") == 1
        assert await build_steps(engine, stack) == []

        await stack.start_worker()
        job = await client.end_of(job_id)
        assert (job["status"], job["result"]["status"]) == ("finished", "started")
        assert (await client.result("list"))["count"] == 1


async def test_told_twice_it_ends_at_once(engine: Engine) -> None:
    async with running(StackOptions(worker_env={"DRAIN_SECONDS": "3600"})) as stack:
        client = jobs_of(stack)
        await client.post("start", bot_id="bot", **building_for(600))
        await until_it_builds(engine, stack)
        process = stack.workers[0]
        os.kill(process.pid, signal.SIGTERM)

        async def told() -> bool:
            return bool(said(stack, "told to stop"))

        await until("the worker has heard", told)
        assert process.running
        os.kill(process.pid, signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 60) == -signal.SIGTERM


async def test_the_health_of_a_real_worker_is_served_without_any_secret() -> None:
    port = ports.free_port("127.0.0.1")
    options = StackOptions(worker_env={"HEALTH_ADDRESS": f"127.0.0.1:{port}"})
    async with running(options) as stack:
        client = jobs_of(stack)
        secret = "sentinel-51c0:AAH"
        await client.result("start", bot_id="bot-of-mine", **SIMPLE, env_vars={"BOT_TOKEN": secret})
        answers = {}
        for path in ("health", "ready", "metrics"):
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{port}/{path}") as answer,
            ):
                answers[path] = await answer.text()
                assert answer.status == 200, answers[path]
        assert json.loads(answers["health"])["isolation"]["reasons"] == ["ISOLATION_PROBE is off"]
        assert 'bot_runner_starts_total{mode="simple",result="started"} 1.0' in answers["metrics"]
        for text in answers.values():
            for hidden in (secret, "bot-of-mine", options.worker_token, options.client_token):
                assert hidden not in text


async def test_a_health_address_that_is_taken_ends_the_worker_with_one_line() -> None:
    async with running(StackOptions()) as stack:
        taken = stack.url.removeprefix("http://")
        done = await asyncio.to_thread(
            subprocess.run,
            [".venv/bin/bot-runner-worker", "run"],
            env=stack.worker_environment() | {"HEALTH_ADDRESS": taken},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"bot-runner-worker: HEALTH_ADDRESS: cannot listen on {taken}: address already in use. "
        "Choose another address, or off."
    )
