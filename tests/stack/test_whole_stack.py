"""The whole stack over HTTP: real orchestrator process, real SDK worker, real Engine."""

import asyncio
import json
import os
import re
import sqlite3
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import IDLE_BOT
from tests.stack.conftest import Client, client_of, running

from bot_runner_stack.embedded import EmbeddedStack, StackOptions
from bot_runner_worker.engine import Engine
from bot_runner_worker.model.identity import NAMESPACE
from bot_runner_worker.testing.waiting import until

SIMPLE = {"deployment_mode": "simple", "code": IDLE_BOT}


async def labelled(engine: Engine, stack: EmbeddedStack) -> set[str]:
    """Containers and images of the stack's namespace."""
    params = {"all": True, "filters": {"label": [f"{NAMESPACE}={stack.namespace}"]}}
    kinds = ("containers", "images")
    return {each["Id"] for kind in kinds for each in await engine.json("GET", f"{kind}/json", params=params)}


@pytest.mark.engine
async def test_all_six_tasks_are_delivered_with_the_pinned_versions(client: Client) -> None:
    started = await client.run("start", bot_id="bot", **SIMPLE)
    assert started["status"] == "finished"
    data = started["result"]
    assert data["status"] == "started"
    assert {"container_id", "container_name", "started_at", "expires_at", "image"} <= data.keys()

    assert (await client.result("start", bot_id="bot", **SIMPLE))["status"] == "already_running"
    listed = await client.result("list")
    assert [(each["bot_id"], each["status"]) for each in listed["bots"]] == [("bot", "running")]
    assert (listed["count"], listed["max_bots"]) == (1, 3)
    status = await client.result("status", bot_id="bot")
    assert (status["exists"], status["status"], status["restart_count"]) == (True, "running", 0)
    logs = await client.result("logs", bot_id="bot", lines=5)
    assert logs["logs"] == "ready\n"
    restarted = await client.result("restart", bot_id="bot")
    assert restarted["container_id"] == data["container_id"]
    assert (await client.result("stop", bot_id="bot"))["status"] == "stopped"
    assert (await client.result("status", bot_id="bot"))["status"] == "stopped"
    assert (await client.result("stop", bot_id="other"))["status"] == "not_found"


BAD_INPUT: list[tuple[str, dict[str, Any], str]] = [
    ("start", {"bot_id": "b"}, "MISSING_REQUIRED_FIELD"),
    ("start", SIMPLE, "MISSING_REQUIRED_FIELD"),
    ("start", {"bot_id": "", **SIMPLE}, "INVALID_BOT_ID"),
    ("start", {"bot_id": "b", "deployment_mode": "magic"}, "INVALID_DEPLOYMENT_MODE"),
    ("start", {"bot_id": "b", "deployment_mode": "simple"}, "MISSING_SOURCE"),
    ("start", {"bot_id": "b", **SIMPLE, "files": {"bot.py": ""}}, "CONFLICTING_SOURCES"),
    ("start", {"bot_id": "b", **SIMPLE, "entrypoint": "../x"}, "INVALID_ENTRYPOINT"),
    ("start", {"bot_id": "b", **SIMPLE, "requirements": ["-r x"]}, "INVALID_REQUIREMENT"),
    ("start", {"bot_id": "b", **SIMPLE, "requirements": ["no-such-name-zz9"]}, "BUILD_FAILED"),
    ("start", {"bot_id": "b", **SIMPLE, "env_vars": {"A B": "x"}}, "INVALID_ENVIRONMENT"),
    ("start", {"bot_id": "b", **SIMPLE, "resource_limits": {"memory_mb": 9999}}, "LIMIT_TOO_HIGH"),
    ("start", {"bot_id": "b", **SIMPLE, "colour": "red"}, "UNKNOWN_FIELD"),
    ("start", {"bot_id": "b", **SIMPLE, "replace": "yes"}, "INVALID_FIELD"),
    ("logs", {"bot_id": "none"}, "BOT_NOT_FOUND"),
    ("logs", {"bot_id": "none", "lines": -1}, "INVALID_FIELD"),
    ("restart", {"bot_id": "none"}, "BOT_NOT_FOUND"),
    ("dance", {}, "UNKNOWN_ACTION"),
    ("list", {"user_id": "somebody-else"}, "FORBIDDEN_USER"),
]


