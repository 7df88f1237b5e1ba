"""The loop lives on the Engine's events, and survives their loss."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from time import time

import pytest
from tests.conftest import ENGINE, RunnerUnderTest
from tests.core.bots.conftest import MakeSupervised

from bot_runner_worker.bots import supervisor as loop
from bot_runner_worker.engine import Engine, containers, events
from bot_runner_worker.model.errors import Unavailable
from bot_runner_worker.model.identity import NAMESPACE
from bot_runner_worker.testing.waiting import until


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


@pytest.mark.slow
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


@pytest.mark.slow
async def test_leaving_the_stream_closes_its_connection(wire: Wire) -> None:
    """More than the client has connections: one that stayed open would block it."""
    async with Engine(wire.address) as engine:
        for number in range(120):
            stream = events.container_events(engine, {"no": "such"}, time())
            waiting = asyncio.create_task(anext(stream))
            await until(lambda number=number: wire.subscriptions > number, 30, "a subscription")
            waiting.cancel()
            await asyncio.wait([waiting])
        assert (await engine.version())["Version"]
        await until(lambda: len(wire._ends) < 20, 30, lambda: f"{len(wire._ends)} connections are open")


@pytest.mark.slow
async def test_an_engine_that_goes_away_ends_the_stream(wire: Wire) -> None:
    async with Engine(wire.address) as engine:
        stream = events.container_events(engine, {"no": "such"}, time())
        waiting = asyncio.create_task(anext(stream))
        await until(lambda: wire.subscriptions == 1, 30, "a subscription")
        await wire.cut()
        # Cut in the middle of the answer, it is an error; before it, there was none.
        with pytest.raises((Unavailable, StopAsyncIteration)):
            await asyncio.wait_for(waiting, 20)


@pytest.mark.engine
async def test_what_happens_is_noticed_by_its_event(make_supervised: MakeSupervised) -> None:
    supervised = await make_supervised()
    supervised.begin()
    await supervised.start(code="import time; time.sleep(1)", deployment_mode="simple")
    await supervised.event("bot_exited")


@pytest.mark.slow
async def test_what_happened_while_the_engine_was_out_of_reach_is_noticed_afterwards(
    make_supervised: MakeSupervised, wire: Wire
) -> None:
    supervised = await make_supervised(docker_host=wire.address)
    aside = await make_supervised(runner_namespace=supervised.runner.settings.runner_namespace)
    supervised.begin()
    ends = await supervised.start(bot_id="ends")
    removed = await supervised.start(bot_id="removed")
    paused = await supervised.start(bot_id="paused")
    await until(lambda: len(supervised.supervisor.last_seen) == 3, 30, "the bots are seen")
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
    await supervised.state(bot_id="paused")
    await until(lambda: wire.subscriptions >= 2, 30, "the events are subscribed to again")
    # And what happens from now on is noticed as well.
    await supervised.docker("pause", "paused")
    await supervised.state(bot_id="paused")


@pytest.mark.slow
async def test_an_engine_that_ends_is_not_asked_to_start_what_it_has_just_ended(
    make_supervised: MakeSupervised, wire: Wire
) -> None:
    supervised = await make_supervised(docker_host=wire.address)
    aside = await make_supervised(runner_namespace=supervised.runner.settings.runner_namespace)
    started = await supervised.start()
    container = started.data["container_id"]
    supervised.begin()
    await until(lambda: len(supervised.supervisor.last_seen) == 1, 30, "the bot is seen")
    wire.close()
    await aside.engine.json("POST", f"containers/{container}/stop", params={"t": 0})

    async def look() -> None:
        await supervised.supervisor.look()

    for _ in range(3):
        with pytest.raises(Unavailable):
            await until(look)
    assert (await aside.inspect())["State"]["Status"] == "exited"
    await wire.mend()
    await aside.state()


@pytest.mark.slow
async def test_a_stream_that_falls_silent_is_opened_again(
    make_supervised: MakeSupervised, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "SILENCE_SECONDS", 0.3)
    supervised = await make_supervised(docker_host=wire.address)
    supervised.begin()
    await until(lambda: wire.subscriptions >= 3, 30, "it is opened again")
    await supervised.start(code="print('bye')", deployment_mode="simple")
    await supervised.event("bot_exited")
