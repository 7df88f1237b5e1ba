"""Trials of a start: its hooks alone, cancelled in a stage, or with something that fails."""

import asyncio
import copy
import io
import json
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bot_runner_worker.logs import QUIET
from bot_runner_worker.model.errors import BotRunnerError, Code, Rejected, Unavailable
from bot_runner_worker.model.options import ContainerOptions
from bot_runner_worker.plugins.tools import RequestImages, Tools
from bot_runner_worker.redaction import secrets_of
from bot_runner_worker.testing.memory_runner import MemoryRunner
from bot_runner_worker.testing.waiting import SCALE

SENTINEL = "sentinel-of-the-test-kit"
"""A secret in the environment of every bot of the kit."""

BOT = {"user_id": "kit", "bot_id": "bot", "env_vars": {"BOT_TOKEN": SENTINEL}}
"""Params of every case, besides its own."""


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


STAGES = ("prepare_build_context", "resolve_image", "container_options", "launch")
"""Where a start can be cancelled: before it, in its midst, and right after it."""

FAULTS = ("base", "build", "pull", "recall", "remember", "launch")
"""What can fail while a plugin is at work."""

MOMENTS = (0.0, 0.002, 0.02)
"""Seconds after a stage's beginning."""


async def cancel_at(
    runner: MemoryRunner, stage: str, seconds: float, start: Callable[[], Awaitable[Any]]
) -> bool:
    """Cancel a start some time after a stage has begun.

    Args:
        runner: Where it is started.
        stage: One of :data:`STAGES`.
        seconds: How long after the stage has begun.
        start: Starts it.

    Returns:
        Whether the start was cut short; ``False`` if it was over before, or never came there.
    """
    owner: Any = runner.runtime if stage == "launch" else runner.plugins
    real = getattr(owner, stage)
    task: asyncio.Task[Any]

    async def watched(*args: Any, **kwargs: Any) -> Any:
        asyncio.get_running_loop().call_later(seconds, task.cancel)
        return await real(*args, **kwargs)

    setattr(owner, stage, watched)
    try:
        task = asyncio.ensure_future(start())
        done, _ = await asyncio.wait([task], timeout=60 * SCALE)
        assert done, f"a start that was cancelled in {stage} did not end"
        return task.cancelled()
    finally:
        delattr(owner, stage)


async def fail_at(runner: MemoryRunner, fault: str, start: Callable[[], Awaitable[Any]]) -> Any:
    """Let something fail while a bot is started; returns what the start returns."""
    owner: Any = {"launch": runner.runtime}.get(fault, runner.images)

    async def failing(*_args: Any, **_kwargs: Any) -> Any:
        await asyncio.sleep(0)
        if fault == "launch":
            raise Rejected(Code.START_FAILED, "The bot's container could not be started.", hint="Test.")
        raise Unavailable(Code.ENGINE_UNAVAILABLE, "The Docker Engine does not answer.", hint="Test.")

    setattr(owner, fault, failing)
    try:
        return await start()
    finally:
        delattr(owner, fault)
