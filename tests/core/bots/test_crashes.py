"""Bots that fail or end by themselves: restarted with growing delays, given up once, announced once."""

import asyncio
import time
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import pytest
from tests.core.bots.conftest import MakeSupervised, Supervised
from tests.core.examples import status_after

from bot_runner_worker.testing.waiting import until


@pytest.mark.engine
async def test_a_bot_that_keeps_failing_is_given_up_once(supervised: Supervised) -> None:
    code = "print('token is 123:secret', flush=True)\nimport nonsense"
    await supervised.start(code=code, deployment_mode="simple", env_vars={"BOT_TOKEN": "123:secret"})
    event = await supervised.event("bot_crashed")
    assert event.details["exit_code"] == 1
    assert event.details["oom_killed"] is False
    assert event.details["restart_count"] >= 5  # the Engine is quicker than a busy worker
    assert event.details["reason"] == "failed"
    assert event.details["hint"] == "Add the package that holds nonsense to requirements."
    assert "token is ***" in event.details["last_lines"]
    assert not any("secret" in line for line in event.details["last_lines"])
    report = await supervised.status()
    assert (report["status"], report["exit_code"]) == ("crashed", 1)
    assert report["reason"] == "ended with exit code 1"
    assert any("ModuleNotFoundError" in line for line in report["last_lines"])
    assert "nonsense" in report["hint"]
    await supervised.supervisor.check()
    assert supervised.kinds() == ["bot_crashed"]


@pytest.mark.slow
async def test_a_bot_that_fails_slowly_is_given_up_with_its_own_exit_code(
    make_supervised: MakeSupervised,
) -> None:
    """After a longer run the Engine starts it again at once: it may be running when it is given up."""
    supervised = await make_supervised(crash_limit=2, stop_grace_seconds=1)
    supervised.begin()
    code = "import time; time.sleep(10.5); raise SystemExit(42)"
    await supervised.start(code=code, deployment_mode="simple")
    event = await supervised.event("bot_crashed")
    assert event.details["exit_code"] == 42
    report = await supervised.status()
    assert (report["status"], report["exit_code"]) == ("crashed", 42)


@pytest.mark.slow
async def test_a_bot_that_dies_of_its_full_disk_is_stopped_for_that(make_supervised: MakeSupervised) -> None:
    """On a fast disk the file ends at its largest size before the watch, which is not here, comes by."""
    supervised = await make_supervised(crash_limit=2, container_disk_limit=8_000_000)
    supervised.begin()
    code = "file = open('/tmp/filler', 'ab')\nwhile True: file.write(b'x' * 1_000_000)"
    await supervised.start(deployment_mode="simple", code=code)
    event = await supervised.event("bot_stopped")
    assert event.details["reason"] == "disk_limit"
    assert event.details["disk_bytes"] > event.details["limit_bytes"] == 8_000_000
    report = await supervised.status()
    assert (report["status"], report["reason"]) == (
        "stopped",
        "stopped because it wrote more to its disk than it may",
    )
    assert supervised.kinds() == ["bot_stopped"]


@pytest.mark.engine
async def test_a_bot_out_of_memory_is_told_apart(make_supervised: MakeSupervised) -> None:
    supervised = await make_supervised(crash_limit=2)
    supervised.begin()
    code = "x = []\nwhile True: x.append(bytearray(1 << 20))"
    await supervised.start(deployment_mode="simple", code=code, resource_limits={"memory_mb": 32})
    event = await supervised.event("bot_crashed")
    assert (event.details["oom_killed"], event.details["reason"]) == (True, "out_of_memory")
    assert "memory" in event.details["hint"]
    report = await supervised.status()
    assert (report["oom_killed"], report["reason"]) == (True, "out of memory")


@pytest.mark.slow
async def test_a_bot_that_is_killed_from_outside_is_not_out_of_memory_and_has_not_failed(
    make_supervised: MakeSupervised,
) -> None:
    """Exit code 137 comes from any SIGKILL."""
    supervised = await make_supervised(crash_limit=1)
    supervised.begin()
    first = await supervised.start()
    for _ in range(2):
        begun = (await supervised.state())["StartedAt"]
        await supervised.docker("kill")
        await supervised.state(after=begun)
    report = await status_after(supervised, "running")
    assert (report["container_id"], report["oom_killed"]) == (first.data["container_id"], False)
    assert supervised.kinds() == []


@pytest.mark.engine
async def test_a_bot_that_ends_by_itself_stays_ended_and_is_announced_once(
    make_supervised: MakeSupervised,
) -> None:
    supervised = await make_supervised()
    supervised.begin()
    await supervised.start(code="print('bye')", deployment_mode="simple")
    event = await supervised.event("bot_exited")
    assert (event.details["exit_code"], event.details["reason"]) == (0, "exited")
    report = await supervised.status()
    assert (report["status"], report["exit_code"], report["reason"]) == ("exited", 0, "ended by itself")
    assert report["restart_count"] == 0
    # Another worker, and the same one after a restart, have nothing to add.
    namespace = supervised.runner.settings.runner_namespace
    await supervised.end()
    second = await make_supervised(runner_namespace=namespace)
    await second.supervisor.check()
    assert (await second.status())["status"] == "exited"
    assert second.kinds() == []
    assert supervised.kinds() == ["bot_exited"]


