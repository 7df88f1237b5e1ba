"""SIGKILL of the worker at every stage of its work: then each bot is there once, and nothing is left over.

Whoever starts the worker again does so under the same WORKER_ID, as systemd and Docker do. The client, who
hears nothing, repeats its request.
"""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.conftest import IDLE_BOT
from tests.corpus.git_repositories import Repository
from tests.corpus.git_server import serve_repositories
from tests.faults.bots import project, simple
from tests.faults.interception import Interceptor, Point
from tests.faults.running import InterceptedStack, intercepted_stack
from tests.faults.state import settled

from bot_runner_worker.engine import Engine
from bot_runner_worker.model.identity import BOT_ID
from bot_runner_worker.testing.source_server import Server

SIMPLE = simple()
OTHER = simple(IDLE_BOT + "# other\n", replace=True)


@dataclass(frozen=True)
class Kill:
    """Where the worker is killed.

    Args:
        at: The point.
        link: On its way to which server.
        action: The client's request.
        params: Its parameters, by default those of a small bot.
        already: Whether the bot runs already.
        ends: The bot's state once the request was repeated.
    """

    at: Point
    link: str = "to_engine"
    action: str = "start"
    params: Any = field(default_factory=lambda: SIMPLE)
    already: bool = False
    ends: str = "running"


def start(moment: Any, request: str, body: str = "", **more: Any) -> Kill:
    """A kill during a start."""
    return Kill(Point(moment, request, body), **more)


def during(action: str, moment: Any, request: str, **more: Any) -> Kill:
    """A kill while something is done to a bot that runs."""
    return Kill(Point(moment, request), action=action, already=True, params={}, **more)


def replace(moment: Any, request: str) -> Kill:
    """A kill while a bot is replaced."""
    return Kill(Point(moment, request), already=True, params=OTHER)


CREATE = "POST /containers/create"
RENAME = "POST /containers/[^/]+/rename"
START = "POST /containers/[^/]+/start"
STOP = "POST /containers/[^/]+/stop"
UPDATE = "POST /containers/[^/]+/update"
RESULT = "POST /_worker/tasks/result"

KILLS = {
    "start: code on its way": start("before", "GET /bot.git/info/refs", link="to_git", params="git"),
    "start: network of the build made": start("after", "POST /networks/create", params="project"),
    "start: build begun": start("before", "POST /build", params="project"),
    "start: in the middle of the build": start("during", "POST /build", params="project"),
    "start: image built": start("after", "POST /build", params="project"),
    "start: network not yet made": start("before", "POST /networks/create"),
    "start: network made": start("after", "POST /networks/create"),
    "start: container not yet made": start("before", CREATE),
    "start: container made": start("after", CREATE),
    "start: files not yet put": start("before", "PUT /containers/[^/]+/archive"),
    "start: files put": start("after", "PUT /containers/[^/]+/archive"),
    "start: container named": start("after", RENAME),
    "start: container not yet started": start("before", START),
    "start: container started": start("after", START),
    "start: result not yet sent": start("before", RESULT, link="to_orchestrator"),
    "start: result sent": start("after", RESULT, link="to_orchestrator"),
    "replace: old one stopped": replace("after", STOP),
    "replace: old one renamed": replace("after", f"{RENAME}\\?name=[^&]+-previous"),
    "replace: new one named": replace("after", f"{RENAME}\\?name=(?![^&]+-previous)[^&]+"),
    "replace: new one started": replace("after", START),
    "replace: old one not yet removed": replace("before", "DELETE /containers/[^/?]+"),
    "stop: not yet marked": during("stop", "before", UPDATE, ends="exited"),
    "stop: marked": during("stop", "after", UPDATE, ends="exited"),
    "stop: stopped": during("stop", "after", STOP, ends="exited"),
    "restart: stopped": during("restart", "after", STOP),
    "restart: not yet started": during("restart", "before", START),
    "restart: started": during("restart", "after", START),
}


@pytest.fixture(scope="module")
def git_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Git server with one bot."""
    folder = tmp_path_factory.mktemp("git")
    Repository(folder / "bot.git").commit_files({"bot.py": IDLE_BOT, "requirements.txt": ""})
    server = Server(lambda handler: serve_repositories(handler, folder))
    yield server.url("")
    server.close()


@pytest.fixture(scope="module")
async def links(git_url: str) -> AsyncIterator[dict[str, Any]]:
    """The stack under test and all that we stand in between."""
    async with (
        intercepted_stack({"SOURCE_ADDRESSES_ALLOWED": "127.0.0.1/32", "NETWORKS_AHEAD": "0"}) as stack,
        Interceptor(git_url.rstrip("/")) as to_git,
    ):
        yield {
            "stack": stack,
            "to_engine": stack.to_engine,
            "to_orchestrator": stack.to_orchestrator,
            "to_git": to_git,
        }


SHOWN = "start: container made"
"""What `make test` shows."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=getattr(pytest.mark, "engine" if name == SHOWN else "faults"))
        for name in KILLS
    ],
)
async def test_a_worker_that_is_killed_leaves_each_bot_once(
    name: str, links: dict[str, Any], engine: Engine
) -> None:
    kill, stack = KILLS[name], links["stack"]
    assert isinstance(stack, InterceptedStack)
    client, namespace = stack.client, stack.stack.namespace
    bot_id = name.replace(": ", "-").replace(" ", "-")
    params = kill.params
    if params == "git":
        params = {"deployment_mode": "custom", "git_repo": f"{links['to_git'].address}/bot.git"}
    elif params == "project":
        params = project(bot_id)
    if kill.already:
        await client.starts(bot_id)

    await stack.kill_at(links[kill.link], kill.at, kill.action, bot_id=bot_id, **params)
    await settled(engine, namespace)
    again = await client.result(kill.action, bot_id=bot_id, **params)

    assert "error" not in again, again
    state = await settled(engine, namespace)
    assert [bot.state for bot in state.bots if bot.labels[BOT_ID] == bot_id] == [kill.ends]
    status = await client.result("status", bot_id=bot_id)
    assert status["status"] == {"running": "running", "exited": "stopped"}[kill.ends]
    if kill.params is OTHER:
        assert (await client.result("start", bot_id=bot_id, **OTHER))["status"] == "already_running"
