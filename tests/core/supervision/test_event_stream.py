"""The loop lives on the Engine's events, and survives their loss."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from time import time

import pytest
from tests.conftest import ENGINE, RunnerUnderTest
from tests.core.supervision.conftest import MakeSupervised, until

from bot_runner_worker.engine import Engine, containers, events
from bot_runner_worker.errors import Unavailable
from bot_runner_worker.identity import NAMESPACE
from bot_runner_worker.supervision import supervisor as loop

pytestmark = pytest.mark.engine

BOT = {"user_id": "alice", "bot_id": "bot"}


class Wire:
    """A socket that leads to the Engine, until it is cut.

    Args:
        path: Where the socket is made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.address = f"unix://{path}"
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self.subscriptions = 0

    async def mend(self) -> None:
        """Let connections through."""
        self._server = await asyncio.start_unix_server(self._connect, self._path)

    def close(self) -> None:
        """Refuse new connections, as an Engine does that ends, and serve those that there are."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def cut(self) -> None:
        """Break all connections, and refuse new ones."""
        self.close()
        for end in list(self._ends):
            end.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_unix_connection(ENGINE.removeprefix("unix://"))
        self._ends |= {writer, there[1]}
        try:
            await asyncio.gather(self._pass_on(reader, there[1]), self._pass_on(there[0], writer))
        finally:
            self._ends -= {writer, there[1]}

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # However one side ends (a reset is no end of file), the other one hears of it.
        with contextlib.suppress(OSError), contextlib.closing(writer):
            while data := await reader.read(65536):
                self.subscriptions += data.count(b"/events?")
                writer.write(data)
                await writer.drain()


@pytest.fixture
async def wire(tmp_path: Path) -> AsyncIterator[Wire]:
    """A wire to the Engine that works."""
    made = Wire(tmp_path / "engine.sock")
    await made.mend()
    yield made
    await made.cut()
    await made.mend()  # for what the fixtures remove
    await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def no_looks_without_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is noticed here was noticed because of an event, or because events were lost."""
    monkeypatch.setattr(loop, "INTERVAL", 3600.0)


async def test_events_are_told_from_the_past_and_as_they_happen(runner: RunnerUnderTest) -> None:
    begun = time()
    started = await runner.start()
    labels = {NAMESPACE: runner.settings.runner_namespace}
    seen: list[tuple[str, int]] = []
    async with aclosing(events.container_events(runner.engine, labels, begun - 1)) as stream:
        async for event in stream:
            # The first start tries out with another container what the Engine can do.
            if event.container != started.data["container_id"]:
                continue
            assert begun - 1 < event.at < time() + 1
            seen.append((event.action, event.exit_code))
            if event.action == "start":
                await containers.stop(runner.engine, event.container, 0)
            if event.action == "die":
                break
    assert [action for action, _ in seen if action in ("create", "start", "die")] == [
        "create",
        "start",
        "die",
    ]
    assert seen[-1] in (("die", 137), ("die", 143))


