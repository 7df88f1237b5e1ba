"""Events of bots on their way to the operator's own server, which is a real one on this machine."""

import asyncio
import base64
import hmac
import json
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr
from tests.orchestrator.waiting import SCALE, until

from bot_runner_orchestrator.webhook import (
    EventSelection,
    EventWebhook,
    Signer,
    WebhookMessage,
    _seconds,
    message_of,
)

SECRET = "the receiver's secret"
CRASH = {
    "user_id": "alice",
    "bot_id": "echo",
    "mode": "simple",
    "at": "2026-01-02T03:04:05Z",
    "exit_code": 1,
    "reason": "crash_loop",
}

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def accept(request: web.Request) -> web.StreamResponse:
    return web.Response(status=204)


def statuses(*given: int) -> Answer:
    """Answers with each of these in turn, and then with 200."""
    left = list(given)

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=left.pop(0) if left else 200, headers={"Location": "/elsewhere"})

    return answer


class Receiver:
    """A server that notes what it gets, and answers as it is told."""

    def __init__(self) -> None:
        self.answer: Answer = accept
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.paths: list[str] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path_qs)
        self.got.append((dict(request.headers), await request.read()))
        return await self.answer(request)

    async def receives(self, count: int) -> list[dict[str, Any]]:
        """Wait for so many requests; returns their bodies."""
        await until(lambda: len(self.got) >= count, what=lambda: f"{len(self.got)} of {count} came")
        return [json.loads(body) for _, body in self.got]

    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook?key=SENTINEL-in-url"
    yield made
    await runner.cleanup()


@pytest.fixture
async def make_webhook(receiver: Receiver) -> AsyncIterator[Callable[..., EventWebhook]]:
    made: list[EventWebhook] = []

    def make(**options: Any) -> EventWebhook:
        options = {"retry_delays": (0.01, 0.01, 0.01), **options}
        made.append(EventWebhook(options.pop("url", receiver.url), Signer(SECRET), **options))
        return made[-1]

    yield make
    for webhook in made:
        await webhook.close(0)


def message(number: int = 1) -> WebhookMessage:
    return message_of("worker-1", f"event-{number}", "bot_crashed", CRASH, None)


async def logged(caplog: pytest.LogCaptureFixture, text: str) -> str:
    await until(lambda: text in caplog.text, what=lambda: f"{text!r} in {caplog.text!r}")
    return caplog.text


def signature(headers: dict[str, str], body: bytes, key: bytes) -> str:
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, sha256).digest()).decode()


# One message.


async def test_a_message_is_signed_over_its_id_its_time_and_its_body(receiver, make_webhook) -> None:
    make_webhook().offer(message())
    assert await receiver.receives(1) == [
        {
            "type": "bot_crashed",
            "timestamp": "2026-01-02T03:04:05Z",
            "data": {name: value for name, value in CRASH.items() if name != "at"}
            | {"worker_id": "worker-1"},
        }
    ]
    headers, body = receiver.got[0]
    assert headers["Content-Type"] == "application/json"
    assert headers["webhook-signature"] == signature(headers, body, SECRET.encode())


def test_a_secret_of_standard_webhooks_is_taken_out_of_its_base64() -> None:
    # The example of the specification's own libraries.
    given = WebhookMessage("msg_p5jXN8AQM9LWM0D4loKWxJek", "test", b'{"test": 2432232314}')
    signed = Signer("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").headers(given, 1614265330)
    assert signed["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_an_event_that_is_reported_twice_has_one_id() -> None:
    assert message().id == message().id
    others = message(2), message_of("worker-2", "event-1", "bot_crashed", CRASH, None)
    assert len({each.id for each in (message(), *others)}) == 3


def test_secrets_and_logs_stay_out_of_the_message() -> None:
    secrets = {key: {"A": ["SENTINEL"]} for key in ("logs", "last_lines", "env_vars", "bot_token")}
    assert b"SENTINEL" not in message_of("w", "e", "bot_crashed", CRASH | secrets, None).body


# Delivery.


@pytest.mark.parametrize("status", [500, 502, 503, 408, 429])
async def test_a_busy_receiver_gets_the_same_message_again(receiver, make_webhook, status: int) -> None:
    receiver.answer = statuses(status, status)
    make_webhook().offer(message())
    await receiver.receives(3)
    assert set(receiver.ids()) == {message().id}
    assert len({body for _, body in receiver.got}) == 1


async def test_a_receiver_that_does_not_answer_gets_it_again(receiver, make_webhook) -> None:
    async def hang_once(request: web.Request) -> web.StreamResponse:
        if len(receiver.got) == 1:
            await asyncio.sleep(3600)
        return web.Response()

    receiver.answer = hang_once
    make_webhook(time_limit_seconds=0.3).offer(message())
    await receiver.receives(2)


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 404, 410])
async def test_what_will_not_get_better_is_given_up_at_once(
    receiver, make_webhook, caplog, status: int
) -> None:
    receiver.answer = statuses(*[status] * 9)
    make_webhook().offer(message())
    text = await logged(caplog, f"given up after 1 attempt(s): status {status}")
    assert receiver.paths == ["/hook?key=SENTINEL-in-url"]
    assert message().id in text
    assert "SENTINEL" not in text


