"""Deaths are announced once."""

from dataclasses import replace
from datetime import UTC, datetime

from bot_runner_worker.events import BotEvent, EventType
from bot_runner_worker.identity import BotKey
from bot_runner_worker.results import BotStatus
from bot_runner_worker.runtime.spec import BotRecord
from bot_runner_worker.supervision.deaths import DeathWatch
from bot_runner_worker.tasks.announcements import Announcer

NOW = datetime.now(UTC)
FIXED = dict.fromkeys(("name", "mode", "source", "image", "request_digest", "spec_digest"), "x")
BOT = BotRecord(BotKey("user", "bot"), BotStatus.RUNNING, "id", started_at=NOW, expires_at=NOW, **FIXED)


class Heard:
    def __init__(self) -> None:
        self.events: list[BotEvent] = []

    async def listen(self, event: BotEvent) -> None:
        self.events.append(event)


async def test_a_death_is_announced_once() -> None:
    heard = Heard()
    watch = DeathWatch(Announcer([heard.listen]))
    crashed = replace(BOT, status=BotStatus.CRASHED, exit_code=3, oom_killed=True, reason="out of memory")
    for record in (BOT, replace(BOT, status=BotStatus.RESTARTING), crashed, crashed):
        await watch.look([record])
    (event,) = heard.events
    assert (event.type, event.bot) == (EventType.CRASHED, BOT.bot)
    assert event.details == {
        "exit_code": 3,
        "oom_killed": True,
        "restart_count": 0,
        "reason": "out of memory",
    }


async def test_what_was_dead_before_is_no_news_and_a_stop_is_no_death() -> None:
    heard = Heard()
    watch = DeathWatch(Announcer([heard.listen]))
    await watch.look([replace(BOT, status=BotStatus.EXITED)])
    await watch.look([replace(BOT, id="other"), replace(BOT, status=BotStatus.EXITED)])
    await watch.look([replace(BOT, id="other", status=BotStatus.STOPPED)])
    assert heard.events == []