@pytest.mark.engine
async def test_bad_input_of_each_kind_is_told_once_and_leaves_nothing(
    stack: EmbeddedStack, client: Client, engine: Engine
) -> None:
    before = await labelled(engine, stack)
    errors = await asyncio.gather(*(client.error(action, **data) for action, data, _ in BAD_INPUT))
    assert [error["code"] for error in errors] == [code for _, _, code in BAD_INPUT]
    assert all(error["message"] and error["hint"] for error in errors)
    # Not one was tried again, and the worker is not blamed.
    log = stack.workers[0].log.read_text()
    for code in ("BUILD_FAILED", "MISSING_SOURCE"):
        assert len(re.findall(rf"'{client.user_id}'/.*{code} in", log)) == 1
    assert [worker["reputation"] for worker in await client.workers()] == [1.0]
    assert await labelled(engine, stack) <= before


@pytest.mark.slow
async def test_50_starts_at_once_through_the_orchestrator(client: Client) -> None:
    results = await asyncio.gather(
        *(client.result("start", bot_id=f"bot-{number}", **SIMPLE) for number in range(50))
    )
    counts = Counter(result.get("status") or result["error"]["code"] for result in results)
    assert counts == {"started": 3, "QUOTA_EXCEEDED": 47}
    assert (await client.result("list"))["count"] == 3


SENTINEL = "sentinel-4f1c9e:AAH/secret value"