async def test_it_is_given_up_in_the_end(receiver, make_webhook, caplog) -> None:
    receiver.answer = statuses(*[500] * 9)
    make_webhook().offer(message())
    await logged(caplog, "given up after 4 attempt(s): status 500")
    assert len(receiver.got) == 4


async def test_a_receiver_that_is_away_is_given_up_in_the_end(make_webhook, caplog) -> None:
    make_webhook(url="http://127.0.0.1:1/").offer(message())
    await logged(caplog, "given up after 4 attempt(s): ClientConnectorError")


async def test_an_endless_answer_is_not_read(receiver, make_webhook) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(b"x" * 65536)

    receiver.answer = endless
    webhook = make_webhook(retry_delays=())
    webhook.offer(message())
    await receiver.receives(1)
    await webhook.close(30)
    assert len(receiver.got) == 1


async def test_a_message_that_fails_does_not_hold_up_the_others(receiver, make_webhook) -> None:
    async def refuse_the_first(request: web.Request) -> web.StreamResponse:
        first = request.headers["webhook-id"] == message(0).id
        return web.Response(status=500 if first else 200)

    receiver.answer = refuse_the_first
    webhook = make_webhook(retry_delays=(3600,))
    for number in range(20):
        webhook.offer(message(number))
    await receiver.receives(20)
    assert set(receiver.ids()) == {message(number).id for number in range(20)}


async def test_no_more_than_so_many_messages_wait(receiver, make_webhook, caplog) -> None:
    go_on = asyncio.Event()

    async def wait(request: web.Request) -> web.StreamResponse:
        await go_on.wait()
        return web.Response()

    receiver.answer = wait
    webhook = make_webhook(most_pending=5)
    for number in range(8):
        webhook.offer(message(number))
    assert "events are dropped until there is room" in caplog.text
    go_on.set()
    await receiver.receives(5)
    # There is room as soon as one of them has been answered.

    def taken() -> bool:
        webhook.offer(message(8))
        return "events were not sent" in caplog.text

    await until(taken)
    await receiver.receives(6)
    assert set(receiver.ids()) == {message(number).id for number in (0, 1, 2, 3, 4, 8)}


async def test_the_end_of_the_process_says_what_was_not_sent(receiver, make_webhook, caplog) -> None:
    receiver.answer = statuses(*[500] * 9)
    webhook = make_webhook(retry_delays=(3600,))
    webhook.offer(message())
    await receiver.receives(1)
    await webhook.close(0.1)
    assert "1 events were not sent to the webhook" in caplog.text


