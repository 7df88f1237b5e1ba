"""Tenants: the limit holds under any load, and no tenant reaches another's bots."""

import asyncio
from collections import Counter

import pytest
from tests.conftest import MakeRunner, RunnerUnderTest
from tests.core.examples import BOT, answer, status


@pytest.mark.engine
async def test_50_starts_at_once_with_a_limit_of_3(runner: RunnerUnderTest) -> None:
    outcomes = await asyncio.gather(*(runner.start(bot_id=f"bot-{number}") for number in range(50)))
    assert Counter(map(answer, outcomes)) == {"started": 3, "QUOTA_EXCEEDED": 47}
    listed = (await runner.task("list_bots", user_id="alice")).data
    assert [each["status"] for each in listed["bots"]] == ["running"] * 3
    assert len(await runner.containers()) == 3


@pytest.mark.slow
async def test_a_place_is_free_again_after_a_stop_and_after_a_failure(make_runner: MakeRunner) -> None:
    runner = await make_runner(max_bots_per_user=1)
    await runner.start(bot_id="one")
    refused = await runner.start(bot_id="two")
    assert refused.data["error"]["code"] == "QUOTA_EXCEEDED"
    assert "one" in refused.data["error"]["hint"]
    # Replacing and repeating the bot that runs needs no further place.
    assert (await runner.start(bot_id="one", env_vars={"A": "1"}, replace=True)).ending == "success"
    await runner.task("stop_bot", user_id="alice", bot_id="one")
    bad = await runner.start(
        bot_id="bad", deployment_mode="simple", code="x", requirements=["no-such-name-zz9"]
    )
    assert bad.data["error"]["code"] == "BUILD_FAILED"
    assert (await runner.start(bot_id="two")).data["status"] == "started"
    # A stopped bot that comes back needs a place as well.
    refused = await runner.task("restart_bot", user_id="alice", bot_id="one")
    assert refused.data["error"]["code"] == "QUOTA_EXCEEDED"


@pytest.mark.slow
async def test_a_place_is_free_as_soon_as_the_stop_is_answered(make_runner: MakeRunner) -> None:
    """Engine 26.1 goes on listing a bot as running for a moment, the longer the more it has to do."""
    runner = await make_runner(max_bots_per_user=1)

    async def life(user: str) -> None:
        for number in range(3):
            started = await runner.start(user_id=user, bot_id=f"bot-{number}")
            assert answer(started) == "started"
            await runner.task("stop_bot", user_id=user, bot_id=f"bot-{number}")
            listed = await runner.task("list_bots", user_id=user)
            assert {each["status"] for each in listed.data["bots"]} == {"stopped"}

    await asyncio.gather(*(life(f"user-{number}") for number in range(8)))


@pytest.mark.engine
async def test_users_with_similar_ids_do_not_reach_each_others_bots(runner: RunnerUnderTest) -> None:
    users = ("a.b", "ab", "A.B", "a b")
    started = [
        await runner.start(
            user_id=user, code=f"# {user}\nimport time; time.sleep(99)", deployment_mode="simple"
        )
        for user in users
    ]
    assert len({each.data["container_id"] for each in started}) == len(users)
    for user, each in zip(users, started, strict=True):
        listed = (await runner.task("list_bots", user_id=user)).data
        assert [row["container_id"] for row in listed["bots"]] == [each.data["container_id"]]
    await runner.task("stop_bot", user_id="ab", bot_id="bot")
    statuses = [await status(runner, user_id=user) for user in users]
    assert [each["status"] for each in statuses] == ["running", "stopped", "running", "running"]


@pytest.mark.engine
async def test_two_namespaces_do_not_see_each_other(make_runner: MakeRunner) -> None:
    one, other = await make_runner(), await make_runner()
    first, second = await one.start(), await other.start()
    assert first.data["container_name"] != second.data["container_name"]
    await other.task("stop_bot", **BOT)
    assert (await status(one))["status"] == "running"
    assert await other.runner.runtime.remove_all() == 1
    assert (await status(one))["status"] == "running"
