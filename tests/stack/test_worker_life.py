"""A worker's life: its Engine or its orchestrator goes away, or its operator stops it."""

import asyncio
import json
import os
import signal
import socket
import sqlite3
import subprocess
from base64 import b64encode
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from tests.conftest import BASE_IMAGE, IDLE_BOT
from tests.engine_gateway import engine_gateway
from tests.plugins.custom_archive.test_projects import archive_of
from tests.redis_server import redis_server
from tests.stack.conftest import client_of, running

from bot_runner_stack import ports
from bot_runner_stack.embedded import EmbeddedStack
from bot_runner_worker.engine import Engine, containers
from bot_runner_worker.model.identity import BUILD_ROLE, NAMESPACE, ROLE
from bot_runner_worker.testing.waiting import until

SIMPLE = {"deployment_mode": "simple", "code": IDLE_BOT}

QUICK = {"HEARTBEAT_INTERVAL": "1"}
"""A worker that soon tells its orchestrator how it is."""


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


async def build_steps(engine: Engine, stack: EmbeddedStack) -> list[Any]:
    return await containers.list_by_labels(engine, {NAMESPACE: stack.namespace, ROLE: BUILD_ROLE})


async def until_it_builds(engine: Engine, stack: EmbeddedStack) -> None:
    await until(lambda: build_steps(engine, stack), 60, "a step of the build")


def said(stack: EmbeddedStack, text: str, worker: int = 0) -> int:
    return stack.workers[worker].log.read_text().count(text)


@pytest.mark.slow
async def test_without_its_engine_a_worker_takes_no_tasks_until_it_is_back(tmp_path: Path) -> None:
    port = ports.free_port("127.0.0.1")

    async def ready() -> tuple[int, list[str]]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}/ready") as answer,
        ):
            return answer.status, (await answer.json())["reasons"]

    async def is_ready(wanted: bool = True) -> bool:
        return ((await ready())[0] == 200) is wanted

    async with AsyncExitStack() as cleanup:
        gateway = await cleanup.enter_async_context(engine_gateway(tmp_path))
        worker = {"DOCKER_HOST": gateway.address, "HEALTH_ADDRESS": f"127.0.0.1:{port}"}
        patience = {"WORKER_WAIT_SECONDS": "10"}
        stack = await cleanup.enter_async_context(
            running(worker_env=QUICK | worker, orchestrator_env=patience)
        )
        client = client_of(stack)
        assert (await client.result("start", bot_id="bot", **SIMPLE))["status"] == "started"
        await until(is_ready, 60)

        await gateway.cut()
        await until(lambda: is_ready(False), 60, "not ready")
        status, (reason, *_) = await ready()
        assert (status, reason.partition(":")[0]) == (503, "Docker Engine")
        error = await client.error("status", bot_id="bot")
        assert error["code"] == "NO_WORKER_AVAILABLE"
        assert "Docker Engine" in error["message"]

        waiting = await client.post("start", bot_id="other", **SIMPLE)
        await gateway.mend()
        assert (await client.end_of(waiting))["result"]["status"] == "started"
        assert (await client.result("status", bot_id="bot"))["status"] == "running"
        await until(is_ready, 60)
        assert said(stack, "does not answer (") == 1
        assert said(stack, "is back after") == 1


@pytest.mark.slow
async def test_a_result_and_an_event_arrive_after_the_orchestrator_was_away(
    engine: Engine, tmp_path: Path
) -> None:
    history = tmp_path / "history.sqlite"
    async with AsyncExitStack() as cleanup:
        redis = await cleanup.enter_async_context(redis_server(tmp_path))
        environment = redis.environment_of_clients | {"HISTORY_DATABASE_URI": f"sqlite:{history}"}
        stack = await cleanup.enter_async_context(
            running(storage="redis", worker_env=QUICK, orchestrator_env=environment)
        )
        client = client_of(stack)
        job_id = await client.post("start", bot_id="bot", **building_for(2))
        await until_it_builds(engine, stack)
        stack.orchestrator.kill()
        await until(lambda: said(stack, "start_bot of"), 60, "the task is done without the orchestrator")
        await stack.start_orchestrator()
        job = await client.end_of(job_id)
        assert (job["status"], job["result"]["status"]) == ("finished", "started")
        assert said(stack, "start_bot of") == 1
        await until(lambda: _events(history) == ["worker_event:bot_started"], 60, lambda: _events(history))


