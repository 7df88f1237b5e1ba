"""The address for bots is found on an Engine that names its bridge's gateway and on one that does not."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bot_runner_stack import engine
from bot_runner_stack.errors import StackError

Serve = Callable[[str, Any], Awaitable[list[web.Request]]]


@pytest.fixture
async def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Serve]:
    """A function that puts up an Engine with one answer, and returns the requests that it gets."""
    async with AsyncExitStack() as endings:

        async def serve_answer(path: str, answer: Any) -> list[web.Request]:
            requests: list[web.Request] = []

            async def handle(request: web.Request) -> web.Response:
                requests.append(request)
                return web.json_response(answer)

            application = web.Application()
            application.router.add_get(path, handle)
            runner = web.AppRunner(application)
            await runner.setup()
            endings.push_async_callback(runner.cleanup)
            await web.UnixSite(runner, str(tmp_path / "docker.sock")).start()
            monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'docker.sock'}")
            return requests

        yield serve_answer


@pytest.mark.parametrize(
    ("config", "address"),
    [
        ({"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.9"}, "172.17.0.9"),
        ({"Subnet": "10.5.0.0/24"}, "10.5.0.1"),
    ],
)
async def test_the_bridges_address(serve: Serve, config: dict[str, str], address: str) -> None:
    await serve("/networks/bridge", {"IPAM": {"Config": [config]}})

    assert await engine.bridge_address() == address


async def test_an_engine_without_a_bridge(serve: Serve) -> None:
    await serve("/networks/bridge", {"IPAM": {"Config": None}})

    with pytest.raises(StackError, match="`bridge` has no address"):
        await engine.bridge_address()


async def test_only_running_containers_of_the_namespace_are_counted(serve: Serve) -> None:
    requests = await serve("/containers/json", [{"Id": "a"}, {"Id": "b"}])

    assert await engine.running_containers("mine") == 2
    assert json.loads(requests[0].query["filters"]) == {
        "label": ["io.avtomatika.bot-runner.namespace=mine"],
        "status": ["running"],
    }


async def test_no_engine_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")

    with pytest.raises(StackError, match=r"The Docker Engine does not answer at unix://.*none\.sock"):
        await engine.bridge_address()
