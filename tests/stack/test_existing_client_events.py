"""What becomes of bots that the published client of the older API starts, as the operator's server hears."""

import base64
import hmac
import json
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.conftest import IDLE_BOT
from tests.stack.conftest import running
from tests.stack.test_existing_client import ExistingClient

from bot_runner_stack.embedded import EmbeddedStack
from bot_runner_worker.testing.waiting import until

pytestmark = pytest.mark.slow

SECRET = "the operator's secret"


class Receiver:
    """The operator's server; it refuses what is not signed, and takes each event only the second time."""

    def __init__(self) -> None:
        self.url = ""
        self.events: list[dict[str, Any]] = []
        self.taken: set[str] = set()

    async def take(self, request: web.Request) -> web.Response:
        """Take an event."""
        body = await request.read()
        signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.new(SECRET.encode(), signed, sha256).digest()).decode()
        if request.headers["webhook-signature"] != f"v1,{expected}":
            return web.Response(status=401)
        event = json.loads(body) | {"id": request.headers["webhook-id"]}
        if not any(known["id"] == event["id"] for known in self.events):
            self.events.append(event)
            return web.Response(status=503)
        self.taken.add(event["id"])
        return web.Response()

    async def hears(self, event_type: str, bot_id: str) -> dict[str, Any]:
        """Wait for an event; returns its data."""

        def heard() -> list[dict[str, Any]]:
            return [
                event["data"]
                for event in self.events
                if (event["type"], event["data"]["bot_id"]) == (event_type, bot_id)
                and event["id"] in self.taken
            ]

        await until(heard, 180, lambda: f"{event_type} of {bot_id} among {self.events}")
        return heard()[0]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """The operator's server at work."""
    made = Receiver()
    app = web.Application()
    app.router.add_post("/events", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/events"
    yield made
    await runner.cleanup()


@pytest.fixture
async def stack(receiver: Receiver) -> AsyncIterator[EmbeddedStack]:
    """A stack that gives a bot up at its first failure, and tells the operator's server."""
    async with running(
        worker_env={"CRASH_LIMIT": "1"},
        orchestrator_env={"EVENTS_WEBHOOK_URL": receiver.url, "EVENTS_WEBHOOK_SECRET": SECRET},
    ) as made:
        yield made


async def test_ends_are_told_and_what_users_do_themselves_is_not(
    stack: EmbeddedStack, receiver: Receiver, tmp_path: Path
) -> None:
    user = ExistingClient(stack, stack.client_token)
    for name, code in {
        "idle": IDLE_BOT,
        "crashing": "raise SystemExit('SENTINEL')\n",
        "short": "print('done')\n",
    }.items():
        (tmp_path / f"{name}.py").write_text(code)
        await user.run("start", name, "--simple", str(tmp_path / f"{name}.py"))
    await user.run("stop", "idle")

    crash = await receiver.hears("bot_crashed", "crashing")
    assert (crash["exit_code"], crash["reason"], crash["mode"]) == (1, "failed", "simple")
    assert crash["user_id"] == "default"
    assert crash["worker_id"] == f"{stack.namespace}-worker-1"
    assert (await receiver.hears("bot_exited", "short"))["exit_code"] == 0
    assert {event["data"]["bot_id"] for event in receiver.events} == {"crashing", "short"}
    assert "SENTINEL" not in str(receiver.events)
