"""Connections to a Docker Engine, with time limits and mapped errors."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Any

import aiodocker
import aiohttp

from bot_runner_worker.model.errors import Code, Unavailable

API_TIMEOUT = 60.0
"""Seconds that an ordinary call may take; the Engine answers most within milliseconds."""

_CONNECTION_ERROR = 900  # aiodocker's own status for "cannot connect"


class EngineError(Exception):
    """The Engine answered with an error.

    Args:
        status: HTTP status; 0 for an error inside a stream.
        message: The Engine's message. It may quote the request, so it is redacted before it is shown.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{message} (status {status})")
        self.status = status
        self.message = message

    @property
    def not_found(self) -> bool:
        """Whether the object is gone."""
        return self.status == 404

    @property
    def conflict(self) -> bool:
        """Whether a name is taken, or the object's state does not allow the call."""
        return self.status == 409

    @property
    def disk_full(self) -> bool:
        """Whether the Engine's disk has no room left for what the call would write."""
        return "no space left on device" in self.message.lower()


ENGINE_TROUBLE = (EngineError, Unavailable)
"""The errors that any call may raise."""


class Engine:
    """A Docker Engine; use it as an asynchronous context manager.

    aiodocker is the transport. Its classes for objects are not used, since they lack limits for builds,
    updates of containers, and closing of streams that are left early.

    Args:
        address: ``unix:///var/run/docker.sock``, ``tcp://host:2375`` …
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.permit: Callable[[], Awaitable[None]] | None = None
        """Awaited before each request that may change something; it raises if this process must not."""
        self._docker: aiodocker.Docker | None = None
        self._connecting = asyncio.Lock()
        self._platform = ""
        self._cpus = 0

    async def __aenter__(self) -> "Engine":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._docker is not None:
            await self._docker.close()
            self._docker = None

    async def _client(self) -> aiodocker.Docker:
        if self._docker is None:
            try:
                self._docker = aiodocker.Docker(
                    self.address,
                    timeout=aiohttp.ClientTimeout(total=API_TIMEOUT, connect=10),
                )
            except ValueError as error:
                raise self._unavailable(str(error)) from error
        if self._docker.api_version == "auto":
            # aiodocker would ask once for each of the first concurrent calls.
            async with self._connecting:
                await self._docker._check_version()
        return self._docker

    def _unavailable(self, reason: str) -> Unavailable:
        return Unavailable(
            Code.ENGINE_UNAVAILABLE,
            f"The Docker Engine at {self.address} does not answer.",
            hint="Try again later; the operator finds out more with bot-runner-worker doctor.",
            details={"reason": reason[:500]},
        )

    @asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        seconds: float | None = API_TIMEOUT,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request; yields its response, which is closed when the block ends.

        Args:
            method: HTTP method.
            path: Path below the API version, such as ``containers/create``.
            params: Query parameters; ``None`` values are left out.
            data: Body: bytes or an asynchronous iterator of bytes.
            headers: Further headers.
            seconds: Time limit of the whole exchange; ``None`` for a stream that the caller bounds.

        Raises:
            EngineError: If the Engine answers with an error.
            Unavailable: ``ENGINE_UNAVAILABLE`` if it does not answer.
        """
        query = {name: _text(value) for name, value in (params or {}).items() if value is not None}
        try:
            client = await self._client()
            if self.permit is not None and method not in ("GET", "HEAD"):
                await self.permit()
            response = await client._do_query(
                path,
                method,
                params=query,
                data=data,
                headers=dict(headers or {}),
                timeout=aiohttp.ClientTimeout(total=seconds, connect=10),
            )
        except aiodocker.DockerError as error:
            if error.status == _CONNECTION_ERROR:
                raise self._unavailable(error.message) from error
            raise EngineError(error.status, error.message) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unavailable(f"{type(error).__name__}: {error}") from error
        try:
            yield response
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unavailable(f"{type(error).__name__}: {error}") from error
        finally:
            # release() would keep a half-read stream open, and 100 of them block the whole client.
            response.close() if not response.content.at_eof() else response.release()

    async def json(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        seconds: float = API_TIMEOUT,
        ignored: Collection[int] = (),
    ) -> Any:
        """Send a request with an optional JSON body; returns the JSON answer, if any.

        See :meth:`request` for the other arguments and errors.

        Args:
            ignored: Statuses of errors that are answered with ``None``, such as 404.
        """
        data = None if body is None else json.dumps(body).encode()
        try:
            async with self.request(method, path, params=params, data=data, seconds=seconds) as response:
                text = await response.read()
        except EngineError as error:
            if error.status in ignored:
                return None
            raise
        return json.loads(text) if text else None

    async def stream_json(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        max_line: int = 1024 * 1024,
        on_open: Callable[[Callable[[], None]], None] | None = None,
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the JSON objects of a stream (build, pull, events), one a line.

        The stream has no time limit of its own: use :func:`asyncio.timeout`. The connection is closed when
        the iteration ends early, which ends a classic build within a second; use
        :func:`contextlib.aclosing`, so that this does not wait for the garbage collector.

        Args:
            max_line: A line longer than this many bytes is dropped.
            on_open: Called when the stream begins, with a function that hangs up: the Engine takes that for
                the client's end (Go, ``net/http``, ``connReader.backgroundRead``), but what it still sends
                is yielded.
        """
        async with self.request(
            method, path, params=params, data=data, headers=headers, seconds=None
        ) as response:
            if on_open is not None:
                on_open(partial(_hang_up, response))
            buffer = bytearray()
            skipping = False
            async for chunk in response.content.iter_any():
                buffer += chunk
                *lines, rest = bytes(buffer).split(b"\n")
                buffer = bytearray(rest)
                for line in lines:
                    if skipping:
                        skipping = False
                    elif line.strip():
                        yield json.loads(line)
                if len(buffer) > max_line:
                    buffer.clear()
                    skipping = True
            if buffer.strip() and not skipping:
                yield json.loads(buffer)

    async def platform(self) -> str:
        """The platform of its containers, such as ``linux/amd64``."""
        if not self._platform:
            answer = await self.version()
            self._platform = f"{answer['Os']}/{answer['Arch']}"
        return self._platform

    async def cpus(self) -> int:
        """The number of its machine's CPUs."""
        if not self._cpus:
            self._cpus = int((await self.json("GET", "info"))["NCPU"])
        return self._cpus

    async def id(self) -> str:
        """What it calls itself (``GET /info``, ``ID``): another one after it was installed anew, the same in
        copies of one virtual machine."""
        return str((await self.json("GET", "info", seconds=10)).get("ID") or "")

    async def time(self) -> datetime:
        """The time by its clock, which may differ from this machine's."""
        info = await self.json("GET", "info")
        return datetime.fromisoformat(info["SystemTime"])

    async def version(self) -> dict[str, Any]:
        """The Engine's answer to ``GET /version``."""
        answer: dict[str, Any] = await self.json("GET", "version", seconds=10)
        return answer


def _hang_up(response: aiohttp.ClientResponse) -> None:
    connection = response.connection
    if connection is not None and connection.transport is not None and connection.transport.can_write_eof():
        # Nothing else can be sent over it.
        if connection.protocol is not None:
            connection.protocol.force_close()
        connection.transport.write_eof()


def label_filter(labels: Mapping[str, str]) -> list[str]:
    """A filter of the API for objects that carry all these labels."""
    return [f"{name}={value}" for name, value in labels.items()]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)
