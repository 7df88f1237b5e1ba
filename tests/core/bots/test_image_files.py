"""What an image, or a bot that runs, does to its own files never decides what is mounted, or who runs."""

import base64
from typing import Any

import pytest
from tests.conftest import BASE_IMAGE, MakeRunner, RunnerUnderTest
from tests.core.examples import context_of, inspect, logs_with, status_after

from bot_runner_worker.testing.memory_runner import MemoryRunner, memory_settings
from bot_runner_worker.testing.waiting import until

MOVE_AWAY = (
    "grep attr /proc/self/mounts; [ -L /a ] || { mv /a /b && ln -s /proc/self /a && echo moved; }; exit 1"
)
"""The folder above its volume exists in the bot's own layer only, so that a bot may move it."""


async def start(runner: RunnerUnderTest | MemoryRunner, dockerfile: str, **params: Any) -> Any:
    """Start a bot from a Dockerfile on the base image; returns the result's data."""
    archive = base64.b64encode(context_of(f"FROM {BASE_IMAGE}\n{dockerfile}\n")).decode()
    outcome = await runner.start(deployment_mode="custom", archive=archive, **params)
    return outcome.data


@pytest.mark.slow
async def test_a_link_that_a_bot_makes_leads_no_volume_into_proc_at_its_restart(
    runner: RunnerUnderTest,
) -> None:
    started = await start(runner, f'VOLUME /a/attr\nCMD ["sh", "-c", "{MOVE_AWAY}"]')
    assert started["status"] == "started"
    await logs_with(runner, "moved")

    async def restarted() -> str:
        return str((await inspect(runner))["State"]["Error"])

    # runc refuses it now; what it says names paths of the host.
    assert "inside /proc" in await until(restarted, what="the Engine's own restart")
    told = await status_after(runner, "restarting", "crashed")
    assert "cannot be mounted" in told["reason"]
    assert "/var/lib" not in str(told)
    assert "/proc/1/attr" not in (await logs_with(runner, "moved"))["logs"]


@pytest.mark.slow
async def test_volumes_work_whoever_the_bot_runs_as_and_through_the_images_own_links(
    runner: RunnerUnderTest,
) -> None:
    started = await start(
        runner,
        "RUN ln -s /run /first && ln -s first /second\nVOLUME /data /second/x\nUSER 10001\n"
        'CMD ["sh", "-c", "date > /data/x && date > /second/x/y && df -k /data && ls /run/x && sleep 999"]',
    )
    assert started["notes"] == []
    logs = (await logs_with(runner, "y\n"))["logs"]
    assert " 65536 " in logs
    volumes = [mount["Name"] for mount in (await inspect(runner))["Mounts"]]
    assert len(volumes) == 2
    await runner.task("stop_bot", user_id="alice", bot_id="bot")
    for record in await runner.runner.runtime.list_bots():
        await runner.runner.runtime.remove(record)
    left = {each["Name"] for each in (await runner.engine.json("GET", "volumes"))["Volumes"] or []}
    assert left.isdisjoint(volumes)


WHO = 'CMD ["sh", "-c", "id -u; sleep 999"]'


@pytest.mark.engine
async def test_an_image_without_a_user_runs_as_nobody_in_particular_where_root_is_refused(
    make_runner: MakeRunner,
) -> None:
    runner = await make_runner(run_as_root="refused")
    assert (await start(runner, WHO))["notes"] == []
    assert (await logs_with(runner, "\n"))["logs"] == "10001\n"


@pytest.mark.slow
async def test_the_note_says_who_runs_as_root(runner: RunnerUnderTest) -> None:
    [note] = (await start(runner, WHO))["notes"]
    assert "runs as root" in note
    assert (await logs_with(runner, "\n"))["logs"] == "0\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "steps",
    [
        "RUN echo '10001:x:0:0::/:/bin/sh' > /etc/passwd",
        "RUN chmod 666 /etc/passwd",
        "RUN chown -R 10001 /etc",
        "RUN mv /etc/passwd /etc/p && ln -s p /etc/passwd",
        "RUN head -c 300000 /dev/zero | tr '\\0' '#' >> /etc/passwd",
    ],
)
async def test_an_image_that_can_turn_a_number_into_root_is_refused(
    make_runner: MakeRunner, steps: str
) -> None:
    runner = await make_runner(run_as_root="refused")
    error = (await start(runner, f"{steps}\n{WHO}"))["error"]
    assert error["code"] == "IMAGE_REFUSED"
    assert await runner.leftovers("containers/json", "networks") == []


@pytest.mark.parametrize("user", ["root", "0", "0:1000", "00", "app", "root:10001", "99999999999"])
async def test_whoever_is_root_or_may_be_is_refused(user: str) -> None:
    runner = MemoryRunner(memory_settings(base_image=BASE_IMAGE, run_as_root="refused"))
    error = (await start(runner, f"USER {user}\n{WHO}"))["error"]
    assert (error["code"], error["details"]["user"]) == ("IMAGE_REFUSED", user)


@pytest.mark.parametrize(("user", "noted"), [("root", True), ("00:1", True), ("1000", False), ("app", False)])
async def test_root_is_noted_and_nobody_else(user: str, noted: bool) -> None:
    runner = MemoryRunner(memory_settings(base_image=BASE_IMAGE))
    assert bool((await start(runner, f"USER {user}\n{WHO}"))["notes"]) is noted
