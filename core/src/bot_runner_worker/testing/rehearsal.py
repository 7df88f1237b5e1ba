"""Rehearsals: the hooks' answers to a request, before the core starts anything."""

import copy
import io
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bot_runner_worker.logs import QUIET
from bot_runner_worker.model.errors import BotRunnerError
from bot_runner_worker.model.options import ContainerOptions
from bot_runner_worker.plugins.tools import RequestImages, Tools
from bot_runner_worker.redaction import secrets_of
from bot_runner_worker.testing.memory_runner import MemoryRunner

SENTINEL = "sentinel-of-the-test-kit"
"""A secret in the environment of every bot of the kit."""


@dataclass(slots=True)
class Rehearsal:
    """The outcome of the hooks for one request.

    Args:
        error: The plugin's error, as it raised it.
        tar: The build context's bytes, if there is one.
        digest: Its digest.
        image: The id of the resolved image.
        options: The container options.
        said: All progress.
    """

    error: BotRunnerError | None = None
    tar: bytes | None = None
    digest: str = ""
    image: str = ""
    options: ContainerOptions | None = None
    said: list[str] = field(default_factory=list)

    def made(self) -> tuple[Any, ...]:
        """All that must be the same for the same request."""
        assert self.options is not None
        return (self.digest, self.tar, self.image, self.options)


async def rehearse(runner: MemoryRunner, params: Mapping[str, Any]) -> Rehearsal:
    """Call the hooks as a start does."""
    seen = Rehearsal()

    async def report(message: str, _fraction: float | None) -> None:
        seen.said.append(message)

    try:
        start, request = runner.plugins.claim(copy.deepcopy(dict(params)))
        tools = Tools(runner.settings, RequestImages(runner.images), start.user_id, report)
        context = await runner.plugins.prepare_build_context(request, tools)
        try:
            if context is not None:
                seen.tar = b"".join([chunk async for chunk in context.chunks()])
                seen.digest = context.digest
            image = await runner.plugins.resolve_image(request, context, tools)
            seen.image = image.id
            seen.options = await runner.plugins.container_options(request, image, tools)
        finally:
            if context is not None:
                context.close()
    except BotRunnerError as error:
        seen.error = error
    return seen


def secrets_shown(params: Mapping[str, Any], rehearsal: Rehearsal, logged: str) -> list[str]:
    """The request's secrets that an error, the progress or the log shows."""
    error = rehearsal.error
    causes = []
    while error is not None:
        causes.append(json.dumps(error.to_dict(), ensure_ascii=False, default=str))
        error = error.__cause__ if isinstance(error.__cause__, BotRunnerError) else None
    shown = "\n".join([*causes, *rehearsal.said, logged])
    return [secret for secret in {SENTINEL, *secrets_of(params)} if len(secret) >= 5 and secret in shown]


@contextmanager
def everything_logged() -> Iterator[io.StringIO]:
    """What is logged at the most talkative level, as it was said, tracebacks included.

    Without what the worker never logs, see :data:`bot_runner_worker.logs.QUIET`.
    """
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.addFilter(
        lambda record: record.levelno >= logging.WARNING or record.name.partition(".")[0] not in QUIET
    )
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield text
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
