"""A bot that floods its log is stopped and told why; bursts and talkative bots are left alone."""

import asyncio

import pytest
from tests.conftest import MakeRunner
from tests.core.bots.watched import nobody, watched
from tests.core.examples import logs_with, status

from bot_runner_worker.bots import limits_watch

FLOOD_OF_LINES = """
while True:
    print('again and again')
"""

# The Engine gives all pieces of one line the time of the first, when there was no flood yet.
FLOOD_WITHOUT_LINES = """
import sys, time
sys.stdout.write('a line without end ' * 4096)
sys.stdout.flush()
time.sleep(2)
while True:
    sys.stdout.write('again and again ' * 4096)
"""

BURSTS = """
import time
print('burst ' * 500_000, flush=True)
for _ in range(20_000):
    print('a line of a burst')
while True:
    for _ in range(30):
        print('a line of a traceback')
    print('done', flush=True)
    time.sleep(1)
"""

TALKATIVE = """
import time
while True:
    print('a line with an update of some length ' * 3, flush=True)
    time.sleep(0.01)
"""


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(FLOOD_OF_LINES, marks=pytest.mark.engine),
        pytest.param(FLOOD_WITHOUT_LINES, marks=pytest.mark.slow),
    ],
    ids=["lines", "no lines"],
)
async def test_a_bot_that_floods_its_log_is_stopped_beside_others(
    make_runner: MakeRunner, often: None, code: str
) -> None:
    # A busy machine leaves a flooder less than the default.
    runner = await make_runner(container_limits_watch_limit="200k")
    await runner.start(bot_id="bursts", code=BURSTS)
    await runner.start(bot_id="talkative", code=TALKATIVE)
    # Looked at this often, the large burst at the start could be found four times before it is over.
    await logs_with(runner, "done", bot_id="bursts")
    async with watched(runner) as found:
        await runner.start(bot_id="flood", code=code)
        assert await found.end() == ("flood", "bot_stopped", "log_flood")
        report = await status(runner, bot_id="flood")
        assert report["status"] == "stopped"
        assert "printed more" in report["reason"]
        assert "CONTAINER_LOG_RATE_LIMIT" in report["hint"]
        for bot_id in ("bursts", "talkative"):
            other = await status(runner, bot_id=bot_id)
            assert (other["status"], other["restart_count"]) == ("running", 0)


@pytest.mark.slow
async def test_bursts_and_steady_talk_never_add_up_to_a_flood(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As often as can be, and each bot is followed each time.
    monkeypatch.setattr(limits_watch, "LOG_INTERVAL", 0.0)
    monkeypatch.setattr(limits_watch, "LOG_SHARE", 1e9)
    monkeypatch.setattr(limits_watch.LogWatch, "_is_dense", lambda *_: True)
    runner = await make_runner(container_limits_watch_limit="100k")
    for bot_id, code in (("bursts", BURSTS), ("talkative", TALKATIVE)):
        await runner.start(bot_id=bot_id, code=code)
    watch = limits_watch.LogWatch(runner.engine, runner.settings)
    for _ in range(2 * limits_watch.STRIKES):
        await watch.look(nobody)


@pytest.mark.slow
async def test_quiet_bots_are_not_followed(make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = await make_runner()
    await runner.start()
    await logs_with(runner, "ready")
    monkeypatch.setattr(limits_watch, "LOG_INTERVAL", 0.0)
    followed: list[str] = []

    async def follow(self: object, bot: object, container: str, *_: object) -> None:
        followed.append(container)

    monkeypatch.setattr(limits_watch.LogWatch, "_follow", follow)
    watch = limits_watch.LogWatch(runner.engine, runner.settings)
    for _ in range(5):
        await watch.look(nobody)
        await asyncio.sleep(0.1)
    assert len(followed) <= 1