@pytest.mark.parametrize(
    ("header", "seconds"), [("", 0), ("7", 7), ("soon", 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("-1", 0)]
)
def test_the_receivers_own_wish_to_wait_is_read(header: str, seconds: float) -> None:
    assert _seconds(header) == seconds


# What is sent.


EVENTS = ("started", "crashed", "exited", "stopped", "expiring", "expired", "removed")


@pytest.mark.parametrize(
    ("chosen", "sent"),
    [
        (None, {"crashed", "exited", "expiring", "expired", "stopped by us"}),
        ("bot_started, bot_stopped", {"started", "stopped", "stopped by us"}),
        ("all", {*EVENTS, "stopped by us"}),
        ("bot_exited:reason", set()),
        ("", set()),
    ],
)
def test_the_operator_chooses_the_events(chosen: str | None, sent: set[str]) -> None:
    events = {name: (f"bot_{name}", {}) for name in EVENTS}
    events |= {"stopped by us": ("bot_stopped", {"reason": "disk_limit"}), "other": ("progress", {})}
    defaults = "bot_crashed,bot_exited,bot_expiring,bot_expired,bot_stopped:reason"
    selection = EventSelection.parse(defaults if chosen is None else chosen)
    assert {name for name, (kind, payload) in events.items() if selection.has(kind, payload)} == sent


def hook(receiver: Receiver, **more: Any) -> dict[str, Any]:
    secret = SecretStr(SECRET)
    return {"events_webhook_url": SecretStr(receiver.url), "events_webhook_secret": secret, **more}


async def test_crash_and_expiry_are_sent_and_all_events_kept(
    make_orchestrator, make_worker, receiver, tmp_path: Path
) -> None:
    history = tmp_path / "history.sqlite"
    orchestrator = await make_orchestrator(
        **hook(receiver), history_database_uri=f"sqlite:{history}", storage="memory"
    )
    worker = await make_worker(orchestrator)
    secret = {"env_vars": {"A": "SENTINEL"}}
    about = {"user_id": "alice", "bot_id": "echo", "mode": "simple", "at": "2026-01-02T03:04:05Z"}
    await worker.event("bot_started", about)
    await worker.event("bot_stopped", about)
    await worker.event("bot_stopped", about | {"reason": "disk_limit"})
    await worker.event("bot_crashed", CRASH | secret)
    await worker.event("bot_expiring", about | {"expires_at": "2026-01-02T04:00:00Z"})
    await worker.event("bot_expired", about)

    bodies = await receiver.receives(4)
    assert {body["type"] for body in bodies} == {"bot_stopped", "bot_crashed", "bot_expiring", "bot_expired"}
    crash = next(body for body in bodies if body["type"] == "bot_crashed")
    assert crash["data"]["exit_code"] == 1
    await orchestrator.engine.stop()
    assert len(receiver.got) == 4

    query = "SELECT event_type, context_snapshot FROM job_history WHERE event_type LIKE 'worker_event:bot%'"
    rows = sqlite3.connect(history).execute(query).fetchall()
    kinds = [kind.removeprefix("worker_event:bot_") for kind, _ in rows]
    assert kinds == ["started", "stopped", "stopped", "crashed", "expiring", "expired"]
    kept = json.loads(rows[3][1])["payload"]
    assert (kept["bot_id"], kept["user_id"], kept["exit_code"]) == ("echo", "alice", 1)
    for written in (history.read_bytes(), *(body for _, body in receiver.got)):
        assert b"SENTINEL" not in written


async def test_events_that_nobody_signed_are_not_sent(make_orchestrator, make_worker, receiver) -> None:
    orchestrator = await make_orchestrator(**hook(receiver))
    worker = await make_worker(orchestrator)
    forged = {
        "worker_id": worker.worker_id,
        "origin_worker_id": worker.worker_id,
        "event_id": "e",
        "event_type": "bot_crashed",
        "payload": CRASH,
    }
    url = orchestrator.url + "/_worker/events"
    async with orchestrator.http.post(url, json=forged, headers=worker.headers) as response:
        assert response.status == 403
    await worker.event("bot_exited", CRASH)
    assert [body["type"] for body in await receiver.receives(1)] == ["bot_exited"]


async def test_a_receiver_that_hangs_delays_no_task_and_no_end(
    make_orchestrator, make_worker, receiver, caplog
) -> None:
    async def hang(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(3600)
        return web.Response()

    receiver.answer = hang
    orchestrator = await make_orchestrator(**hook(receiver))
    worker = await make_worker(orchestrator)
    for _ in range(20):
        await worker.event("bot_crashed", CRASH)
    assert (await orchestrator.run())["status"] == "finished"
    with caplog.at_level(logging.ERROR):
        logging.getLogger().addHandler(caplog.handler)
        await asyncio.wait_for(orchestrator.engine.stop(), 10 * SCALE)
    assert "20 events were not sent to the webhook" in caplog.text
