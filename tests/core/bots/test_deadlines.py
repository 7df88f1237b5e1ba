"""A bot's time: warned of beforehand, over at its deadline, readable for a while, then removed."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.core.bots.conftest import MakeSupervised, Supervised
from tests.core.examples import BOT

from bot_runner_worker.bots import supervisor as loop
from bot_runner_worker.engine import containers
from bot_runner_worker.testing.waiting import until


async def check_later(supervised: Supervised, **later: float) -> None:
    """One look by a clock that is ahead."""
    now = datetime.now(UTC) + timedelta(**later)
    await supervised.supervisor.check(lambda: now)


@pytest.mark.engine
async def test_a_bot_is_warned_once_expires_and_is_removed(make_supervised: MakeSupervised) -> None:
    by_hand = await make_supervised(bot_max_runtime_hours=4, retention_hours=24)
    started = await by_hand.start()
    ends = datetime.fromisoformat(started.data["expires_at"])
    await check_later(by_hand, hours=2.9)
    assert by_hand.kinds() == []
    await check_later(by_hand, hours=3.1)
    await check_later(by_hand, hours=3.2)
    assert by_hand.kinds() == ["bot_expiring"]
    assert by_hand.heard[-1].details == {"expires_at": started.data["expires_at"]}
    assert (await by_hand.status())["status"] == "running"
    await by_hand.supervisor.check(lambda: ends)
    await by_hand.supervisor.check(lambda: ends)
    assert by_hand.kinds() == ["bot_expiring", "bot_expired"]
    # As a busy Engine does that was about to start it once more when it was ended: it is not told again.
    await by_hand.docker("start")
    await by_hand.supervisor.check(lambda: ends)
    assert by_hand.kinds() == ["bot_expiring", "bot_expired"]
    assert (await by_hand.inspect())["State"]["Status"] == "exited"
    report = await by_hand.status()
    assert (report["status"], report["reason"]) == ("expired", "its time was over")
    assert (await by_hand.task("get_logs", **BOT)).data["container_status"] == "expired"
    await check_later(by_hand, hours=23.9)
    assert (await by_hand.status())["exists"]
    await check_later(by_hand, hours=24.1)
    assert not (await by_hand.status())["exists"]
    assert by_hand.kinds() == ["bot_expiring", "bot_expired", "bot_removed"]
    assert by_hand.heard[-1].details == {"reason": "retention"}
    assert await by_hand.leftovers("containers/json", "networks") == []


@pytest.mark.slow
async def test_neither_warning_nor_deadline_changes_when_the_worker_does(
    make_supervised: MakeSupervised,
) -> None:
    first = await make_supervised(bot_max_runtime_hours=4)
    started = await first.start()
    await check_later(first, hours=3.5)
    kinds = first.kinds()
    for _ in range(3):
        first = await make_supervised(
            bot_max_runtime_hours=4, runner_namespace=first.runner.settings.runner_namespace
        )
        await check_later(first, hours=3.5)
        kinds += first.kinds()
        assert (await first.status())["expires_at"] == started.data["expires_at"]
    assert kinds == ["bot_expiring"]


@pytest.mark.slow
async def test_a_bot_is_not_warned_where_none_is_wanted(make_supervised: MakeSupervised) -> None:
    by_hand = await make_supervised(bot_max_runtime_hours=4, expiry_warning_minutes=0)
    await by_hand.start()
    await check_later(by_hand, hours=3.9)
    assert by_hand.kinds() == []


@pytest.mark.slow
async def test_a_deadline_is_kept_while_the_supervisor_runs(
    make_supervised: MakeSupervised, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "INTERVAL", 0.2)
    supervised = await make_supervised(bot_max_runtime_hours=3 / 3600)
    supervised.begin()
    await supervised.start()
    await supervised.event("bot_expired")
    refused = await supervised.task("restart_bot", **BOT)
    assert refused.data["error"]["code"] == "BOT_EXPIRED"
    assert (await supervised.start()).data["status"] == "started"


@pytest.mark.slow
async def test_a_bot_that_keeps_failing_expires_too(make_supervised: MakeSupervised) -> None:
    """It waits for its next run by then, for seconds."""
    by_hand = await make_supervised(crash_limit=1000, retention_hours=48)
    await by_hand.start(code="raise SystemExit(3)", deployment_mode="simple")

    async def waits() -> bool:
        found = await by_hand.inspect()
        return bool(found["State"]["Restarting"] and found["RestartCount"] >= 5)

    await until(waits, 60, "the bot waits for its next run")
    await check_later(by_hand, hours=25)
    report = await by_hand.status()
    assert (report["status"], report["exit_code"]) == ("expired", 3)
    found = await by_hand.inspect()
    assert found["State"]["Status"] == "exited"
    assert found["HostConfig"]["RestartPolicy"]["Name"] == "no"


@pytest.mark.slow
async def test_the_deadline_of_a_restarted_bot_stays(make_supervised: MakeSupervised) -> None:
    by_hand = await make_supervised()
    started = await by_hand.start()
    await by_hand.task("stop_bot", **BOT)
    await by_hand.task("restart_bot", **BOT)
    await by_hand.docker("kill")
    await by_hand.supervisor.check()
    report = await by_hand.status()
    assert (report["status"], report["expires_at"]) == ("running", started.data["expires_at"])


@pytest.mark.slow
async def test_a_container_without_a_deadline_is_not_taken_for_an_old_one(by_hand: Supervised) -> None:
    """Labels can be wrong; nothing is ended for an age that is nonsense."""
    await by_hand.start()
    found = await by_hand.inspect()
    labels = {**found["Config"]["Labels"], "io.avtomatika.bot-runner.expires-at": "nonsense"}
    name = found["Name"].removeprefix("/")
    await containers.remove(by_hand.engine, found["Id"])
    config = {**found["Config"], "Labels": labels, "HostConfig": found["HostConfig"]}
    config["Cmd"] = ["sleep", "1000"]
    made = await containers.create(by_hand.engine, name, config)
    await containers.start(by_hand.engine, made)
    await by_hand.supervisor.check()
    assert (await by_hand.status())["status"] == "running"
    assert by_hand.kinds() == []
