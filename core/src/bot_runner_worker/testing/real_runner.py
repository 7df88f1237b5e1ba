"""A runner on the real Engine, in a namespace of its own that is swept at the end."""

import os
import socket
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any, Literal
from urllib.parse import urlsplit
from uuid import uuid4

from pydantic import SecretStr

from bot_runner_worker.engine import images, volumes
from bot_runner_worker.model.identity import CACHE_ROLE, LEASE_ROLE, NAMESPACE, ROLE
from bot_runner_worker.plugins.manager import Plugins
from bot_runner_worker.runner import Runner
from bot_runner_worker.settings import Settings
from bot_runner_worker.tasks.outcome import Outcome
from bot_runner_worker.testing.memory_runner import ignore_progress

ENGINE = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
BASE_IMAGE = os.environ.get("BASE_IMAGE", "python:3.12-slim")

IDLE_BOT = "import time\nprint('ready', flush=True)\nwhile True:\n    time.sleep(1)\n"
"""A bot without requirements that says one word and waits."""


def engine_answers(address: str) -> bool:
    """Whether somebody listens at an Engine's address."""
    parts = urlsplit(address)
    try:
        if parts.scheme == "unix":
            with socket.socket(socket.AF_UNIX) as there:
                there.settimeout(2)
                there.connect(parts.path)
        else:
            socket.create_connection((parts.hostname or "", parts.port or 2375), 2).close()
    except OSError:
        return False
    return True


class RunnerUnderTest:
    """A runner with the shortcuts that tests need.

    Args:
        runner: The runner.
        before: What carried its namespace before the test: no leftovers of this one.
    """

    def __init__(self, runner: Runner, before: Collection[str] = ()) -> None:
        self.runner = runner
        self.engine = runner.engine
        self.settings = runner.settings
        self._before = set(before)

    async def task(self, name: str, **params: Any) -> Outcome:
        """Run a task with these params."""
        return await self.runner.run_task(name, params, ignore_progress)

    async def start(self, user_id: str = "alice", bot_id: str = "bot", **params: Any) -> Outcome:
        """Run ``start_bot``; by default the idle bot in mode ``simple``."""
        if "deployment_mode" not in params:
            params = {"deployment_mode": "simple", "code": IDLE_BOT, **params}
        return await self.task("start_bot", user_id=user_id, bot_id=bot_id, **params)

    async def containers(self) -> list[str]:
        """Names of the containers that carry this namespace."""
        return await self.leftovers("containers/json")

    async def leftovers(self, *kinds: Literal["containers/json", "images/json", "networks"]) -> list[str]:
        """Names of what carries this namespace: containers, images and networks, the shared one aside.

        If not asked for certain kinds, also :meth:`volumes`. What was there before is left out.
        """
        await self.runner.networks_ahead.wait_closed()
        found = [] if kinds else [f"volumes: {name}" for name in await self.volumes()]
        for kind in kinds or ("containers/json", "images/json", "networks"):
            namespace = f"{NAMESPACE}={self.settings.runner_namespace}"
            params = {"all": True, "filters": {"label": [namespace]}}
            for each in await self.engine.json("GET", kind, params=params):
                name = str(each.get("Names") or each.get("RepoTags") or each.get("Name"))
                if name != self.settings.docker_network:
                    found.append(f"{kind.split('/')[0]}: {name}")
        return [each for each in found if each not in self._before]

    async def clean_up(self) -> None:
        """Remove all bots and the images that were built for them: the end of a test on a shared runner.

        Raises:
            AssertionError: If something of the bots, or of what was tried with them, is left.
        """
        for record in await self.runner.runtime.list_bots():
            await self.runner.runtime.remove(record)
        left = await self.leftovers("containers/json", "networks")
        if left:
            await self.runner.runtime.remove_all(keep_images=True)
        for image in await images.list_by_labels(self.engine, {NAMESPACE: self.settings.runner_namespace}):
            if f"images: {image['RepoTags']}" not in self._before:
                await images.remove(self.engine, image["Id"], all_tags=True)
        assert left == [], f"the test has left {left}"

    async def volumes(self) -> list[str]:
        """Names of the volumes that carry this namespace, caches and the lease aside."""
        found = await volumes.list_by_labels(self.engine, {NAMESPACE: self.settings.runner_namespace})
        return [name for name, labels in found.items() if labels.get(ROLE) not in (CACHE_ROLE, LEASE_ROLE)]


@asynccontextmanager
async def runner_under_test(
    *, plugins: Plugins | None = None, **settings: Any
) -> AsyncIterator[RunnerUnderTest]:
    """A runner on the real Engine; what it made is removed at the end.

    Args:
        plugins: Loaded plugins; by default, those that are installed.
        settings: By their names in lower case.
    """
    namespace = settings.pop("runner_namespace", f"test-{uuid4().hex[:12]}")
    defaults = {
        "worker_token": SecretStr("test-worker-token"),
        "docker_host": ENGINE,
        "base_image": BASE_IMAGE,
        "docker_network": f"{namespace}-net",
        "stop_grace_seconds": 2,
        # A test's bots are its own, and no rules are in place for the bridges of its runner.
        "isolation_required": "off",
    }
    loaded = Settings.load(runner_namespace=namespace, **{**defaults, **settings})
    async with Runner(loaded, plugins) as runner:
        try:
            yield RunnerUnderTest(runner)
        finally:
            await runner.runtime.remove_all()
