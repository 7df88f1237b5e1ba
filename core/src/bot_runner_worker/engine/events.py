"""The Engine's events about containers, and the time of its last start."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from bot_runner_worker.engine.client import Engine, label_filter

SILENCE_SECONDS = 60.0
"""A stream that is silent for that long is opened again: the other side may be gone unnoticed."""


@dataclass(frozen=True, slots=True)
class ContainerEvent:
    """An event of a container.

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

    def has_labels(self, labels: Mapping[str, str]) -> bool:
        """Whether the container carries exactly these values."""
        return all(self.attributes.get(name) == value for name, value in labels.items())


async def container_events(
    engine: Engine, labels: Mapping[str, str], since: float
) -> AsyncGenerator[ContainerEvent, None]:
    """Yield the events of containers with these labels until the stream ends.

    The Engine keeps its last 256 events of any kind, as long as it runs; those come first. After some
    silence the stream is opened again, and the last event may be repeated. Use :func:`contextlib.aclosing`,
    so that the connection is closed when the iteration ends early.

    Args:
        engine: The Engine.
        labels: Labels that the containers carry.
        since: Time of the first event, in Unix seconds of the Engine's clock.

    Raises:
        EngineError: If the Engine refuses.
        Unavailable: If the Engine does not answer, or goes away.
    """
    filters = _filters(labels)
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
                if event.has_labels(labels):
                    yield event


def _filters(labels: Mapping[str, str]) -> dict[str, list[str]]:
    return {"type": ["container"], "label": label_filter(labels)}


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
    """The id of the Engine's current run, and its begin as the Engine writes times.

    Both come from the default bridge, which the Engine creates again each time it starts: after it has ended
    what a killed one left running, and before it starts anything. An Engine that keeps containers over its
    restarts (live-restore) keeps the bridge as well; for one without a default bridge, both are empty.
    """
    for network in await engine.json("GET", "networks", params={"filters": {"name": ["bridge"]}}):
        if network["Name"] == "bridge":
            return network["Id"], network["Created"]
    return "", ""
