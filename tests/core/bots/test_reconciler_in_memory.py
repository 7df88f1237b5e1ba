"""Which actions a reconciler takes, in which order, and what it announces of them."""

from datetime import datetime

from tests.core.bots.test_policy import BOT, NOW, SETTINGS, container

from bot_runner_worker.bots.admission import Admission
from bot_runner_worker.bots.announcements import Announcer
from bot_runner_worker.bots.container_state import ContainerState, EngineRun, Snapshot
from bot_runner_worker.bots.exit_history import ExitHistory
from bot_runner_worker.bots.protocol import Action
from bot_runner_worker.bots.reconciler import Reconciler
from bot_runner_worker.model.events import BotEvent
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.model.spec import BotRecord, EndReason
from bot_runner_worker.testing.memory_runner import MemoryRuntime

ENDED = container("exited", end_reason=EndReason.EXPIRED)


class Story(MemoryRuntime):
    """What a bot's containers are at each inspection, and what is done about them."""

    def __init__(self, *states: tuple[ContainerState, ...]) -> None:
        super().__init__(SETTINGS)
        self.states = list(states)
        self.done: list[str] = []
        self.announced: list[BotEvent] = []
        exits, announcer = ExitHistory(600, 30), Announcer(self, [self._listen])
        self.reconciler = Reconciler(SETTINGS, self, Admission(self, 3), announcer, exits)  # type: ignore[arg-type]

    async def _listen(self, event: BotEvent) -> None:
        self.announced.append(event)

    async def inspect(self, bot: BotKey, *, size: bool = False) -> tuple[ContainerState, ...]:
        return self.states.pop(0)

    async def act(self, action: Action, bot: BotKey, found: tuple[ContainerState, ...]) -> None:
        self.done.append(action)

    async def end(self, record: BotRecord, reason: EndReason = EndReason.STOPPED) -> None:
        self.done.append(reason.name)

    async def reconcile(self) -> list[str]:
        """Reconcile until all is as it should be; returns the kinds of the events."""
        await self.reconciler.reconcile(BOT, EngineRun(), now)
        return [event.type.value for event in self.announced]


def now() -> datetime:
    return NOW


async def test_it_acts_until_nothing_is_to_be_done() -> None:
    stopped = container("exited", exit_code=137)
    story = Story((container(), container("created", id="2")), (stopped,), (container(),))
    assert await story.reconcile() == []
    assert story.done == [Action.SETTLE, Action.REVIVE, Action.RELEASE_NETWORKS]


async def test_an_end_is_announced_once_even_if_the_engine_starts_the_bot_again() -> None:
    due, again = container(expires_at=NOW), container("restarting", end_reason=EndReason.EXPIRED)
    story = Story((due,), (again,), (ENDED,))
    assert await story.reconcile() == ["bot_expired"]
    assert story.done == ["EXPIRED", "EXPIRED", Action.RELEASE_NETWORKS]


async def test_an_end_that_another_worker_noted_is_finished_and_announced() -> None:
    story = Story((container(end_reason=EndReason.EXPIRED),), (ENDED,))
    assert await story.reconcile() == ["bot_expired"]


async def test_a_bot_that_was_seen_and_is_gone_is_announced_once() -> None:
    story = Story((), ())
    story.reconciler.enqueue(Snapshot(containers={"id": container()}), set(), now)
    assert await story.reconcile() == ["bot_removed"]
    assert story.announced[0].details == {"reason": "removed_from_outside"}
    assert await story.reconcile() == ["bot_removed"]


async def test_a_bot_that_is_busy_is_left_alone_and_one_that_is_missing_is_reconciled() -> None:
    story = Story(())
    story.reconciler.enqueue(Snapshot(containers={"id": container()}), set(), now)
    story.reconciler.enqueue(Snapshot(), {BOT}, now)
    await story.reconciler.queue.wait()
    assert story.announced == []
    story.reconciler.enqueue(Snapshot(), set(), now)
    await story.reconciler.queue.wait()
    assert [event.type.value for event in story.announced] == ["bot_removed"]


async def test_after_a_failure_comes_a_pause() -> None:
    story = Story()  # whoever inspects it fails
    for _ in range(3):
        story.reconciler.begin(BOT, EngineRun(), now)
        await story.reconciler.queue.wait()
    assert 0 < story.reconciler.queue.seconds_to_next_try() <= 1.0
    story.reconciler.queue.keep(set())
    assert story.reconciler.queue.seconds_to_next_try() == float("inf")
