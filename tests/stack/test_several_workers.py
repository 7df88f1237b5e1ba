"""Three workers on one Engine share the work: no wrong answer, no lost task, no bot twice, limits kept."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import IDLE_BOT
from tests.corpus.servers import ALLOWED, Servers
from tests.redis_server import redis_server
from tests.stack.conftest import Client, client_of, running

from bot_runner_stack.embedded import EmbeddedStack
from bot_runner_worker.engine import Engine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

USERS = 30
TASKS_OF_A_USER = 10
MAX_BOTS = 2
SIMPLE = {"deployment_mode": "simple", "code": IDLE_BOT}


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[EmbeddedStack]:
    """Redis, an orchestrator with a client who acts for others, and three workers, one without git."""
    async with redis_server(tmp_path) as redis:
        environment = {"CLIENT_MAY_ACT_FOR_OTHERS": "true", **redis.environment_of_clients}
        worker = {"MAX_BOTS_PER_USER": str(MAX_BOTS), "SOURCE_ADDRESSES_ALLOWED": f"{ALLOWED}/32"}
        async with running(
            workers=2, storage="redis", orchestrator_env=environment, worker_env=worker
        ) as made:
            await made.start_worker({"PLUGINS_DISABLED": "custom_git"})
            yield made


async def test_300_mixed_tasks_of_30_users(stack: EmbeddedStack, servers: Servers, engine: Engine) -> None:
    repository = servers.repository("bot.git")
    repository.commit_files({"bot.py": IDLE_BOT, "requirements.txt": ""})
    git = {"deployment_mode": "custom", "git_repo": servers.git.url("/bot.git")}
    client = client_of(stack, seconds=300)
    await asyncio.gather(*(_life_of_a_user(client, f"user-{number}", git) for number in range(USERS)))

    assert len(client.jobs) == USERS * TASKS_OF_A_USER
    assert Counter(worker["reputation"] for worker in await client.workers()) == {1.0: 3}
    label = [f"io.avtomatika.bot-runner.namespace={stack.namespace}", "io.avtomatika.bot-runner.role=bot"]
    rows = await engine.json("GET", "containers/json", params={"filters": {"label": label}})
    running = Counter(
        (row["Labels"]["io.avtomatika.bot-runner.user-id"], row["Labels"]["io.avtomatika.bot-runner.bot-id"])
        for row in rows
    )
    assert set(running.values()) == {1}
    assert Counter(user for user, _ in running) == {f"user-{number}": MAX_BOTS for number in range(USERS)}

    logs = [worker.log.read_text() for worker in stack.workers]
    assert all(re.search(r"(start|stop)_bot of", log) for log in logs), "a worker had nothing to do"
    shares = [len(re.findall(r"start_bot of 'user-\d+'/'git'", log)) for log in logs]
    # The third has no plugin for git, and is not asked for it; the others share that work.
    assert shares[2] == 0
    assert min(shares[:2]) >= USERS / 4, shares


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
    assert answer.get("status") == "started", answer
    listed = await run("list")
    assert {bot["bot_id"]: bot["status"] for bot in listed["bots"]} == {
        first: "stopped",
        second: "running",
        "git": "running",
    }