@pytest.mark.engine
async def test_a_secret_is_found_nowhere_but_in_the_container(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "written"
    (tmp_path / "bot.py").write_text(IDLE_BOT)
    command = (".venv/bin/bot-runner", "start", "two", "--simple", tmp_path / "bot.py", "--json")
    shown: list[str] = []
    async with running(
        env={"LOG_LEVEL": "DEBUG"},
        orchestrator_env={"HISTORY_DATABASE_URI": f"sqlite:{folder / 'history.sqlite'}"},
        log_dir=folder,
    ) as stack:
        client = client_of(stack)
        secret = {"env_vars": {"BOT_TOKEN": SENTINEL}}
        started = await client.result("start", bot_id="bot", **SIMPLE, **secret)
        await client.error("start", bot_id="bad", **SIMPLE, **secret, requirements=["no-such-name-zz9"])
        await client.error("start", bot_id="bad", **SIMPLE, **secret, colour=SENTINEL)
        await client.error("start", bot_id="bot", **SIMPLE, **secret, replace=False, entrypoint="x.py")
        await client.result("status", bot_id="bot")
        await client.result("list")
        done = await asyncio.to_thread(
            subprocess.run,
            [*command, "--watch", "0", "-e", f"BOT_TOKEN={SENTINEL}"],
            env=os.environ | client.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        shown += [done.stdout, done.stderr, str(client.jobs)]
        container = await engine.json("GET", f"containers/{started['container_id']}/json")
        assert f"BOT_TOKEN={SENTINEL}" in container["Config"]["Env"]
        shown.append(str(container["Config"]["Labels"]) + container["Name"])
        shown.append(str(await engine.json("GET", f"images/{container['Image']}/history")))
    written = {path.name: path.read_text(errors="replace") for path in (tmp_path / "written").iterdir()}
    # The processes did log, in detail, and the history was written.
    assert "start_bot of" in written["worker-1.log"]
    assert written["history.sqlite"]
    for text in (*shown, *written.values()):
        for form in (SENTINEL, "sentinel-4f1c9e"):
            at = text.find(form)
            assert at < 0, text[max(0, at - 300) : at + 100]


@pytest.mark.slow
async def test_a_crash_is_told_to_the_orchestrator_once(client: Client, stack: EmbeddedStack) -> None:
    # Alive for long enough to be seen so.
    code = "import time; time.sleep(2); raise SystemExit(7)"
    await client.result("start", bot_id="bad", deployment_mode="simple", code=code)
    history = stack.orchestrator.log.parent / "history.sqlite"

    def events() -> list[tuple[str, dict[str, Any]]]:
        with closing(sqlite3.connect(history)) as connection:
            rows = connection.execute("SELECT event_type, context_snapshot FROM job_history").fetchall()
        told = [(kind, json.loads(text)["payload"]) for kind, text in rows if "worker_event:bot_" in kind]
        return [(kind, payload) for kind, payload in told if payload["user_id"] == client.user_id]

    await until(lambda: "worker_event:bot_crashed" in dict(events()), 60, events)
    assert [kind for kind, _ in events()] == ["worker_event:bot_started", "worker_event:bot_crashed"]
    _, payload = events()[1]
    assert (payload["bot_id"], payload["exit_code"], payload["restart_count"]) == ("bad", 7, 5)


@pytest.mark.slow
async def test_an_engine_that_is_down_is_told_to_the_client(tmp_path: Path) -> None:
    options = StackOptions(
        worker_env={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"},
        orchestrator_env={"WORKER_WAIT_SECONDS": "1", "RETRY_DELAY_SECONDS": "0.2"},
    )
    async with EmbeddedStack(options) as stack:
        client = client_of(stack)
        error = await client.error("start", bot_id="bot", **SIMPLE)
        assert error["code"] == "NO_WORKER_AVAILABLE"
        assert "Docker Engine does not answer" in error["message"]
        assert error["hint"]
        assert "start_bot of" not in stack.workers[0].log.read_text()
        assert [worker["reputation"] for worker in await client.workers()] == [1.0]


@pytest.mark.slow
async def test_without_any_worker_the_client_is_told() -> None:
    options = StackOptions(workers=0, orchestrator_env={"WORKER_WAIT_SECONDS": "0.5"})
    async with EmbeddedStack(options) as stack:
        error = await client_of(stack).error("start", bot_id="bot", **SIMPLE)
    assert error["code"] == "NO_WORKER_AVAILABLE"
    assert error["hint"]


@pytest.mark.slow
async def test_a_front_end_may_act_for_others_if_the_operator_says_so(
    stack: EmbeddedStack, make_client: Callable[[], Awaitable[Client]]
) -> None:
    alice, bob = await make_client(), await make_client()
    await client_of(stack).result("start", bot_id="bot", user_id=alice.user_id, **SIMPLE)
    assert (await alice.result("status", bot_id="bot"))["status"] == "running"
    assert (await bob.result("status", bot_id="bot"))["exists"] is False
    error = await bob.error("stop", bot_id="bot", user_id=alice.user_id)
    assert error["code"] == "FORBIDDEN_USER"
    assert (await alice.result("status", bot_id="bot"))["status"] == "running"


PLUGIN = '''
"""A mode that needs no code from the user at all."""

from bot_runner_worker.plugin import ContainerOptions, DeploymentSource, Files, StrictModel, hookimpl


class HelloParams(StrictModel):
    greeting: str = "hello"


@hookimpl
def deployment_sources():
    return [DeploymentSource("hello", "hello", HelloParams, "a bot that greets")]


@hookimpl
def resolve_image(request, tools):
    return tools.images.base() if request.mode == "hello" else None


@hookimpl
def container_options(request, tools):
    if request.mode != "hello":
        return None
    code = f"import time\\nprint({request.params.greeting!r}, flush=True)\\ntime.sleep(999)"
    files = Files.of("/app", {"bot.py": code}, max_size=tools.settings.max_context_size)
    return ContainerOptions(command=("python3", "/app/bot.py"), files=(files,))
'''


def _install_plugin(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    project.mkdir()
    assert len(PLUGIN.strip().splitlines()) <= 30
    (project / "hello_plugin.py").write_text(PLUGIN)
    (project / "pyproject.toml").write_text(
        textwrap.dedent("""
            [build-system]
            requires = ["hatchling"]
            build-backend = "hatchling.build"
            [project]
            name = "bot-runner-plugin-hello"
            version = "1.0"
            dependencies = ["bot-runner-worker>=0.1,<0.2"]
            [project.entry-points.bot_runner_worker]
            hello = "hello_plugin"
            [tool.hatch.build.targets.wheel]
            include = ["hello_plugin.py"]
        """)
    )
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*install, "--target", str(site), str(project)], check=True, timeout=120)
    return site


@pytest.mark.engine
async def test_a_plugin_of_30_lines_offers_a_new_mode(tmp_path: Path) -> None:
    site = await asyncio.to_thread(_install_plugin, tmp_path)
    async with running(worker_env={"PYTHONPATH": str(site)}) as stack:
        client = client_of(stack)
        started = await client.result("start", bot_id="bot", deployment_mode="hello", greeting="bonjour")
        assert started["mode"] == "hello"

        async def logs() -> str:
            return str((await client.result("logs", bot_id="bot"))["logs"])

        assert await until(logs) == "bonjour\n"
        error = await client.error("start", bot_id="other", deployment_mode="nonsense")
        assert "hello" in error["hint"]
