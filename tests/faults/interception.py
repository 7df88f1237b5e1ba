"""A proxy between a worker and the Engine (or the orchestrator): acts at the moment a given request passes.

A worker that talks through it can be killed at an exact point of its work, without a hook in the product: the
points are named by the Docker API's own calls.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import aiohttp
from aiohttp import web
from yarl import URL

Moment = Literal["before", "during", "after"]
"""``before``: the request does not reach the server. ``during``: it is being answered. ``after``: the server
has done it all, and the worker does not hear of it."""

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "host", "expect"}


@dataclass(frozen=True)
class Point:
    """A moment of a request.

    Args:
        moment: Where in the request.
        request: Method and path as a regular expression: ``POST /containers/create``.
        body: Text that the request's body holds; for small bodies only.
    """

    moment: Moment
    request: str
    body: str = ""

    def __str__(self) -> str:
        return f"{self.moment} {self.request}"


class Interceptor:
    """The proxy; use it as an asynchronous context manager.

    Args:
        upstream: ``unix:///…`` or ``http://…``.
        socket: Where to listen, if that is a Unix socket; otherwise on a free port of the loopback.
    """

    def __init__(self, upstream: str, socket: Path | None = None) -> None:
        self._upstream = upstream
        self._socket = socket
        self._trap: tuple[Point, Callable[[], None]] | None = None
        self._server = web.ServerRunner(web.Server(self._pass_on, handler_cancellation=True))

    async def __aenter__(self) -> Self:
        unix = self._upstream.startswith("unix://")
        path = self._upstream.removeprefix("unix://")
        connector = aiohttp.UnixConnector(path, limit=0) if unix else aiohttp.TCPConnector(limit=0)
        self._base = URL("http://docker" if unix else self._upstream)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=None), auto_decompress=False
        )
        await self._server.setup()
        if self._socket is None:
            await web.TCPSite(self._server, "127.0.0.1", 0).start()
        else:
            await web.UnixSite(self._server, str(self._socket)).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.cleanup()
        await self._session.close()

    @property
    def address(self) -> str:
        """Where it listens: ``unix:///…`` or ``http://…``."""
        if self._socket is not None:
            return f"unix://{self._socket}"
        return f"http://127.0.0.1:{self._server.addresses[0][1]}"

    @property
    def armed(self) -> bool:
        """Whether the point of :meth:`arm` was not passed yet."""
        return self._trap is not None

    def arm(self, point: Point, action: Callable[[], None]) -> None:
        """Call ``action`` the next time that this point is passed, once."""
        self._trap = (point, action)

    def disarm(self) -> None:
        """Forget the point."""
        self._trap = None

    async def _pass_on(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._exchange(request)
        except aiohttp.ClientError:
            # One of both sides is gone: so is the connection to the other.
            if request.transport is not None:
                request.transport.close()
            return web.Response(status=502)

    async def _exchange(self, request: web.BaseRequest) -> web.StreamResponse:
        body: bytes | aiohttp.StreamReader | None = request.content if request.can_read_body else None
        point = self._trap[0] if self._trap is not None else None
        if point is not None and not _passes(request, point):
            point = None
        if point is not None and point.body:
            body = await request.read()
            if point.body not in body.decode(errors="replace"):
                point = None
        if self._springs(point, "before"):
            return web.Response(status=500)
        url = self._base.join(URL(request.raw_path, encoded=True))
        headers = _end_to_end(request.headers)
        async with self._session.request(request.method, url, headers=headers, data=body) as answer:
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            response.headers.update(_end_to_end(answer.headers))
            if point is not None and point.moment == "after":
                rest = await answer.read()
                self._springs(point, "after")
                await response.prepare(request)
                await response.write(rest)
            else:
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    self._springs(point, "during")
                    await response.write(chunk)
            await response.write_eof()
        return response

    def _springs(self, point: Point | None, moment: Moment) -> bool:
        if point is None or point.moment != moment or self._trap is None or self._trap[0] is not point:
            return False
        action = self._trap[1]
        self._trap = None
        action()
        return True


def _passes(request: web.BaseRequest, point: Point) -> bool:
    """Whether a request is the point's, whatever version of the API it asks for."""
    path = re.sub(r"^/v1\.\d+", "", request.raw_path)
    return re.search(rf"^{point.request}(\?|$)", f"{request.method} {path}") is not None


def _end_to_end(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}
