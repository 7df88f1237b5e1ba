"""What the worker adds to the SDK: outages are outlasted, tasks are finished or handed back."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import web
from rxon.exceptions import RxonError, RxonNetworkError
from rxon.models import (
    Resources,
    SecurityContext,
    TaskResult,
    WorkerCapabilities,
    WorkerEventPayload,
    WorkerRegistration,
)
from rxon.security import sign_payload, verify_signature

from bot_runner_worker.diagnostics.results import State
from bot_runner_worker.tasks.outcome import Ending, Outcome
from bot_runner_worker.testing.waiting import until
from bot_runner_worker.worker import resilient_worker
from bot_runner_worker.worker import transport as transports
from bot_runner_worker.worker.resilient_worker import RunningTasks
from bot_runner_worker.worker.transport import EventOutbox, OrchestratorTransport

TOKEN = "test-worker-token"
RESULT = TaskResult(job_id="job", task_id="task", worker_id="w", status="success", timestamp=1)


def event(name: str) -> WorkerEventPayload:
    return WorkerEventPayload(
        event_id=name, worker_id="w", origin_worker_id="w", event_type=name, payload={}, timestamp=1
    )


class Orchestrator:
    """Stands for one that answers as the test wants it to, and keeps what it accepts."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any]] = []
        self.accepted: list[dict[str, Any]] = []
        self.asked = 0
        self.tokens: set[str | None] = set()
        self.url = ""

    async def serve(self, request: web.Request) -> web.Response:
        self.asked += 1
        self.tokens.add(request.headers.get("X-Worker-Token"))
        status, body = self.answers.pop(0) if self.answers else (200, {"status": "accepted"})
        if status == 0:
            assert request.transport is not None
            request.transport.abort()
        if status == 200 and request.can_read_body:
            self.accepted.append(await request.json())
        return web.json_response(body, status=status or 200)


@pytest.fixture
async def orchestrator() -> AsyncIterator[Orchestrator]:
    orchestrator = Orchestrator()
    server = web.ServerRunner(web.Server(orchestrator.serve))
    await server.setup()
    await web.TCPSite(server, "127.0.0.1", 0).start()
    orchestrator.url = f"http://127.0.0.1:{server.addresses[0][1]}"
    yield orchestrator
    await server.cleanup()


