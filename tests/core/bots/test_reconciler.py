"""What should run and does not comes back; what was changed behind the runner's back is put right or told."""

import asyncio
from typing import Any

import pytest
from tests.conftest import IDLE_BOT
from tests.core.bots.conftest import MakeSupervised, Supervised
from tests.core.examples import BOT, logs_with
from tests.core.images.test_gc import archive_of_a_bot

from bot_runner_worker.engine import containers, images, networks
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.testing.waiting import until

GRACEFUL = (
    "import signal, sys, time\n"
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
    "print('ready', flush=True)\n"
    "while True: time.sleep(1)\n"
)
"""Ends with exit code 0 when it is told to, as aiogram does."""


async def runs(supervised: Supervised) -> dict[str, Any]:
    """The container's state, which must be running and connected."""
    found = await supervised.inspect()
    assert found["State"]["Status"] == "running"
    assert found["HostConfig"]["NetworkMode"] in found["NetworkSettings"]["Networks"]
    assert len(await supervised.containers()) == 1
    return found


async def again_running(supervised: Supervised) -> None:
    """Look until the bot runs; one that was just stopped is left down for a moment."""

    async def running() -> bool:
        await supervised.supervisor.check()
        return bool((await supervised.inspect())["State"]["Status"] == "running")

    await until(running, 60, "the bot runs")
    await runs(supervised)


@pytest.mark.engine
async def test_a_bot_that_was_stopped_by_hand_comes_back(by_hand: Supervised) -> None:
    first = await by_hand.start()
    await by_hand.docker("stop", t=0)
    assert (await by_hand.status())["status"] == "restarting"
    await again_running(by_hand)
    assert (await by_hand.status())["container_id"] == first.data["container_id"]
    assert by_hand.kinds() == []


@pytest.mark.slow
async def test_a_graceful_bot_that_was_stopped_by_hand_comes_back(supervised: Supervised) -> None:
    """It ends with exit code 0, as one that is done does; but it was sent a signal."""
    await supervised.start(code=GRACEFUL, deployment_mode="simple")
    await logs_with(supervised, "ready")
    begun = (await supervised.inspect())["State"]["StartedAt"]
    await supervised.docker("stop")
    await supervised.state(after=begun)
    assert supervised.kinds() == []


@pytest.mark.slow
async def test_a_stopped_bot_stays_stopped(by_hand: Supervised) -> None:
    await by_hand.start()
    await by_hand.task("stop_bot", **BOT)
    await by_hand.supervisor.check()
    assert (await by_hand.status())["status"] == "stopped"
    assert (await by_hand.inspect())["State"]["Status"] == "exited"


@pytest.mark.slow
async def test_a_stop_holds_for_a_bot_that_is_down_and_about_to_come_back(by_hand: Supervised) -> None:
    await by_hand.start(code=GRACEFUL, deployment_mode="simple")
    await logs_with(by_hand, "ready")
    await by_hand.docker("stop")
    # Nobody has noted its end yet.
    assert (await by_hand.status())["status"] == "exited"
    await by_hand.task("stop_bot", **BOT)
    await by_hand.supervisor.check()
    assert (await by_hand.status())["status"] == "stopped"
    assert (await by_hand.inspect())["State"]["Status"] == "exited"


@pytest.mark.slow
async def test_a_paused_bot_goes_on(by_hand: Supervised) -> None:
    await by_hand.start()
    await by_hand.docker("pause")
    await by_hand.supervisor.check()
    await runs(by_hand)


async def network_of(by_hand: Supervised) -> str:
    return str((await by_hand.inspect())["HostConfig"]["NetworkMode"])


async def disconnect(by_hand: Supervised, network: str) -> None:
    container = (await by_hand.status())["container_id"]
    await by_hand.engine.json(
        "POST", f"networks/{network}/disconnect", body={"Container": container, "Force": True}
    )


@pytest.mark.slow
@pytest.mark.parametrize("network_mode", ["own", "shared"])
@pytest.mark.parametrize("removed", [False, True], ids=["disconnected", "network removed"])
@pytest.mark.parametrize("down", [False, True], ids=["running", "down"])
async def test_a_bot_without_its_network_gets_it_back(
    make_supervised: MakeSupervised, network_mode: str, removed: bool, down: bool
) -> None:
    by_hand = await make_supervised(network_mode=network_mode)
    await by_hand.start()
    network = await network_of(by_hand)
    if down:
        await by_hand.docker("stop", t=0)
    if not (down and removed):
        await disconnect(by_hand, network)
    if removed:
        await networks.remove(by_hand.engine, network)
        assert await networks.inspect(by_hand.engine, network) is None
    await again_running(by_hand)


