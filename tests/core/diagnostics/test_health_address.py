"""What the doctor says about the address at which the worker tells how it is."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from tests.core.diagnostics.conftest import Look

from bot_runner_worker.diagnostics.checks.network import health_address
from bot_runner_worker.diagnostics.results import State

pytestmark = pytest.mark.slow


@asynccontextmanager
async def program(answer: dict[str, str]) -> AsyncIterator[str]:
    """Address of a program that answers ``/health``."""

    async def health(_: web.Request) -> web.Response:
        return web.json_response(answer)

    app = web.Application()
    app.router.add_get("/health", health)
    server = web.AppRunner(app)
    await server.setup()
    await web.TCPSite(server, "127.0.0.1", 0).start()
    try:
        yield f"127.0.0.1:{server.addresses[0][1]}"
    finally:
        await server.cleanup()


async def test_a_free_address_is_fine(look: Look) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    found = await health_address(await look(health_address=address))
    assert found.state is State.OK
    assert found.finding.startswith(f"{address} is free")


async def test_a_worker_that_runs_there_is_fine(look: Look) -> None:
    async with program({"worker_id": "bot-runner-1"}) as address:
        found = await health_address(await look(health_address=address))
    assert (found.state, found.finding) == (State.OK, f"the worker bot-runner-1 answers at {address}")


async def test_another_program_there_is_a_failure(look: Look) -> None:
    async with program({"status": "fine"}) as address:
        found = await health_address(await look(health_address=address))
    assert (found.state, found.finding) == (State.FAILED, f"{address} is taken by another program")
    assert "HEALTH_ADDRESS" in found.remedy


async def test_an_address_of_another_machine_is_a_failure(look: Look) -> None:
    found = await health_address(await look(health_address="198.51.100.1:9180"))
    assert found.state is State.FAILED
    assert found.finding == "198.51.100.1:9180: Cannot assign requested address"


async def test_none_at_all_is_fine(look: Look) -> None:
    assert (await health_address(await look(health_address="off"))).state is State.OK
