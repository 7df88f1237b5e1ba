"""Middlewares around Avtomatika's HTTP API."""

import asyncio
import re
from collections.abc import Callable, Mapping
from hmac import compare_digest
from logging import getLogger
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from avtomatika.utils.json import json_response
from orjson import loads
from rxon.constants import AUTH_HEADER_CLIENT, AUTH_HEADER_WORKER, AUTH_HEADER_WORKER_ID
from rxon.security import extract_cert_identity

from .bodies import WORKER, bounded_bodies
from .clients import ClientDirectory
from .errors import Code, job_error
from .legacy_api import TOKEN_HEADER, legacy_api
from .rates import client_rates
from .redis_storage import is_redis_trouble
from .storage import BotRunnerStorage, engine_of

logger = getLogger(__name__)

_RETRY_AFTER_SECONDS = 2
_PROGRESS = ("progress", "progress_message")
_SHOWN_OF_WORKERS = ("worker_id", "worker_type", "status", "reputation")
_SHOWN_OF_SKILLS = ("name", "description", "version", "properties")


def open_routes(blueprint: str) -> re.Pattern[str]:
    """Method and path of each route that is open; Avtomatika has others.

    An approval would move a job to any of its states without a worker; its administration is the operator's;
    graphs, dashboards and lists of jobs start programs or read through everybody's history; its files are
    not used here.
    """
    return re.compile(
        rf"(GET|HEAD) /_public/status|POST /api/jobs/{blueprint}|(GET|HEAD) /api/workers"
        r"|(GET|HEAD) /api/jobs/(?!quarantined)[^/]+(/history)?|POST /api/jobs/[^/]+/cancel"
        r"|[A-Z]+ /_worker/.*"
    )


def bot_runner_middlewares(
    storage: BotRunnerStorage,
    clients: ClientDirectory,
    blueprint: str,
    sender_of: Callable[[web.Request], str | None],
    max_request_bytes: int,
    max_requests_bytes: int,
) -> list[Middleware]:
    """The middlewares, outermost first.

    Args:
        storage: Where jobs are kept.
        clients: Who may use the API.
        blueprint: Name of the blueprint.
        sender_of: Who sends a request, see :func:`.bodies.bounded_bodies`.
        max_request_bytes: Largest body; aiohttp's own limit, 1 MiB, is too small for archives.
        max_requests_bytes: All bodies that are under way.
    """
    opened = open_routes(blueprint)

    @web.middleware
    async def finish_what_is_begun(request: web.Request, handler: Handler) -> web.StreamResponse:
        # The server cancels a request whose client has gone: right for a worker's poll, which would swallow
        # a task, wrong for a job that is saved but not queued yet.
        if request.method in ("GET", "HEAD"):
            return await handler(request)
        return await asyncio.shield(asyncio.ensure_future(handler(request)))

    @web.middleware
    async def closed_routes(request: web.Request, handler: Handler) -> web.StreamResponse:
        if opened.fullmatch(f"{request.method} {request.path}") is None:
            raise web.HTTPNotFound
        return await handler(request)

    @web.middleware
    async def job_progress(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        job_id = _job_id(request)
        if job_id is None or not isinstance(response, web.Response) or response.status != 200:
            return response
        state = await storage.get_job_state(job_id) or {}
        progress = {name: state[name] for name in _PROGRESS if state.get(name) is not None}
        return json_response(_body(response) | progress) if progress else response

    @web.middleware
    async def worker_list(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        if request.path != "/api/workers" or not isinstance(response, web.Response) or response.status != 200:
            return response
        return json_response([_worker_view(worker) for worker in await storage.live_workers()])

    return [
        closed_routes,
        bounded_bodies(sender_of, max_requests_bytes, max_request_bytes),
        finish_what_is_begun,
        legacy_api(blueprint),
        storage_trouble,
        client_rates(storage, clients),
        job_progress,
        worker_list,
    ]


@web.middleware
async def storage_trouble(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer 503 with a code, not 500 without words, while Redis is away."""
    try:
        return await handler(request)
    except Exception as error:
        if not is_redis_trouble(error):
            raise
        logger.warning("Redis is away; a request to %s was not served: %s", request.path, error)
    problem = job_error(
        Code.STORAGE_UNAVAILABLE,
        "The orchestrator cannot use its storage at the moment.",
        hint=f"Wait {_RETRY_AFTER_SECONDS} s, then send it again.",
        details={"retry_after_seconds": _RETRY_AFTER_SECONDS},
        stage="request",
    )
    headers = {"Retry-After": str(_RETRY_AFTER_SECONDS)}
    return json_response({"error": problem}, status=503, headers=headers)


def senders(
    clients: ClientDirectory, worker_token: Callable[[str], str | None]
) -> Callable[[web.Request], str | None]:
    """Who sends a request, by what it shows before anything of its body is read.

    Args:
        clients: Who may use the API.
        worker_token: The token that the worker with this id must show.
    """

    def sender_of(request: web.Request) -> str | None:
        headers = request.headers
        if request.path.startswith("/_worker/"):
            expected = worker_token(headers.get(AUTH_HEADER_WORKER_ID, "")) or ""
            shown = headers.get(AUTH_HEADER_WORKER, "")
            has_token = expected and compare_digest(shown.encode(), expected.encode())
            return WORKER if has_token or extract_cert_identity(request) else None
        token = headers.get(AUTH_HEADER_CLIENT) or headers.get(TOKEN_HEADER) or ""
        client = clients.find(token)
        return client.identity if client else None

    return sender_of


def _job_id(request: web.Request) -> str | None:
    match request.path.split("/"):
        case ["", "api", "jobs", job_id] if request.method == "GET" and "fields" not in request.query:
            return job_id
    return None


def _body(response: web.Response) -> dict[str, Any]:
    body = loads(response.body) if isinstance(response.body, bytes) else {}
    return body if isinstance(body, dict) else {}


def _worker_view(worker: Mapping[str, Any]) -> dict[str, Any]:
    """What any client may know of a worker; signatures, addresses and resources are not among it."""
    view = {"status": "idle"} | {name: worker[name] for name in _SHOWN_OF_WORKERS if name in worker}
    view["engine"] = engine_of(worker)
    view["supported_skills"] = [
        {name: skill[name] for name in _SHOWN_OF_SKILLS if skill.get(name) is not None}
        for skill in worker.get("supported_skills") or []
    ]
    return view