@pytest.mark.slow
async def test_a_bot_that_was_renamed_by_hand_gets_its_name_back(by_hand: Supervised) -> None:
    first = await by_hand.start()
    await by_hand.docker("rename", name="renamed-" + first.data["container_name"])
    report = await by_hand.status()
    assert (report["exists"], report["status"]) == (True, "running")
    await by_hand.supervisor.check()
    assert (await by_hand.status())["container_name"] == first.data["container_name"]
    assert (await runs(by_hand))["Id"] == first.data["container_id"]


@pytest.mark.engine
async def test_a_bot_that_was_removed_by_hand_is_reported_once(supervised: Supervised) -> None:
    first = await supervised.start()

    # Seen when nobody works on it any more: what is gone in the middle of a task is the task's affair.
    await supervised.supervisor.check()
    await containers.remove(supervised.engine, first.data["container_id"])
    event = await supervised.event("bot_removed")
    assert (event.bot, event.details["reason"]) == (BotKey("alice", "bot"), "removed_from_outside")
    assert (await supervised.status())["exists"] is False
    await supervised.supervisor.check()
    assert supervised.kinds() == ["bot_removed"]
    assert await supervised.leftovers("networks") == []
    assert (await supervised.start()).data["status"] == "started"


@pytest.mark.slow
async def test_a_bot_whose_image_was_removed_comes_back(by_hand: Supervised) -> None:
    """The Engine keeps the image of a container that runs, but not of one that is down."""
    await by_hand.start(deployment_mode="custom", archive=archive_of_a_bot())
    image = (await by_hand.inspect())["Image"]
    await by_hand.docker("kill")
    await by_hand.engine.json("DELETE", f"images/{image}", params={"force": True})
    assert await images.inspect(by_hand.engine, image) is None
    await again_running(by_hand)


@pytest.mark.parametrize(
    "reason",
    [pytest.param("expired", marks=pytest.mark.engine), pytest.param("stopped", marks=pytest.mark.slow)],
)
async def test_an_end_that_a_worker_had_noted_before_it_was_killed_is_finished(
    by_hand: Supervised, reason: str
) -> None:
    """The end reason is there, and the bot still runs."""
    first = await by_hand.start()
    weight = {"stopped": 1024, "expired": 1025}[reason]
    await containers.set_policy(
        by_hand.engine, first.data["container_id"], restart={"Name": "no"}, cpu_shares=weight
    )
    await by_hand.supervisor.check()
    assert (await by_hand.status())["status"] == reason
    assert by_hand.kinds() == [f"bot_{reason}"]


async def another_container(by_hand: Supervised, suffix: str) -> str:
    """One more container of the bot, as a start makes it before it starts it."""
    found = await by_hand.inspect()
    config = {**found["Config"], "HostConfig": found["HostConfig"], "Cmd": ["sleep", "1000"]}
    return await containers.create(by_hand.engine, found["Name"].removeprefix("/") + suffix, config)


@pytest.mark.engine
async def test_a_container_that_never_started_is_removed_at_once(by_hand: Supervised) -> None:
    first = await by_hand.start()
    made = await another_container(by_hand, "-next")
    await by_hand.supervisor.check()
    assert await containers.inspect(by_hand.engine, made) is None
    assert (await runs(by_hand))["Id"] == first.data["container_id"]


@pytest.mark.slow
async def test_of_a_first_start_that_was_never_finished_nothing_is_left(by_hand: Supervised) -> None:
    first = await by_hand.start()
    made = await another_container(by_hand, "-next")
    await containers.remove(by_hand.engine, first.data["container_id"])
    await containers.rename(by_hand.engine, made, first.data["container_name"])
    await by_hand.supervisor.check()
    assert await by_hand.leftovers("containers/json", "networks") == []
    assert by_hand.kinds() == []


