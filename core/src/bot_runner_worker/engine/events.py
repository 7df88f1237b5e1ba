"""What happens to containers, as the Engine tells it; and since when it has been up."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from bot_runner_worker.engine.client import Engine

SILENCE_SECONDS = 60.0
"""A stream that says nothing for that long is opened anew: the other side may be gone without a word."""


@dataclass(frozen=True, slots=True)
class ContainerEvent:
    """Something that happened to a container.

    Args:
        action: ``create``, ``start``, ``kill``, ``oom``, ``die``, ``stop``, ``update``, ``destroy`` …
        container: Its id.
        at: When, in Unix seconds of the Engine's clock.
        attributes: Its labels and name, and what belongs to the action, such as ``exitCode``.
    """

    action: str
    container: str
    at: float
    attributes: Mapping[str, str]

    @property
    def exit_code(self) -> int:
        """The exit code of a ``die``."""
        code = self.attributes.get("exitCode", "")
        return int(code) if code.isdigit() else -1


async def container_events(
    engine: Engine, labels: Mapping[str, str], since: float
) -> AsyncGenerator[ContainerEvent, None]:
    """Yield what happens to containers with these labels, until the Engine ends the stream.

    The Engine keeps its last 256 events of any kind, as long as it runs; those are told first. After some
    silence the stream is opened anew, and the last event may be told again. Use :func:`contextlib.aclosing`,
    so that the connection is closed when the iteration is left.

    Args:
        engine: The Engine.
        labels: Labels that the containers carry.
        since: Tell what happened from this time on, in Unix seconds of the Engine's clock.

    Raises:
        EngineError: If the Engine refuses.
        Unavailable: If the Engine does not answer, or goes away.
    """
    filters = {"type": ["container"], "label": [f"{name}={value}" for name, value in labels.items()]}
    ended = False
    while not ended:
        params = {"since": f"{since:.9f}", "filters": filters}
        async with aclosing(engine.stream_json("GET", "events", params=params)) as lines:
            while True:
                try:
                    async with asyncio.timeout(SILENCE_SECONDS):
                        event = _event(await anext(lines))
                except TimeoutError:
                    break
                except StopAsyncIteration:
                    ended = True
                    break
                since = event.at
                if all(event.attributes.get(name) == value for name, value in labels.items()):
                    yield event


def _event(line: Mapping[str, Any]) -> ContainerEvent:
    actor = line.get("Actor") or {}
    return ContainerEvent(
        # A few actions carry a detail: "exec_create: ls", "health_status: healthy".
        action=str(line.get("Action", "")).partition(":")[0],
        container=str(actor.get("ID", "")),
        at=line.get("timeNano", 0) / 1_000_000_000,
        attributes=actor.get("Attributes") or {},
    )


async def current_run(engine: Engine) -> tuple[str, str]:
    """What tells the Engine's current run from others, and when it began, as the Engine writes times.

    Both come from the default bridge, which the Engine makes anew each time it starts: after it has ended
    what a killed one left running, and before it starts anything. One that keeps containers over its
    restarts (live-restore) keeps the bridge as well; one without a default bridge tells nothing (two empty
    strings).
    """
    for network in await engine.json("GET", "networks", params={"filters": {"name": ["bridge"]}}):
        if network["Name"] == "bridge":
            return network["Id"], network["Created"]
    return "", ""
