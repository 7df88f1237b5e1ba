"""What the doctor says about the orchestrator, the worker's token, and the clocks: a real one is asked."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from aiohttp import web
from tests.core.diagnostics.conftest import Look, with_facts

from bot_runner_stack.embedded import EmbeddedStack, StackOptions
from bot_runner_worker.diagnostics.checks import configuration
from bot_runner_worker.diagnostics.checks.engine import clock
from bot_runner_worker.diagnostics.results import State
from bot_runner_worker.settings import NO_TOKEN

pytestmark = pytest.mark.slow


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[EmbeddedStack]:
    """An orchestrator that knows one worker with a token of its own."""
    tokens = tmp_path / "workers.toml"
    tokens.write_text('[special]\ntoken = "its own"\n')
    options = StackOptions(workers=0, orchestrator_env={"WORKERS_CONFIG_PATH": str(tokens)})
    async with EmbeddedStack(options) as stack:
        yield stack


async def test_an_orchestrator_that_takes_the_token_is_fine(look: Look, stack: EmbeddedStack) -> None:
    here = await look(orchestrator_url=stack.url, worker_token=stack.options.worker_token, worker_id="mine")
    assert (await configuration.orchestrator(here)).state is State.OK
    found = await configuration.token(here)
    assert found.state is State.OK
    assert here.engine_facts is not None
    engine = here.engine_facts.info["ID"]
    assert found.finding == f"accepted for the worker mine, whose Docker Engine is {engine}"
    found = await clock(here)
    assert (found.state, found.finding) == (State.OK, "agrees with the orchestrator's and the Engine's")
    assert await stack.registered_workers() == set(), "asking must not register anybody"


@pytest.mark.parametrize(
    ("worker", "secret", "state"),
    [
        ("mine", "wrong", State.FAILED),
        ("special", "its own", State.OK),
        ("special", "wrong", State.FAILED),
    ],
)
async def test_the_token_is_tried_for_this_worker(
    look: Look, stack: EmbeddedStack, worker: str, secret: str, state: State
) -> None:
    here = await look(orchestrator_url=stack.url, worker_token=secret, worker_id=worker)
    assert (await configuration.orchestrator(here)).state is State.OK
    found = await configuration.token(here)
    assert found.state is state
    assert worker in found.finding
    assert secret not in str(found)


async def test_a_missing_token_is_a_failure(look: Look) -> None:
    found = await configuration.token(await look(worker_token=NO_TOKEN))
    assert (found.state, found.finding) == (State.FAILED, "WORKER_TOKEN is not set")


async def test_an_orchestrator_that_does_not_answer_is_a_failure(look: Look) -> None:
    here = await look(orchestrator_url="http://127.0.0.1:9")
    found = await configuration.orchestrator(here)
    assert found.state is State.FAILED
    assert "http://127.0.0.1:9 does not answer" in found.finding
    assert (await configuration.token(here)).state is State.WARNING
    assert (await clock(here)).finding == "agrees with the Engine's"


@asynccontextmanager
async def somebody_else(status: int = 200, *, ahead: float = 0, protocol: str = "") -> AsyncIterator[str]:
    """URL of a server with another clock, or that is no orchestrator of ours."""

    async def answer(_: web.Request) -> web.Response:
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)
        headers = {"Date": date} | ({"X-RXON-Version": protocol} if protocol else {})
        return web.Response(status=status, headers=headers)

    app = web.Application()
    app.router.add_get("/{anything:.*}", answer)
    server = web.AppRunner(app)
    await server.setup()
    await web.TCPSite(server, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{server.addresses[0][1]}"
    finally:
        await server.cleanup()


async def test_something_else_at_its_address_is_a_failure(look: Look) -> None:
    async with somebody_else(status=404) as url:
        found = await configuration.orchestrator(await look(orchestrator_url=url))
    assert (found.state, found.finding) == (State.FAILED, f"{url} answers with status 404")


async def test_another_version_of_the_protocol_is_pointed_out(look: Look) -> None:
    async with somebody_else(protocol="2.0") as url:
        here = await look(orchestrator_url=url)
        found = await configuration.orchestrator(here)
        assert found.state is State.WARNING
        assert "speaks the protocol 2.0" in found.finding
        # Nor does it know where it would check a token.
        assert (await configuration.token(here)).state is State.WARNING


@pytest.mark.parametrize(
    ("ahead", "state", "told"),
    [
        (20.0, State.WARNING, "ahead of this one"),
        (-20.0, State.WARNING, "behind this one"),
        (300.0, State.FAILED, "refuses this worker's messages"),
        (-300.0, State.FAILED, "refuses this worker's messages"),
    ],
)
async def test_an_orchestrator_with_another_time_is_pointed_out(
    look: Look, ahead: float, state: State, told: str
) -> None:
    async with somebody_else(ahead=ahead) as url:
        found = await clock(await look(orchestrator_url=url))
    assert found.state is state
    assert "the orchestrator's is " in found.finding
    assert told in found.finding
    assert "NTP" in found.remedy


async def test_an_engine_with_another_time_is_pointed_out(look: Look) -> None:
    found = await clock(with_facts(await look(), clock_drift=-3600.0))
    assert found.state is State.WARNING
    assert "the Engine's is 3600 s behind this one" in found.finding


async def test_without_anybody_there_is_no_clock_to_compare(look: Look) -> None:
    here = await look(docker_host="unix:///nowhere/docker.sock")
    assert (await clock(here)).state is State.WARNING
