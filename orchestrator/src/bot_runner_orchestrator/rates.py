"""Rate limits of clients, and the errors of requests beyond them."""

from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from avtomatika.utils.json import json_response
from orjson import loads
from rxon.constants import AUTH_HEADER_CLIENT

from .clients import ClientDirectory
from .errors import Code, job_error
from .storage import BotRunnerStorage

_MINUTE = 60
_HTTP_TOO_MANY_REQUESTS = 429


def client_rates(storage: BotRunnerStorage, clients: ClientDirectory) -> Middleware:
    """Make a middleware that limits each client to its ``requests_per_minute``.

    Requests are counted over all its addresses, in periods of 60 s that begin with the first request.

    Args:
        storage: Keeps the counters; with Redis, all orchestrators count together.
        clients: Who has a rate.
    """

    @web.middleware
    async def count_requests(request: web.Request, handler: Handler) -> web.StreamResponse:
        client = clients.find(request.headers.get(AUTH_HEADER_CLIENT, ""))
        if client is None or not client.requests_per_minute:
            return await handler(request)
        counter = f"ratelimit:{client.identity}"
        if await storage.increment_key_with_ttl(counter, _MINUTE) > client.requests_per_minute:
            return _rate_limited(client.requests_per_minute, _MINUTE, await storage.get_ttl(counter))
        return await handler(request)

    return count_requests


def typed_refusals(storage: BotRunnerStorage, limit: int, period_seconds: int) -> Middleware:
    """A middleware that gives Avtomatika's own refusals of too many requests a code and a hint.

    Args:
        storage: Keeps the counters.
        limit: Requests of one address to one path, in each period.
        period_seconds: How long a period is.
    """

    @web.middleware
    async def explain(request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        if (
            answer.status != _HTTP_TOO_MANY_REQUESTS
            or request.path.startswith("/_worker")
            or not isinstance(reason := _error(answer), str)
        ):
            return answer
        if reason == "Too Many Requests":
            # The key is Avtomatika's: ratelimit.py.
            left = await storage.get_ttl(f"ratelimit:client:{request.remote or 'unknown'}:{request.path}")
            return _rate_limited(limit, period_seconds, left)
        return _quota_exceeded()

    return explain


def _error(answer: web.StreamResponse) -> Any:
    body = loads(answer.body) if isinstance(answer, web.Response) and isinstance(answer.body, bytes) else None
    return body.get("error") if isinstance(body, dict) else None


def _rate_limited(limit: int, period_seconds: int, seconds_left: int) -> web.Response:
    wait = seconds_left + 1 if 0 <= seconds_left < period_seconds else period_seconds
    # Below 500 bytes: Avtomatika compresses longer answers, and loses their headers.
    error = job_error(
        Code.RATE_LIMITED,
        f"Too many requests: {limit} are allowed in {period_seconds} s.",
        hint=f"Wait {wait} s, then send it again.",
        details={"limit": limit, "period_seconds": period_seconds, "retry_after_seconds": wait},
        stage="request",
    )
    return json_response({"error": error}, status=_HTTP_TOO_MANY_REQUESTS, headers={"Retry-After": str(wait)})


def _quota_exceeded() -> web.Response:
    error = job_error(
        Code.CLIENT_QUOTA_EXCEEDED,
        "This client's quota of requests is used up.",
        hint="Ask the operator for more (monthly_attempts).",
        stage="request",
    )
    return json_response({"error": error}, status=_HTTP_TOO_MANY_REQUESTS)
