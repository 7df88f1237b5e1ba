"""Images: inspect, pull, build with limits, remove."""

import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from bot_runner_worker.engine.client import Engine, EngineError
from bot_runner_worker.images.image import Image

LOG_LINES = 60
LOG_BYTES = 16 * 1024
_STEP = re.compile(r"^Step (\d+)/(\d+) : (.*)")

Progress = Callable[[str, float | None], Awaitable[None]]


class BuildError(Exception):
    """A build failed because of what is in its context.

    Args:
        message: The Engine's error.
        log: The last lines of the build's output.
    """

    def __init__(self, message: str, log: list[str]) -> None:
        super().__init__(message)
        self.message = message
        self.log = log


@dataclass(frozen=True, slots=True)
class BuildLimits:
    """What a build may use.

    Args:
        memory: Bytes, without swap.
        cpu: Cores.
    """

    memory: int
    cpu: float


async def inspect(engine: Engine, reference: str) -> Image | None:
    """The image behind a reference or id, or ``None``."""
    try:
        answer = await engine.json("GET", f"images/{quote(reference, safe=':/@')}/json")
    except EngineError as error:
        if error.not_found:
            return None
        raise
    config = answer.get("Config") or {}
    environment = dict(entry.partition("=")[::2] for entry in config.get("Env") or [])
    return Image(
        id=answer["Id"],
        reference=reference,
        labels=config.get("Labels") or {},
        volumes=tuple(config.get("Volumes") or {}),
        environment=environment,
    )


async def pull(engine: Engine, reference: str, progress: Progress) -> None:
    """Pull an image.

    Raises:
        EngineError: With the status of the answer, or 0 for an error inside the stream.
    """
    name, _, tag = reference.rpartition(":") if ":" in reference.rsplit("/", 1)[-1] else (reference, "", "")
    await progress(f"pulling {reference}", None)
    async with aclosing(
        engine.stream_json("POST", "images/create", params={"fromImage": name, "tag": tag or "latest"})
    ) as lines:
        async for line in lines:
            if "error" in line:
                raise EngineError(0, str(line["error"]))


async def build(
    engine: Engine,
    *,
    tag: str,
    tar: AsyncIterator[bytes],
    dockerfile: str,
    labels: Mapping[str, str],
    limits: BuildLimits,
    arguments: Mapping[str, str],
    progress: Progress,
) -> None:
    """Build an image with the classic builder, the one that keeps to limits.

    Intermediate containers are removed whether it succeeds or not. Leaving the call ends the build within a
    second.

    Args:
        engine: The Engine.
        tag: Reference for the result.
        tar: The build context.
        dockerfile: Path of the Dockerfile inside it.
        labels: Labels of the image.
        limits: Memory and CPU.
        arguments: Build arguments; the proxy variables are known to every Dockerfile.
        progress: Told of each step.

    Raises:
        BuildError: If the build fails.
        EngineError: If the Engine does not take it.
    """
    period = 100_000
    params = {
        "t": tag,
        "dockerfile": dockerfile,
        "rm": True,
        "forcerm": True,
        "memory": limits.memory,
        "memswap": limits.memory,
        "cpuperiod": period,
        "cpuquota": int(limits.cpu * period),
        "labels": dict(labels),
        "buildargs": dict(arguments),
    }
    log = _BuildLog()
    lines = engine.stream_json(
        "POST", "build", params=params, data=tar, headers={"Content-Type": "application/x-tar"}
    )
    async with aclosing(lines):
        async for line in lines:
            if "error" in line:
                raise BuildError(str(line["error"]), log.lines())
            if step := log.add(str(line.get("stream", ""))):
                await progress(*step)


class _BuildLog:
    """The end of a build's output, bounded in lines and bytes, however the output is cut into pieces."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=LOG_LINES)
        self._open = ""

    def add(self, text: str) -> tuple[str, float | None] | None:
        step = None
        *complete, rest = (self._open + text).split("\n")
        self._open = rest[-LOG_BYTES:]
        for line in complete:
            cleaned = line.rstrip()[-LOG_BYTES:]
            if not cleaned or cleaned.startswith((" ---> ", "Removing intermediate container")):
                continue
            self._lines.append(cleaned)
            if match := _STEP.match(cleaned):
                number, count, instruction = match.groups()
                step = (f"step {number} of {count}: {instruction[:120]}", (int(number) - 1) / int(count))
        return step

    def lines(self) -> list[str]:
        kept: deque[str] = deque()
        size = 0
        for line in reversed([*self._lines, self._open] if self._open else self._lines):
            size += len(line) + 1
            if size > LOG_BYTES:
                break
            kept.appendleft(line)
        return list(kept)


async def list_by_labels(engine: Engine, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """All tagged images that carry all these labels."""
    wanted = [f"{name}={value}" for name, value in labels.items()]
    answer: list[dict[str, Any]] = await engine.json(
        "GET", "images/json", params={"filters": {"label": wanted}}
    )
    return answer


async def tag(engine: Engine, image_id: str, reference: str) -> None:
    """Give an image a further tag."""
    repository, _, name = reference.rpartition(":")
    await engine.json("POST", f"images/{image_id}/tag", params={"repo": repository, "tag": name})


async def list_untagged(engine: Engine, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Images without a tag that carry all these labels, and that no other image is made of."""
    filters = {"dangling": ["true"], "label": [f"{name}={value}" for name, value in labels.items()]}
    answer: list[dict[str, Any]] = await engine.json("GET", "images/json", params={"filters": filters})
    return answer


async def remove(engine: Engine, reference: str, *, all_tags: bool = False) -> None:
    """Remove a tag, and the image with its last one; one that is gone or in use is left as it is.

    Args:
        engine: The Engine.
        reference: A tag, or an id.
        all_tags: Remove an image with several tags by its id.
    """
    path = f"images/{quote(reference, safe=':/@')}"
    try:
        await engine.json("DELETE", path, params={"force": all_tags})
    except EngineError as error:
        if not (error.not_found or error.conflict):
            raise
