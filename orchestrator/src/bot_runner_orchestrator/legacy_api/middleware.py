"""The only part of the older API that touches HTTP."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Middleware
from avtomatika.utils.json import json_response
from multidict import CIMultiDict
from orjson import JSONDecodeError, dumps, loads
from rxon.constants import AUTH_HEADER_CLIENT

from ..errors import Code, job_error
from .answers import error_answer, job_answer
from .requests import TOKEN_HEADER, initial_data

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def legacy_api(blueprint: str) -> Middleware:
    """A middleware that serves the older API's two requests: to post a job, and to look at one.

    Args:
        blueprint: Name of the blueprint, which is part of the path.
    """
    jobs = "/api/jobs/"

    @web.middleware
    async def serve_legacy_api(request: web.Request, handler: Handler) -> web.StreamResponse:
        token = request.headers.get(TOKEN_HEADER)
        if token is None or AUTH_HEADER_CLIENT in request.headers:
            return await handler(request)
        if request.method == "POST" and request.path == jobs + blueprint:
            return await _post_job(request, token, handler)
        if request.method == "GET" and request.path.startswith(jobs) and request.path.count("/") == 3:
            return await _look_at_job(request, token, handler)
        return await handler(request)  # which asks for our own header

    return serve_legacy_api


async def _post_job(request: web.Request, token: str, handler: Handler) -> web.StreamResponse:
    ours = _with_our_header(request, token)
    try:
        wanted = loads(await ours.read())
    except web.HTTPRequestEntityTooLarge:
        return _refused(
            413, Code.REQUEST_TOO_LARGE, "The request is too large.", "Let the worker fetch the code: --git."
        )
    except JSONDecodeError:
        wanted = None
    if not isinstance(wanted, dict):
        return _refused(400, Code.INVALID_FIELD, "The request is no JSON object.", 'Send {"action": "list"}.')
    # aiohttp has no public way to give a request another body; its own read() looks here first.
    ours._read_bytes = dumps({"initial_data": initial_data(wanted, token)})
    answer = await handler(ours)
    body = _body(answer)
    if answer.status == 401:
        return _refused(
            401, Code.UNAUTHORIZED, "The token is not known here.", "Check TG_RUNNER_TOKEN, or --token."
        )
    if answer.status >= 400 and isinstance(body, dict) and isinstance(body.get("error"), dict):
        wait = {name: answer.headers[name] for name in ("Retry-After",) if name in answer.headers}
        return json_response({"error": error_answer(body["error"])}, status=answer.status, headers=wait)
    return answer


async def _look_at_job(request: web.Request, token: str, handler: Handler) -> web.StreamResponse:
    answer = await handler(_with_our_header(request, token))
    body = _body(answer)
    return json_response(job_answer(body)) if answer.status == 200 and isinstance(body, dict) else answer


def _with_our_header(request: web.Request, token: str) -> web.Request:
    headers = CIMultiDict(request.headers)
    del headers[TOKEN_HEADER]
    headers[AUTH_HEADER_CLIENT] = token
    return request.clone(headers=headers)


def _body(answer: web.StreamResponse) -> Any:
    return loads(answer.body) if isinstance(answer, web.Response) and isinstance(answer.body, bytes) else None


def _refused(status: int, code: Code, message: str, hint: str) -> web.Response:
    return json_response({"error": job_error(code, message, hint=hint, stage="request")}, status=status)