def _events(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT event_type FROM job_history").fetchall()
    return [kind for (kind,) in rows if kind.startswith("worker_event:bot_")]


@pytest.mark.slow
async def test_an_orchestrator_that_has_forgotten_everything_gets_its_worker_back() -> None:
    async with running(worker_env=QUICK, orchestrator_env={"WORKER_WAIT_SECONDS": "50"}) as stack:
        client = client_of(stack)
        await client.result("start", bot_id="bot", **SIMPLE)
        stack.orchestrator.kill()
        await until(lambda: said(stack, "Network error polling"), what="a poll that fails")
        await stack.start_orchestrator()
        report = await client.result("status", bot_id="bot")
        assert report.get("status") == "running", f"{report}\n{stack.log_tail(15)}"
        assert (await client.result("stop", bot_id="bot"))["status"] == "stopped"


@pytest.mark.engine
async def test_told_to_stop_it_finishes_its_tasks_and_bots_go_on(engine: Engine) -> None:
    async with running() as stack:
        client = client_of(stack)
        await client.result("start", bot_id="idle", **SIMPLE)
        job_id = await client.post("start", bot_id="built", **building_for(2))
        await until_it_builds(engine, stack)
        await stack.workers[0].stop(grace_seconds=60)
        assert stack.workers[0].exit_code == 0
        job = await client.end_of(job_id)
        assert (job["status"], job["result"]["status"]) == ("finished", "started")

        await stack.start_worker()
        rows = (await client.result("list"))["bots"]
        assert {row["bot_id"]: row["status"] for row in rows} == {"idle": "running", "built": "running"}


@pytest.mark.slow
async def test_a_task_that_does_not_end_in_time_goes_to_another_worker(engine: Engine) -> None:
    async with running(worker_env={"DRAIN_SECONDS": "1"}) as stack:
        client = client_of(stack)
        job_id = await client.post("start", bot_id="bot", **building_for(4))
        await until_it_builds(engine, stack)
        await stack.workers[0].stop(grace_seconds=60)
        assert stack.workers[0].exit_code == 0
        assert said(stack, "handing back 1 tasks") == 1
        assert await build_steps(engine, stack) == []

        await stack.start_worker()
        job = await client.end_of(job_id)
        assert (job["status"], job["result"]["status"]) == ("finished", "started")
        assert (await client.result("list"))["count"] == 1


@pytest.mark.slow
async def test_told_twice_it_ends_at_once(engine: Engine) -> None:
    async with running(worker_env={"DRAIN_SECONDS": "3600"}) as stack:
        client = client_of(stack)
        await client.post("start", bot_id="bot", **building_for(600))
        await until_it_builds(engine, stack)
        process = stack.workers[0]
        os.kill(process.pid, signal.SIGTERM)
        await until(lambda: said(stack, "told to stop"))
        assert process.running
        os.kill(process.pid, signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 60) == -signal.SIGTERM


@pytest.mark.slow
async def test_the_health_of_a_real_worker_is_served_without_any_secret() -> None:
    port = ports.free_port("127.0.0.1")
    async with running(worker_env={"HEALTH_ADDRESS": f"127.0.0.1:{port}"}) as stack:
        client = client_of(stack)
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
            for hidden in (secret, "bot-of-mine", stack.options.worker_token, stack.client_token):
                assert hidden not in text


def test_a_health_address_that_is_taken_ends_the_worker_with_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = f"127.0.0.1:{server.getsockname()[1]}"
        done = subprocess.run(
            [".venv/bin/bot-runner-worker", "run"],
            env=os.environ | {"WORKER_TOKEN": "token", "HEALTH_ADDRESS": taken},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"bot-runner-worker: HEALTH_ADDRESS: cannot listen on {taken}: address already in use. "
        "Choose another address, or off."
    )
