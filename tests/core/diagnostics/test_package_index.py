"""What the doctor says about the package index, having downloaded from it in a build."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web
from tests.core.diagnostics.conftest import Look
from tests.corpus.certificates import Authority

from bot_runner_stack.engine import bridge_address
from bot_runner_worker.diagnostics.checks.images import package_index
from bot_runner_worker.diagnostics.results import State

Handler = Callable[[web.Request], Awaitable[web.Response]]

pytestmark = pytest.mark.slow


async def test_an_index_that_builds_reach_is_fine(look: Look) -> None:
    found = await package_index(await look())
    assert (found.state, found.finding) == (State.OK, "PyPI can be reached from a build")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"package_index_url": "http://127.0.0.1:9/simple"}, "it cannot be reached from a build"),
        ({"package_index_url": "https://index.invalid/simple"}, "its name is not found from a build"),
        ({"https_proxy": "http://127.0.0.1:9"}, "the proxy refuses from a build"),
    ],
)
async def test_what_is_in_the_way_is_named(look: Look, settings: dict[str, str], told: str) -> None:
    here = await look(**settings)
    found = await package_index(here)
    assert found.state is State.FAILED
    assert told in found.finding
    assert found.remedy


@dataclass
class Index:
    """An index where builds can reach it.

    Args:
        url: Its address.
        ca: The CA of its certificate.
    """

    url: str
    ca: Path


@pytest.fixture
async def serve_index(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Index]]]:
    """Serve an index over HTTPS that answers with this handler."""
    host = await bridge_address()
    authority = Authority(tmp_path)
    async with AsyncExitStack() as stack:

        async def serve(handler: Handler, *, tls: bool = True) -> Index:
            app = web.Application()
            app.router.add_get("/{anything:.*}", handler)
            server = web.AppRunner(app, shutdown_timeout=0.1)
            await server.setup()
            stack.push_async_callback(server.cleanup)
            context = authority.server_context(host) if tls else None
            await web.TCPSite(server, host, 0, ssl_context=context).start()
            return Index(
                f"http{'s' if tls else ''}://{host}:{server.addresses[0][1]}/simple", authority.certificate
            )

        yield serve


async def nothing(_: web.Request) -> web.Response:
    return web.Response(status=404)


async def hang(_: web.Request) -> web.Response:
    await asyncio.sleep(3600)
    raise AssertionError


async def test_an_index_with_a_companys_own_packages_only_is_fine(
    look: Look, serve_index: Callable[..., Awaitable[Index]]
) -> None:
    index = await serve_index(nothing)
    here = await look(package_index_url=index.url, ca_bundle=index.ca)
    found = await package_index(here)
    assert found.state is State.OK
    assert found.finding == "answers a build; it does not offer the package six"

    found = await package_index(await look(package_index_url=index.url))
    assert found.state is State.FAILED
    assert found.finding.startswith("its certificate is not trusted from a build")
    assert found.remedy == "Set CA_BUNDLE."


async def test_an_index_over_plain_http_is_a_failure(
    look: Look, serve_index: Callable[..., Awaitable[Index]]
) -> None:
    index = await serve_index(nothing, tls=False)
    found = await package_index(await look(package_index_url=index.url))
    assert found.state is State.FAILED
    assert "https://" in found.remedy


async def test_an_index_that_never_answers_is_given_up(
    look: Look, serve_index: Callable[..., Awaitable[Index]]
) -> None:
    index = await serve_index(hang)
    here = await look(package_index_url=index.url, ca_bundle=index.ca, build_timeout_seconds=5)
    found = await package_index(here)
    assert found.state is State.FAILED
    assert found.finding == "no answer to a build within 5 s", found


async def test_a_base_image_that_is_missing_is_not_pulled_for_it(look: Look) -> None:
    found = await package_index(await look(base_image="localhost/no-such-image:none"))
    assert found.state is State.WARNING