@pytest.fixture
async def transport(
    orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[OrchestratorTransport]:
    monkeypatch.setattr(transports, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(transports, "LONGEST_PAUSE", 0.01)

    def sign(message: Any, unsigned: list[str]) -> SecurityContext:
        return SecurityContext(signature=sign_payload(message, TOKEN, ignore_fields=unsigned), signer_id="w")

    transport = OrchestratorTransport(sign=sign, base_url=orchestrator.url, worker_id="w", token=TOKEN)
    await transport.connect()
    yield transport
    await transport.close()


AWAY = [(0, None), (503, {}), (500, {"error": "Redis is gone"}), (429, {"error": "slowly"})] * 20


async def test_a_result_outlasts_any_outage(
    transport: OrchestratorTransport, orchestrator: Orchestrator
) -> None:
    orchestrator.answers = [*AWAY]
    assert await transport.send_result(RESULT) is True
    assert [result["task_id"] for result in orchestrator.accepted] == ["task"]


async def test_what_was_held_back_carries_the_time_of_its_delivery(
    transport: OrchestratorTransport, orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The orchestrator refuses what is older than 60 s, and what was changed after it was signed."""
    now = [1000.0]

    def clock() -> float:
        now[0] += 100
        return now[0]

    monkeypatch.setattr(transports, "time", clock)
    orchestrator.answers = [(503, {})]
    await transport.send_result(RESULT)
    await transport.deliver(event("bot_started"))
    for message in orchestrator.accepted:
        assert message["timestamp"] > 1100  # not that of the first try, let alone the message's own
        assert verify_signature(
            message, message["security"]["signature"], TOKEN, ignore_fields=["bubbling_chain"]
        )
    assert len(orchestrator.accepted) == 2


async def test_a_result_that_nobody_waits_for_is_let_go(
    transport: OrchestratorTransport, orchestrator: Orchestrator
) -> None:
    orchestrator.answers = [(200, {"status": "ignored", "reason": "stale"})]
    assert await transport.send_result(RESULT) is False


async def test_a_result_that_is_refused_again_and_again_is_given_up(
    transport: OrchestratorTransport, orchestrator: Orchestrator
) -> None:
    orchestrator.answers = [(403, {"error": "Message timestamp expired"})] * 100
    with pytest.raises(RxonError):
        await transport.send_result(RESULT)
    assert orchestrator.asked == transports.REFUSALS


async def test_an_event_that_got_there_without_an_answer_is_not_told_twice(
    transport: OrchestratorTransport, orchestrator: Orchestrator
) -> None:
    orchestrator.answers = [(0, None), (403, {"error": "Duplicate message detected (replay attack)"})]
    await transport.deliver(event("bot_started"))
    assert orchestrator.asked == 2


async def test_a_server_that_fails_counts_as_one_that_is_away(
    transport: OrchestratorTransport, orchestrator: Orchestrator
) -> None:
    """The SDK backs off from what is away only; everything else it asks again 20 times a second."""
    orchestrator.answers = [(500, {"error": "Redis is gone"})]
    with pytest.raises(RxonNetworkError):
        await transport.poll_task(timeout=1)


async def test_it_stays_with_its_own_token(
    transport: OrchestratorTransport, orchestrator: Orchestrator
) -> None:
    """A token that the orchestrator issued would be worth nothing to one that has forgotten it."""
    issued = {"access_token": "x", "refresh_token": "y", "expires_in": 60, "worker_id": "w"}
    orchestrator.answers = [(401, {}), (200, issued), (200, issued)]
    with suppress(RxonError):
        await transport.poll_task(timeout=1)
    await transport.deliver(event("bot_started"))
    assert orchestrator.tokens == {TOKEN}


async def test_the_check_tells_whether_it_was_reached_recently(
    transport: OrchestratorTransport, orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert transport.check().state is State.FAILED
    await transport.deliver(event("bot_started"))
    assert transport.check().state is State.OK
    assert not transport.failing
    orchestrator.answers = [(503, {})]
    with pytest.raises(RxonNetworkError):
        await transport.poll_task(timeout=1)
    assert transport.failing
    assert transport.check().state is State.OK
    monkeypatch.setattr(transports, "RECENTLY", -1.0)
    assert transport.check().state is State.FAILED
    assert "it answers with status 503" in transport.check().finding


def registration(engine: str) -> WorkerRegistration:
    capabilities = WorkerCapabilities("host", "ip", {}, extra={transports.ENGINE: engine})
    return WorkerRegistration(
        worker_id="w",
        worker_type="t",
        supported_skills=[],
        resources=Resources(),
        installed_software={},
        installed_artifacts=[],
        capabilities=capabilities,
    )


async def test_a_registration_that_is_refused_is_told_as_the_orchestrator_says_it(
    orchestrator: Orchestrator, transport: OrchestratorTransport
) -> None:
    orchestrator.answers = [(409, {"error": "These bots run on another Engine. End that worker."})]
    with pytest.raises(RxonError, match=r"^These bots run on another Engine\. End that worker\.$"):
        await transport.register(registration("AAAA"))
    assert transport.registered_engine == ""

    # Other answers, such as those to polls, do not change it.
    await transport._request("GET", "/")
    check = transport.check()
    assert check.state is State.FAILED
    assert "it refuses this worker: These bots run on another Engine" in check.finding

    await transport.register(registration("AAAA"))
    assert transport.check().state is State.OK
    assert transport.registered_engine == "AAAA"


class Delivery:
    """Delivers events when it is told to."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.delivered: list[str] = []
        self.refuses: set[str] = set()

    async def __call__(self, message: WorkerEventPayload) -> None:
        await self.open.wait()
        if message.event_type in self.refuses:
            raise RxonError("refused")
        self.delivered.append(message.event_type)


async def deliver(outbox: EventOutbox) -> None:
    task = asyncio.create_task(outbox.run())
    async with asyncio.timeout(10):
        await outbox.delivered()
    task.cancel()


async def test_events_arrive_in_order_after_the_outage_and_nobody_waits_for_them() -> None:
    delivery = Delivery()
    outbox = EventOutbox(delivery)
    for number in range(50):
        outbox.put(event(str(number)))
    assert len(outbox) == 50
    delivery.refuses = {"7"}
    delivery.open.set()
    await deliver(outbox)
    assert delivery.delivered == [str(number) for number in range(50) if number != 7]
    assert len(outbox) == 0


async def test_of_too_many_events_the_oldest_are_lost(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(transports, "CAPACITY", 3)
    delivery = Delivery()
    outbox = EventOutbox(delivery)
    for number in range(6):
        outbox.put(event(str(number)))
    delivery.open.set()
    await deliver(outbox)
    assert delivery.delivered == ["3", "4", "5"]
    assert outbox.dropped == 3
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


DONE = Outcome(Ending.SUCCESS, {"status": "started"})


async def test_a_task_that_is_cut_short_cleans_up_and_is_handed_back() -> None:
    cleaned: list[str] = []
    tasks = RunningTasks()

    async def work() -> Outcome:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.05)  # as an Engine takes to remove a container
            cleaned.append("container")
        return DONE

    handed = asyncio.create_task(tasks.run(work()))
    await until(lambda: len(tasks) == 1)
    await tasks.hand_back()
    assert cleaned == ["container"]
    outcome = await handed
    assert outcome.ending is Ending.FAILURE
    assert outcome.error is not None
    assert outcome.error["code"] == "WORKER_STOPPING"


async def test_a_task_that_comes_too_late_is_handed_back_untouched() -> None:
    tasks = RunningTasks()
    await tasks.hand_back()
    begun: list[str] = []

    async def work() -> Outcome:
        begun.append("it")
        return DONE

    assert (await tasks.run(work())).ending is Ending.FAILURE
    assert begun == []


async def test_a_task_that_the_orchestrator_cancels_is_over() -> None:
    tasks = RunningTasks()
    cancelled = asyncio.create_task(tasks.run(_forever()))
    await until(lambda: len(tasks) == 1)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert len(tasks) == 0


async def test_a_cancelled_task_that_fails_as_it_tidies_up_leaves_no_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tasks = RunningTasks()

    async def work() -> Outcome:
        try:
            await asyncio.sleep(3600)
        finally:
            raise ValueError
        return DONE

    cancelled = asyncio.create_task(tasks.run(work()))
    await until(lambda: len(tasks) == 1)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    assert cancelled.cancelled()
    del cancelled
    gc.collect()  # asyncio would say now that nobody has asked for the error
    assert caplog.messages == []


async def test_a_task_that_is_cancelled_again_and_again_tidies_up_once() -> None:
    """The orchestrator repeats a cancellation until the task is gone."""
    tidied: list[str] = []
    tasks = RunningTasks()

    async def work() -> Outcome:
        try:
            await asyncio.sleep(3600)
        finally:
            for step in ("container", "network", "image"):
                await asyncio.sleep(0.02)
                tidied.append(step)
        return DONE

    cancelled = asyncio.create_task(tasks.run(work()))
    await until(lambda: len(tasks) == 1)
    while not cancelled.done():
        cancelled.cancel()
        await asyncio.sleep(0.005)
    assert cancelled.cancelled()
    assert tidied == ["container", "network", "image"]


async def test_a_task_that_will_not_end_does_not_keep_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resilient_worker, "CLEAN_UP_SECONDS", 0.05)
    tasks = RunningTasks()
    released = asyncio.Event()

    async def stubborn() -> Outcome:
        while not released.is_set():
            with suppress(asyncio.CancelledError):
                await released.wait()
        return DONE

    task = asyncio.create_task(tasks.run(stubborn()))
    await until(lambda: len(tasks) == 1)
    try:
        async with asyncio.timeout(10):
            await tasks.hand_back()
    finally:
        released.set()
        await task


async def _forever() -> Outcome:
    await asyncio.sleep(3600)
    return DONE
