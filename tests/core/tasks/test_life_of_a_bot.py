"""A bot's life on the real Engine: start, look, stop, restart, replace, expire."""

import asyncio
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.conftest import IDLE_BOT, MakeRunner, RunnerUnderTest

pytestmark = pytest.mark.engine

BOT = {"user_id": "alice", "bot_id": "bot"}


async def status_after(
    runner: RunnerUnderTest, *statuses: str, seconds: float = 20, **bot: Any
) -> dict[str, Any]:
    """The bot's status report, as soon as it has one of these statuses."""
    report: dict[str, Any] = {}
    for _ in range(int(seconds / 0.1)):
        report = (await runner.task("check_status", **{**BOT, **bot})).data
        if report["status"] in statuses:
            return report
        await asyncio.sleep(0.1)
    raise AssertionError(f"the bot is {report['status']} ({report['reason']}), not {' or '.join(statuses)}")


async def logs_with(runner: RunnerUnderTest, word: str, seconds: float = 10) -> dict[str, Any]:
    """The bot's log page, as soon as it holds a word."""
    page: dict[str, Any] = {}
    for _ in range(int(seconds / 0.1)):
        page = (await runner.task("get_logs", **BOT)).data
        if word in page.get("logs", ""):
            return page
        await asyncio.sleep(0.1)
    raise AssertionError(f"no {word!r} in the log: {page}")


async def inspect(runner: RunnerUnderTest, container: str) -> dict[str, Any]:
    """The Engine's own description of a container."""
    answer: dict[str, Any] = await runner.engine.json("GET", f"containers/{container}/json")
    return answer


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


async def test_a_bot_that_is_not_there(runner: RunnerUnderTest) -> None:
    assert (await runner.task("stop_bot", **BOT)).data["status"] == "not_found"
    assert (await runner.task("check_status", **BOT)).data["exists"] is False
    assert (await runner.task("list_bots", user_id="alice")).data["bots"] == []
    for task in ("get_logs", "restart_bot"):
        outcome = await runner.task(task, **BOT)
        assert outcome.ending == "rejected"
        assert outcome.data["error"]["code"] == "BOT_NOT_FOUND"


async def test_the_cage(make_runner: MakeRunner) -> None:
    runner = await make_runner(start_burst_cpu=0)
    code = """
import os, json
status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
print(json.dumps({
    "uid": os.getuid(), "pid1": open("/proc/1/comm").read().strip(), "caps": status["CapEff"],
    "no_new_privs": status["NoNewPrivs"], "cwd": os.getcwd(),
    "socket": os.path.exists("/var/run/docker.sock"),
}), flush=True)
while True: __import__("time").sleep(1)
"""
    started = await runner.start(
        code=code, deployment_mode="simple", resource_limits={"memory_mb": 64, "pids": 20}
    )
    facts = json.loads((await logs_with(runner, "uid"))["logs"])
    assert facts == {
        "uid": 10001,
        "pid1": "docker-init",
        "caps": "0000000000000000",
        "no_new_privs": "1",
        "cwd": "/app",
        "socket": False,
    }
    host = (await inspect(runner, started.data["container_id"]))["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == 64 * 1024 * 1024
    assert (host["NanoCpus"], host["PidsLimit"]) == (500_000_000, 20)
    for name in ("Privileged", "Binds", "Devices", "CapAdd", "PortBindings"):
        assert not host[name]


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


async def test_the_same_start_again_is_the_same_bot(runner: RunnerUnderTest) -> None:
    first = await runner.start(env_vars={"A": "1"})
    second = await runner.start(env_vars={"A": "1"})
    assert second.data["status"] == "already_running"
    assert second.data["container_id"] == first.data["container_id"]
    together = await asyncio.gather(*(runner.start(env_vars={"A": "1"}) for _ in range(5)))
    assert {each.data["container_id"] for each in together} == {first.data["container_id"]}


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


async def test_replacing_never_runs_two_at_once(runner: RunnerUnderTest) -> None:
    """Each bot writes when it starts and ends; the two bots' times must not overlap."""
    code = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit())\n" + IDLE_BOT
    first = await runner.start(code=code, deployment_mode="simple")
    await logs_with(runner, "ready")
    events: list[dict[str, Any]] = []

    async def watch() -> None:
        params = {"filters": {"type": ["container"], "event": ["start", "die"]}}
        async for event in runner.engine.stream_json("GET", "events", params=params):
            events.append(event)  # noqa: PERF401 - they must be there while the stream goes on

    watcher = asyncio.create_task(watch())
    await asyncio.sleep(0.3)
    second = await runner.start(code=code + "# 2", deployment_mode="simple", replace=True)
    await asyncio.sleep(0.3)
    watcher.cancel()
    mine = {first.data["container_id"], second.data["container_id"]}
    seen = [(event["Action"], event["id"]) for event in events if event["id"] in mine]
    assert seen == [("die", first.data["container_id"]), ("start", second.data["container_id"])]


async def test_a_replacement_that_does_not_start_brings_the_old_bot_back(
    runner: RunnerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await runner.start()
    from bot_runner_worker.engine import EngineError, containers

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


async def test_restart_keeps_the_container_and_its_deadline(runner: RunnerUnderTest) -> None:
    first = await runner.start()
    await logs_with(runner, "ready")
    again = await runner.task("restart_bot", **BOT)
    assert again.data["status"] == "started"
    for name in ("container_id", "expires_at", "started_at"):
        assert again.data[name] == first.data[name]
    for _ in range(50):
        if (await runner.task("get_logs", **BOT)).data["logs"].count("ready") == 2:
            break
        await asyncio.sleep(0.1)
    else:
        raise AssertionError("the bot did not start a second time")
    await runner.task("stop_bot", **BOT)
    assert (await runner.task("restart_bot", **BOT)).data["status"] == "started"
    await status_after(runner, "running")


async def test_a_bot_that_ends_and_one_that_crashes(runner: RunnerUnderTest) -> None:
    supervising = asyncio.create_task(runner.runner.supervisor.run())
    try:
        await runner.start(bot_id="done", deployment_mode="simple", code="print('bye')")
        report = await status_after(runner, "exited", bot_id="done", seconds=60)
        assert (report["exit_code"], report["restart_count"], report["reason"]) == (0, 0, "ended by itself")

        await runner.start(bot_id="bad", deployment_mode="simple", code="import nonsense")
        report = await status_after(runner, "crashed", bot_id="bad", seconds=60)
        assert (report["exit_code"], report["restart_count"], report["oom_killed"]) == (1, 5, False)
        assert "ModuleNotFoundError" in report["last_lines"][-1]
        assert "nonsense" in report["hint"]
    finally:
        supervising.cancel()
        await asyncio.wait([supervising])


async def test_a_bot_out_of_memory_is_told_apart(runner: RunnerUnderTest) -> None:
    code = "x = []\nwhile True: x.append(bytearray(1 << 20))"
    await runner.start(deployment_mode="simple", code=code, resource_limits={"memory_mb": 32})
    report = await status_after(runner, "crashed", "restarting", seconds=30)
    assert report["oom_killed"]
    assert report["reason"] == "out of memory"
