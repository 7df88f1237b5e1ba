"""A bot's life on the real Engine: start, look, stop, restart, replace, expire."""

import asyncio
from contextlib import aclosing
from datetime import datetime, timedelta
from time import time
from typing import Any

import pytest
from tests.conftest import IDLE_BOT, RunnerUnderTest
from tests.core.examples import BOT, logs_with, status_after

from bot_runner_worker.engine import EngineError, containers, events
from bot_runner_worker.model.identity import NAMESPACE
from bot_runner_worker.testing.waiting import until


@pytest.mark.engine
async def test_start_look_stop(runner: RunnerUnderTest) -> None:
    started = await runner.start(env_vars={"GREETING": "привет"})
    assert started.ending == "success"
    assert started.data["status"] == "started"
    begun, ends = (datetime.fromisoformat(started.data[name]) for name in ("started_at", "expires_at"))
    assert ends - begun == timedelta(hours=24)

    page = await logs_with(runner, "ready")
    assert (page["status"], page["container_status"], page["truncated"]) == ("ok", "running", False)
    again = await runner.task("get_logs", **BOT, since=page["next_since"])
    assert again.data["logs"] == ""

    report = await status_after(runner, "running")
    assert report["exists"]
    assert report["container_id"] == started.data["container_id"]
    listed = (await runner.task("list_bots", user_id="alice")).data
    assert (listed["count"], listed["max_bots"]) == (1, 3)
    assert listed["bots"][0]["bot_id"] == "bot"
    assert listed["bots"][0]["status"] == "running"

    assert (await runner.task("stop_bot", **BOT)).data["status"] == "stopped"
    assert (await status_after(runner, "stopped"))["reason"] == "stopped on request"
    # The log of a stopped bot can still be read.
    assert "ready" in (await runner.task("get_logs", **BOT)).data["logs"]


@pytest.mark.engine
async def test_a_bot_that_is_not_there(runner: RunnerUnderTest) -> None:
    assert (await runner.task("stop_bot", **BOT)).data["status"] == "not_found"
    assert (await runner.task("check_status", **BOT)).data["exists"] is False
    assert (await runner.task("list_bots", user_id="alice")).data["bots"] == []
    for task in ("get_logs", "restart_bot"):
        outcome = await runner.task(task, **BOT)
        assert outcome.ending == "rejected"
        assert outcome.data["error"]["code"] == "BOT_NOT_FOUND"


@pytest.mark.slow
async def test_nested_files_and_an_entrypoint(runner: RunnerUnderTest) -> None:
    files = {
        "app/main.py": "import sys; sys.path.insert(0, '.')\nfrom lib.words import WORD\n"
        "print(WORD, flush=True)\nopen('state.db', 'w').write('x')\n" + IDLE_BOT,
        "lib/words.py": "WORD = '$HOME `id` \"quoted\" ünï'\n",
        "lib/__init__.py": "",
    }
    await runner.start(deployment_mode="simple", files=files, entrypoint="app/main.py")
    page = await logs_with(runner, "ready")
    assert page["logs"] == '$HOME `id` "quoted" ünï\nready\n'


@pytest.mark.engine
async def test_the_same_start_again_is_the_same_bot(runner: RunnerUnderTest) -> None:
    first = await runner.start(env_vars={"A": "1"})
    second = await runner.start(env_vars={"A": "1"})
    assert second.data["status"] == "already_running"
    assert second.data["container_id"] == first.data["container_id"]
    together = await asyncio.gather(*(runner.start(env_vars={"A": "1"}) for _ in range(5)))
    assert {each.data["container_id"] for each in together} == {first.data["container_id"]}


@pytest.mark.engine
async def test_other_content_needs_replace(runner: RunnerUnderTest) -> None:
    first = await runner.start(env_vars={"A": "1"})
    refused = await runner.start(env_vars={"A": "2"})
    assert refused.data["error"]["code"] == "BOT_ALREADY_RUNNING"
    assert "replace" in refused.data["error"]["hint"]
    replaced = await runner.start(env_vars={"A": "2"}, replace=True)
    assert (replaced.data["status"], replaced.data["replaced"]) == ("started", True)
    assert replaced.data["container_id"] != first.data["container_id"]
    assert replaced.data["container_name"] == first.data["container_name"]
    assert len(await runner.containers()) == 1
    same = await runner.start(env_vars={"A": "2"}, replace=True)
    assert (same.data["status"], same.data["container_id"]) == (
        "already_running",
        replaced.data["container_id"],
    )


@pytest.mark.engine
async def test_replacing_never_runs_two_at_once(runner: RunnerUnderTest) -> None:
    """As the Engine tells it: the first has ended before the second starts."""
    code = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit())\n" + IDLE_BOT
    first = await runner.start(code=code, deployment_mode="simple")
    await logs_with(runner, "ready")
    seen: list[tuple[str, str]] = []

    async def watch(since: float) -> None:
        labels = {NAMESPACE: runner.settings.runner_namespace}
        async with aclosing(events.container_events(runner.engine, labels, since)) as stream:
            async for event in stream:
                if event.action in ("start", "die"):
                    seen.append((event.action, event.container))  # noqa: PERF401 - while it goes on

    watching = asyncio.create_task(watch(time()))
    second = await runner.start(code=code + "# 2", deployment_mode="simple", replace=True)
    one, two = first.data["container_id"], second.data["container_id"]
    await until(lambda: ("start", two) in seen, 30, lambda: f"the second starts: {seen}")
    watching.cancel()
    assert [each for each in seen if each[1] in (one, two)] == [("die", one), ("start", two)]


@pytest.mark.engine
async def test_a_replacement_that_does_not_start_brings_the_old_bot_back(
    runner: RunnerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await runner.start()
    real = containers.start

    async def fails_once(engine: Any, container: str) -> None:
        monkeypatch.setattr(containers, "start", real)
        raise EngineError(500, "OCI runtime create failed")

    # The Engine cannot be made to fail just this start.
    monkeypatch.setattr(containers, "start", fails_once)
    failed = await runner.start(env_vars={"A": "2"}, replace=True)
    assert failed.data["error"]["code"] == "START_FAILED"
    report = await status_after(runner, "running")
    assert report["container_id"] == first.data["container_id"]
    assert len(await runner.containers()) == 1


@pytest.mark.engine
async def test_restart_keeps_the_container_and_its_deadline(runner: RunnerUnderTest) -> None:
    first = await runner.start()
    await logs_with(runner, "ready")
    again = await runner.task("restart_bot", **BOT)
    assert again.data["status"] == "started"
    for name in ("container_id", "expires_at", "started_at"):
        assert again.data[name] == first.data[name]
    await logs_with(runner, "ready", times=2)
    await runner.task("stop_bot", **BOT)
    assert (await runner.task("restart_bot", **BOT)).data["status"] == "started"
    await status_after(runner, "running")