@pytest.mark.slow
async def test_an_end_that_no_worker_saw_is_announced_by_the_next(by_hand: Supervised) -> None:
    await by_hand.start(code="print('bye')", deployment_mode="simple")
    assert (await status_after(by_hand, "exited"))["exit_code"] == 0
    await by_hand.supervisor.check()
    await by_hand.supervisor.check()
    assert by_hand.kinds() == ["bot_exited"]
    assert (await by_hand.inspect())["HostConfig"]["RestartPolicy"]["Name"] == "no"


@pytest.mark.slow
@pytest.mark.parametrize("source", ["history", "count"])
async def test_failures_that_no_worker_saw_count(
    make_supervised: MakeSupervised, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """A worker that comes back asks the Engine: for its last events, and how often it restarted."""
    supervised = await make_supervised(crash_limit=3)
    code = (
        "import pathlib, time\n"
        "count = pathlib.Path('count')\n"
        "count.write_text((count.read_text() if count.exists() else '') + 'x')\n"
        "if len(count.read_text()) <= 3: raise SystemExit(9)\n"
        "while True: time.sleep(1)\n"
    )
    bot_id = "bot-0"

    async def failed_often() -> bool:
        found = await supervised.inspect(bot_id)
        return bool(found["RestartCount"] == 3 and found["State"]["Status"] == "running")

    for attempt in range(5):
        bot_id = f"bot-{attempt}"
        await supervised.start(code=code, deployment_mode="simple", bot_id=bot_id)
        await until(failed_often, 60, "the Engine restarts the bot")
        if source == "count" or await remembered_ends(supervised, bot_id) == 3:
            break
        await supervised.task("stop_bot", user_id="alice", bot_id=bot_id)
    supervisor: Any = supervised.supervisor
    if source == "history":
        # As if the bot were older than the window.
        monkeypatch.setattr(supervisor._reconciler.policy, "_window", timedelta(0))
    else:
        monkeypatch.setattr(supervisor, "_window", -60.0)
    supervised.begin()
    event = await supervised.event("bot_crashed")
    # The count alone does not tell how it failed.
    assert event.details["exit_code"] == (9 if source == "history" else None)
    assert (await supervised.status(bot_id))["status"] == "crashed"


async def remembered_ends(supervised: Supervised, bot_id: str) -> int:
    """How often a bot has ended, by the Engine's last 256 events of whatever it does."""
    container = (await supervised.status(bot_id))["container_id"]
    params = {
        "since": "0",
        "until": f"{time.time():.9f}",
        "filters": {"container": [container], "event": ["die"]},
    }
    async with aclosing(supervised.engine.stream_json("GET", "events", params=params)) as ends:
        return len([end async for end in ends])


@pytest.mark.slow
async def test_failures_outside_the_window_do_not_count(make_supervised: MakeSupervised) -> None:
    supervised = await make_supervised(crash_limit=2, crash_window_seconds=1)
    supervised.begin()
    await supervised.start(code="import time; time.sleep(1.5); raise SystemExit(9)", deployment_mode="simple")

    async def failed_often() -> bool:
        return bool((await supervised.inspect())["RestartCount"] >= 3)

    await until(failed_often, 60, "the Engine restarts the bot")
    assert supervised.kinds() == []
    assert (await supervised.status())["status"] in ("running", "restarting")


@pytest.mark.slow
async def test_what_is_done_on_request_is_no_failure(make_supervised: MakeSupervised) -> None:
    """The idle bot ends with 143 when it is stopped, restarted or replaced."""
    supervised = await make_supervised(crash_limit=1)
    supervised.begin()
    await supervised.start()
    await supervised.task("restart_bot", user_id="alice", bot_id="bot")
    await supervised.start(env_vars={"A": "1"}, replace=True)
    await status_after(supervised, "running")
    await supervised.task("stop_bot", user_id="alice", bot_id="bot")
    await supervised.supervisor.check()
    assert (await supervised.status())["status"] == "stopped"
    assert supervised.kinds() == ["bot_stopped"]


@pytest.mark.slow
async def test_a_bot_that_was_given_up_gets_all_its_chances_again_when_it_is_restarted(
    make_supervised: MakeSupervised,
) -> None:
    supervised = await make_supervised(crash_limit=2)
    supervised.begin()
    await supervised.start(code="raise SystemExit(3)", deployment_mode="simple")
    await supervised.event("bot_crashed")
    supervised.heard.clear()
    await supervised.task("restart_bot", user_id="alice", bot_id="bot")
    event = await supervised.event("bot_crashed")
    assert event.details["restart_count"] >= 2
    assert supervised.kinds() == ["bot_crashed"]


@pytest.mark.slow
async def test_ten_bots_that_fail_make_ten_events(make_supervised: MakeSupervised) -> None:
    supervised = await make_supervised(crash_limit=3, max_bots_per_user=10)
    supervised.begin()
    code = "raise SystemExit(3)"
    await asyncio.gather(
        *(supervised.start(bot_id=f"b{n}", code=f"{code} # {n}", deployment_mode="simple") for n in range(10))
    )
    await until(lambda: len(supervised.kinds()) >= 10, 120, lambda: f"ten ends: {supervised.kinds()}")
    await supervised.supervisor.check()
    assert supervised.kinds() == ["bot_crashed"] * 10