@pytest.mark.slow
async def test_a_bot_whose_replacement_started_is_removed(by_hand: Supervised) -> None:
    first = await by_hand.start()
    previous = await another_container(by_hand, "-previous")
    await containers.start(by_hand.engine, previous)
    await by_hand.supervisor.check()
    assert await containers.inspect(by_hand.engine, previous) is None
    assert (await runs(by_hand))["Id"] == first.data["container_id"]


@pytest.mark.parametrize(
    ("code", "replacement"),
    [
        pytest.param(GRACEFUL, "next", marks=pytest.mark.engine),
        *(pytest.param(GRACEFUL, each, marks=pytest.mark.slow) for each in ("gone", "created")),
        *(pytest.param(IDLE_BOT, each, marks=pytest.mark.slow) for each in ("next", "gone", "created")),
    ],
    ids=[f"{code}-{each}" for code in ("graceful", "plain") for each in ("next", "gone", "created")],
)
async def test_a_bot_whose_replacement_never_started_comes_back(
    by_hand: Supervised, replacement: str, code: str
) -> None:
    first = await by_hand.start(code=code, deployment_mode="simple")
    await logs_with(by_hand, "ready")
    made = await another_container(by_hand, "-next")
    container, name = first.data["container_id"], first.data["container_name"]
    await containers.stop(by_hand.engine, container, 1)
    await containers.rename(by_hand.engine, container, f"{name}-previous")
    if replacement == "created":
        await containers.rename(by_hand.engine, made, name)
    elif replacement == "gone":
        await containers.remove(by_hand.engine, made)
    await by_hand.supervisor.check()
    found = await runs(by_hand)
    assert (found["Id"], found["Name"]) == (container, f"/{name}")
    assert by_hand.kinds() == []


@pytest.mark.slow
async def test_a_start_that_is_under_way_is_left_alone(
    by_hand: Supervised, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another look falls into the moment in which the container is there and not started."""
    real = containers.put_files
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slow(*arguments: Any) -> None:
        reached.set()
        await go_on.wait()
        await real(*arguments)

    monkeypatch.setattr(containers, "put_files", slow)
    starting = asyncio.create_task(by_hand.start())
    await reached.wait()
    for _ in range(3):
        await by_hand.supervisor.check()
    assert len(await by_hand.containers()) == 1
    go_on.set()
    assert (await starting).data["status"] == "started"
    await by_hand.supervisor.check()
    await runs(by_hand)


@pytest.mark.engine
async def test_a_network_without_its_bot_is_removed(by_hand: Supervised) -> None:
    await by_hand.start()
    gone, bot_networks = BotKey("alice", "gone"), by_hand.runner.runtime._networks
    await bot_networks.ensure(gone, bot_networks.choose(gone))
    assert len(await by_hand.leftovers("networks")) == 2
    await by_hand.supervisor.check()
    assert len(await by_hand.leftovers("networks")) == 1
    await runs(by_hand)


@pytest.mark.slow
async def test_what_is_not_ours_is_not_touched(make_supervised: MakeSupervised) -> None:
    ours, theirs = await make_supervised(), await make_supervised()
    await ours.start()
    await theirs.start()
    other = await another_container(theirs, "-next")
    await theirs.docker("pause")
    await ours.supervisor.check()
    assert (await theirs.inspect())["State"]["Status"] == "paused"
    assert await containers.inspect(ours.engine, other) is not None
    assert [record.bot for record in ours.supervisor.last_seen] == [BotKey("alice", "bot")]


@pytest.mark.slow
async def test_a_bot_that_cannot_be_brought_back_keeps_nobody_else_waiting(by_hand: Supervised) -> None:
    """Its name on the Engine is taken, so that it cannot have it back; the other bot comes back meanwhile."""
    first = await by_hand.start(bot_id="other")
    await by_hand.start()
    await by_hand.docker("rename", "other", name=first.data["container_name"] + "-moved")
    config = {"Image": by_hand.runner.settings.base_image, "Cmd": ["true"]}
    foreign = await containers.create(by_hand.engine, first.data["container_name"], config)
    try:
        await by_hand.docker("pause")
        await by_hand.supervisor.check()
        await by_hand.supervisor.check()
        assert (await by_hand.inspect())["State"]["Status"] == "running"
        assert (await by_hand.status("other"))["status"] == "running"
    finally:
        await containers.remove(by_hand.engine, foreign)
