"""A listener that fails harms nobody."""

from datetime import UTC, datetime

from bot_runner_worker.bots.announcements import Announcer
from bot_runner_worker.model.events import BotEvent, EventType
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.model.results import BotStatus
from bot_runner_worker.model.spec import BotRecord
from bot_runner_worker.settings import Settings
from bot_runner_worker.testing.memory_runner import MemoryRuntime

NOW = datetime.now(UTC)
FIXED = dict.fromkeys(("name", "mode", "source", "image", "request_digest", "spec_digest"), "x")
BOT = BotRecord(BotKey("user", "bot"), BotStatus.RUNNING, "id", started_at=NOW, expires_at=NOW, **FIXED)


class Heard:
    def __init__(self) -> None:
        self.events: list[BotEvent] = []

    async def listen(self, event: BotEvent) -> None:
        self.events.append(event)


async def test_a_listener_that_fails_harms_no_other() -> None:
    async def fails(event: BotEvent) -> None:
        raise RuntimeError

    heard = Heard()
    announcer = Announcer(MemoryRuntime(Settings.load(worker_token="x")), [fails])
    announcer.listen(heard.listen)
    await announcer.tell(EventType.STOPPED, BOT)
    assert [event.type for event in heard.events] == [EventType.STOPPED]