async def test_leaving_the_stream_closes_its_connection(
    runner: RunnerUnderTest, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than the client has connections: one that stayed open would block it."""
    monkeypatch.setattr(events, "SILENCE_SECONDS", 0.01)
    async with Engine(wire.address) as engine:
        for _ in range(120):
            async with aclosing(events.container_events(engine, {"no": "such"}, time())) as stream:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(anext(stream), 0.02)
        assert (await engine.version())["Version"]
        assert wire.subscriptions >= 120

        async def closed() -> bool:
            return len(wire._ends) < 20

        await until(closed, lambda: f"{len(wire._ends)} connections are open")


async def test_an_engine_that_goes_away_ends_the_stream(wire: Wire) -> None:
    async with Engine(wire.address) as engine:
        stream = events.container_events(engine, {"no": "such"}, time())
        waiting = asyncio.create_task(anext(stream))

        async def subscribed() -> bool:
            return wire.subscriptions == 1

        await until(subscribed, lambda: "no subscription")
        await wire.cut()
        # Cut in the middle of the answer, it is an error; before it, there was none.
        with pytest.raises((Unavailable, StopAsyncIteration)):
            await asyncio.wait_for(waiting, 20)


async def test_what_happens_is_noticed_by_its_event(make_supervised: MakeSupervised) -> None:
    supervised = await make_supervised()
    supervised.begin()
    await supervised.start(code="import time; time.sleep(1)", deployment_mode="simple")
    await supervised.event("bot_exited")


async def test_what_happened_while_the_engine_was_out_of_reach_is_noticed_afterwards(
    make_supervised: MakeSupervised, wire: Wire
) -> None:
    supervised = await make_supervised(docker_host=wire.address)
    aside = await make_supervised(runner_namespace=supervised.runner.settings.runner_namespace)
    supervised.begin()
    ends = await supervised.start(bot_id="ends")
    removed = await supervised.start(bot_id="removed")
    paused = await supervised.start(bot_id="paused")

    async def all_seen() -> bool:
        return len(supervised.supervisor.last_seen) == 3

    await until(all_seen, lambda: "the bots were not seen")
    await wire.cut()
    assert (await supervised.start(bot_id="more")).ending == "failure"
    for _ in range(5):
        await aside.engine.json(
            "POST", f"containers/{ends.data['container_id']}/kill", params={"signal": "HUP"}
        )
    await containers.remove(aside.engine, removed.data["container_id"])
    await aside.engine.json("POST", f"containers/{paused.data['container_id']}/pause")
    await wire.mend()
    event = await supervised.event("bot_removed")
    assert event.bot.bot_id == "removed"

    async def goes_on() -> bool:
        return bool((await supervised.inspect("paused"))["State"]["Status"] == "running")

    await until(goes_on, lambda: "the bot stays paused")
    # And what happens from now on is noticed as well.
    before = wire.subscriptions
    await supervised.docker("pause", "paused")
    await until(goes_on, lambda: "the bot stays paused")
    assert before >= 2


async def test_an_engine_that_ends_is_not_asked_to_start_what_it_has_just_ended(
    make_supervised: MakeSupervised, wire: Wire
) -> None:
    supervised = await make_supervised(docker_host=wire.address)
    aside = await make_supervised(runner_namespace=supervised.runner.settings.runner_namespace)
    started = await supervised.start()
    container = started.data["container_id"]
    supervised.begin()

    async def seen() -> bool:
        return len(supervised.supervisor.last_seen) == 1

    await until(seen, lambda: "the bot was not seen")
    wire.close()
    await aside.engine.json("POST", f"containers/{container}/stop", params={"t": 0})
    for _ in range(3):
        with pytest.raises(Unavailable):
            while True:
                await supervised.supervisor.look()
                await asyncio.sleep(0.1)
    assert (await aside.inspect())["State"]["Status"] == "exited"
    await wire.mend()

    async def runs() -> bool:
        return bool((await aside.inspect())["State"]["Status"] == "running")

    await until(runs, lambda: "the bot does not come back")


async def test_a_stream_that_falls_silent_is_opened_again(
    make_supervised: MakeSupervised, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "SILENCE_SECONDS", 0.3)
    supervised = await make_supervised(docker_host=wire.address)
    supervised.begin()

    async def several() -> bool:
        return wire.subscriptions >= 3

    await until(several, lambda: "it was not opened again")
    await supervised.start(code="print('bye')", deployment_mode="simple")
    await supervised.event("bot_exited")


async def test_one_worker_looks_after_the_bots_and_another_takes_over(
    make_supervised: MakeSupervised,
) -> None:
    first = await make_supervised()
    second = await make_supervised(runner_namespace=first.runner.settings.runner_namespace)
    await first.start(code="import time; time.sleep(1)", deployment_mode="simple", bot_id="one")
    first.begin()

    async def leads() -> bool:
        return first.supervisor.last_pass is not None

    await until(leads, lambda: "the first does not look")
    second.begin()
    await first.event("bot_exited")
    assert second.kinds() == []
    assert list(second.supervisor.last_seen) == []
    await first.end()
    await first.runner.coordination.close()
    await second.start(code="import time; time.sleep(1) # 2", deployment_mode="simple", bot_id="two")
    await second.supervisor.look()
    await second.event("bot_exited")
    assert first.kinds() == second.kinds() == ["bot_exited"]
