"""Bodies of requests: who may send how much at once, and what JSON is too much for all behind it."""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from avtomatika.utils.json import json_response

from .errors import Code, job_error

DEEPEST = 20
"""Arrays and objects inside of each other. Avtomatika fails at 30 (rxon.utils), in the middle of a job."""

MOST_VALUES = 100_000
"""Values in one body: a body of empty arrays takes twenty times its size once it is read."""

_OF_STRANGERS = 16 * 1024
UNCOUNTED = 32 * 1024
"""Bytes of a body that is always taken: what is no upload is answered whoever uploads."""
_SECONDS = 300.0
"""Time for a whole body; whoever lets it drip holds his own share for so long."""
_RETRY_AFTER_SECONDS = 5

WORKER = "worker"
"""The sender of a worker's message, which is always taken; clients' identities begin with ``client:``."""

# Always matches to the end of the text, so that it takes linear time also where the last quote is missing.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")


class BodiesUnderWay:
    """Counts the bytes of requests that are not answered yet.

    Args:
        in_all: Bytes of all senders together.
        largest: Bytes of the largest body, which fits at any time if nothing else is under way.
    """

    def __init__(self, in_all: int, largest: int) -> None:
        self._in_all = max(in_all, largest)
        # One sender leaves room for the others.
        self._of_one = max(self._in_all // 2, largest)
        self._bytes: Counter[str] = Counter()

    @contextmanager
    def counted(self, sender: str, size: int) -> Iterator[bool]:
        """Count a body while the block runs; yields whether there is room for it."""
        if size <= UNCOUNTED:
            yield True
            return
        if self._bytes[sender] + size > self._of_one or self._bytes.total() + size > self._in_all:
            yield False
            return
        self._bytes[sender] += size
        try:
            yield True
        finally:
            self._bytes -= Counter({sender: size})


def bounded_bodies(sender_of: Callable[[web.Request], str | None], in_all: int, largest: int) -> Middleware:
    """A middleware that reads bodies, as far as there is room for them.

    Args:
        sender_of: Who sends the request: a client's identity, :data:`WORKER`, or ``None`` for a stranger, of
            whom hardly anything is read.
        in_all: Bytes of all clients' bodies that are under way; one client may have half of them.
        largest: Bytes of the largest body.
    """
    under_way = BodiesUnderWay(in_all, largest)

    @web.middleware
    async def bound_body(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.body_exists:
            return await handler(request)
        sender = sender_of(request)
        if sender == WORKER:
            # Not read here: the SDK's listener takes a body that was read for none at all.
            return await handler(request.clone(client_max_size=largest))
        limit = min(largest, _OF_STRANGERS) if sender is None else largest
        size = request.content_length
        if size is None or "Content-Encoding" in request.headers:
            # It may become as large as any.
            size = limit
        request = request.clone(client_max_size=limit)
        if size > limit:
            # What a stranger is told does not depend on the body.
            return await handler(request) if sender is None else _too_large(limit)
        with under_way.counted(sender or "", size) as there_is_room:
            return await _read(request, handler, limit) if there_is_room else _no_room()

    return bound_body


async def _read(request: web.Request, handler: Handler, limit: int) -> web.StreamResponse:
    try:
        async with asyncio.timeout(_SECONDS):
            problem = json_problem(await request.read())
    except web.HTTPRequestEntityTooLarge:
        return _too_large(limit)
    except TimeoutError:
        return _refused(408, Code.INVALID_FIELD, "The request did not arrive in time.", "Send it again.")
    if problem:
        hint = "Send what the action needs: few fields, with texts in them."
        return _refused(400, Code.INVALID_FIELD, f"The request's JSON {problem}.", hint)
    return await handler(request)


def json_problem(body: bytes) -> str | None:
    """What is too much about JSON, without reading it; ``None`` for all other text, right or wrong."""
    marks = (b"[", b"{", b",")
    if sum(map(body.count, marks)) <= DEEPEST:
        return None
    structure = _STRING.sub(b"", body)
    if sum(map(structure.count, marks)) > MOST_VALUES:
        return f"has more than {MOST_VALUES} values"
    depth = 0
    for bracket in _BRACKET.findall(structure):
        depth += 1 if bracket in b"[{" else -1
        if depth > DEEPEST:
            return f"is nested more than {DEEPEST} deep"
    return None


def text_size(value: Any) -> int:
    """Roughly the memory that the texts of JSON-like data take, in bytes."""
    size, rest = 0, [value]
    while rest:
        each = rest.pop()
        if isinstance(each, str):
            size += len(each)
        elif isinstance(each, Mapping):
            rest += [*each.keys(), *each.values()]
        elif isinstance(each, list):
            rest += each
    return size


def _no_room() -> web.Response:
    problem = job_error(
        Code.TOO_MANY_REQUESTS,
        "Too many large requests are under way.",
        hint=f"Wait {_RETRY_AFTER_SECONDS} s, then send it again; or let the worker fetch the code.",
        details={"retry_after_seconds": _RETRY_AFTER_SECONDS},
        stage="request",
    )
    headers = {"Retry-After": str(_RETRY_AFTER_SECONDS)}
    return json_response({"error": problem}, status=503, headers=headers)


def _too_large(limit: int) -> web.Response:
    return _refused(
        413,
        Code.REQUEST_TOO_LARGE,
        f"The request is larger than {limit // 1024} KiB.",
        "Let the worker fetch the code, from git or an address.",
    )


def _refused(status: int, code: Code, message: str, hint: str) -> web.Response:
    return json_response({"error": job_error(code, message, hint=hint, stage="request")}, status=status)
