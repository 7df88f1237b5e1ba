"""API calls for registries, to which the Engine itself connects."""

import asyncio
import json
from contextlib import aclosing
from dataclasses import dataclass
from time import monotonic
from typing import Any
from urllib.parse import quote

from bot_runner_worker.engine.client import Engine, EngineError
from bot_runner_worker.model.image import Progress

ASK_TIMEOUT = 30.0
"""Seconds for the Engine to look a reference up in a registry: several requests, with a login among them."""

_REPORT_INTERVAL = 0.5
_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class RemoteImage:
    """What a registry says about a reference.

    Args:
        digest: Of the manifest, or of the list of manifests: ``sha256:…``.
        platforms: ``linux/amd64`` and the like, as far as the registry says.
    """

    digest: str
    platforms: tuple[str, ...]


async def describe(engine: Engine, reference: str, headers: dict[str, str]) -> RemoteImage:
    """Look up a reference in its registry; nothing is pulled.

    Args:
        engine: The Engine, which asks.
        reference: With its registry.
        headers: Those of :class:`RegistryAuth`, or none.

    Raises:
        EngineError: With what failed between Engine and registry.
    """
    path = f"distribution/{quote(reference, safe=':/@')}/json"
    try:
        async with (
            asyncio.timeout(ASK_TIMEOUT),
            engine.request("GET", path, headers=headers, seconds=None) as response,
        ):
            answer: dict[str, Any] = json.loads(await response.read())
    except TimeoutError as error:
        raise EngineError(0, f"the registry did not answer within {ASK_TIMEOUT:.0f} seconds") from error
    platforms = [
        f"{each.get('os', '')}/{each.get('architecture', '')}" for each in answer.get("Platforms") or []
    ]
    return RemoteImage(answer["Descriptor"]["digest"], tuple(platforms))


class TooLarge(Exception):
    """The layers of an image are larger than allowed.

    Args:
        size: Compressed bytes that are known of so far.
    """

    def __init__(self, size: int) -> None:
        super().__init__(f"at least {size} bytes")
        self.size = size


async def pull(
    engine: Engine,
    repository: str,
    version: str,
    *,
    headers: dict[str, str],
    max_size: int | None,
    progress: Progress,
) -> None:
    """Pull an image; a cancelled call ends the pull.

    Args:
        engine: The Engine, which pulls.
        repository: With its registry.
        version: Tag or digest.
        headers: Those of :class:`RegistryAuth`, or none.
        max_size: Compressed bytes, ``None`` for any number.
        progress: Called with the megabytes about twice a second.

    Raises:
        EngineError: With the status of the answer, or 0 for an error inside the stream.
        TooLarge: As soon as the known layers add up to more than ``max_size``.
    """
    layers = _Layers()
    reported = monotonic()
    lines = engine.stream_json(
        "POST", "images/create", params={"fromImage": repository, "tag": version}, headers=headers
    )
    async with aclosing(lines):
        async for line in lines:
            if "error" in line:
                raise EngineError(0, str(line["error"]))
            layers.add(line)
            if max_size is not None and layers.total > max_size:
                raise TooLarge(layers.total)
            if layers.total and monotonic() - reported > _REPORT_INTERVAL:
                reported = monotonic()
                await progress(layers.words(), layers.loaded / layers.total)


class _Layers:
    """How much of an image's layers is loaded, by the lines of a pull."""

    def __init__(self) -> None:
        self._totals: dict[str, int] = {}
        self._loaded: dict[str, int] = {}

    def add(self, line: dict[str, Any]) -> None:
        layer, status = str(line.get("id", "")), line.get("status")
        detail = line.get("progressDetail") or {}
        # "Extracting" counts the same bytes once more.
        if status == "Downloading" and detail:
            self._loaded[layer] = int(detail.get("current", 0))
            # A registry need not say how large a layer is.
            self._totals[layer] = max(int(detail.get("total", 0)), self._loaded[layer])
        elif status in ("Download complete", "Verifying Checksum", "Pull complete") and layer in self._totals:
            self._loaded[layer] = self._totals[layer]

    @property
    def total(self) -> int:
        return sum(self._totals.values())

    @property
    def loaded(self) -> int:
        return min(sum(self._loaded.values()), self.total)

    def words(self) -> str:
        return f"pulled {self.loaded / _MEGABYTE:.1f} of {self.total / _MEGABYTE:.1f} MB"
