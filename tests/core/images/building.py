"""Builds a tenant's Dockerfile with the runner's own image store."""

from collections.abc import Callable, Mapping

import pytest
from tests.conftest import BASE_IMAGE, RunnerUnderTest

from bot_runner_worker.images.context import BuildContextWriter
from bot_runner_worker.images.store import ImageStore
from bot_runner_worker.model.errors import BotRunnerError
from bot_runner_worker.model.identity import ROLE
from bot_runner_worker.model.image import Image
from bot_runner_worker.plugins.tools import Tools

FROM = f"FROM {BASE_IMAGE}\n"


class Builder:
    """An image store with the shortcuts that tests need.

    Args:
        runner: Whose Engine and settings are used.
    """

    def __init__(self, runner: RunnerUnderTest) -> None:
        self.runner = runner
        self.store = ImageStore(runner.engine, runner.settings, networks=runner.runner.networks_ahead)
        self.said: list[tuple[str, float | None]] = []
        self.on_report: Callable[[str], object] = len

    async def _report(self, message: str, fraction: float | None) -> None:
        self.said.append((message, fraction))
        self.on_report(message)

    async def build(
        self, dockerfile: str, files: Mapping[str, bytes] | None = None, *, tenant: str = "alice"
    ) -> Image:
        """Build a tenant's Dockerfile."""
        tools = Tools(self.runner.settings, self.store, tenant, self._report)
        with BuildContextWriter(max_size=self.runner.settings.max_context_size) as writer:
            writer.add("Dockerfile", dockerfile)
            for path, content in (files or {}).items():
                writer.add(path, content)
            context = writer.finish()
        try:
            return await self.store.build(context, tools)
        finally:
            context.close()

    async def failure(self, dockerfile: str, **options: object) -> BotRunnerError:
        """Build a Dockerfile that must not come to an image, and see that nothing of it is left."""
        with pytest.raises(BotRunnerError) as caught:
            await self.build(dockerfile, **options)  # type: ignore[arg-type]
        assert await self.runner.leftovers() == []
        assert await self.containers() == []
        return caught.value

    async def containers(self) -> list[str]:
        """Ids of the containers of builds, running or not."""
        prefix = f"{self.runner.settings.docker_network}-"
        rows = await self.runner.engine.json("GET", "containers/json", params={"all": True})
        return [
            row["Id"]
            for row in rows
            if row["HostConfig"]["NetworkMode"].startswith(prefix) and row["Labels"].get(ROLE) != "bot"
        ]
