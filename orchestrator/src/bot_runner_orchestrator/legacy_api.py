"""The older API that published clients speak (``tg-runner-cli`` 1.0.0), beside ours on the same paths.

A request of theirs is told by its header ``X-Avtomatika-Token``. It becomes one of ours on its way in and the
answer one of theirs on its way out: what lies behind, authentication, limits and redaction included, knows
nothing of it.

The client prints what it gets as Rich markup: a bot's log with a line such as ``[/start] from 42`` would end
it with a traceback, and ``[info]`` would not be seen. So texts are escaped here for exactly that.
"""

import json
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from avtomatika.utils.json import json_response
from multidict import CIMultiDict
from orjson import JSONDecodeError, dumps, loads
from rxon.constants import AUTH_HEADER_CLIENT, JOB_STATUS_FINISHED, TERMINAL_STATES

from .errors import Code, job_error


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
        wanted = {}  # of a stranger, who is told so
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
    # aiohttp clones no request whose body was read.
    body, request._read_bytes = request._read_bytes, None
    ours = request.clone(headers=headers)
    ours._read_bytes = body
    return ours


def _body(answer: web.StreamResponse) -> Any:
    return loads(answer.body) if isinstance(answer, web.Response) and isinstance(answer.body, bytes) else None


def _refused(status: int, code: Code, message: str, hint: str) -> web.Response:
    return json_response({"error": job_error(code, message, hint=hint, stage="request")}, status=status)


TOKEN_HEADER = "X-Avtomatika-Token"  # noqa: S105 - the header's name


def initial_data(request: Mapping[str, Any], token: str) -> dict[str, Any]:
    """The ``initial_data`` of our API for a request that the older one has as its whole body.

    Actions and fields have the same names. The client makes a ``user_id`` of its own out of its token; that
    one stands for the user that the token belongs to here. Any other is passed on, and judged as always.

    Args:
        request: The body.
        token: What the client shows.
    """
    own = request.get("user_id") == made_up_user(token)
    return {name: value for name, value in request.items() if not (own and name == "user_id")}


def made_up_user(token: str) -> str:
    """The ``user_id`` that the published client makes out of its token."""
    return f"cli_{sha256(token.encode(errors='surrogateescape')).hexdigest()[:16]}"


COMPLETED, FAILED, UNDER_WAY = "completed", "failed", "running"

_MARKUP_TAG = re.compile(r"(\\*)(\[[a-z#/@][^[\n]*?\])")
# What our own hints advise is not in that client's power.
_HINTS = {"BOT_ALREADY_RUNNING": "Use the command update to replace it, or stop it first."}


def job_answer(job: Mapping[str, Any]) -> dict[str, Any]:
    """A job of ours, as ``GET /api/jobs/{id}`` shows it, in the older form.

    Returns:
        ``current_state`` is ``completed`` or ``failed`` once it is over. A completed job has the task's
        data in ``state_history`` and, as one text for each field, in ``data.result``; a failed one has
        ``data.error``.
    """
    status = job.get("status")
    answer = {"job_id": job.get("id"), "status": status}
    if status not in TERMINAL_STATES:
        doing = str(job.get("progress_message") or UNDER_WAY)
        # A plugin is free to call a step of its own "completed"; the client would take it for the end.
        return answer | {"current_state": UNDER_WAY if doing in (COMPLETED, FAILED) else shown(doing)}
    result = job.get("result")
    result = result if isinstance(result, dict) else {}
    if status == JOB_STATUS_FINISHED:
        return answer | {
            "current_state": COMPLETED,
            "state_history": shown(result),
            "data": {"result": _texts(result)},
        }
    error = error_answer(result.get("error"))
    # For list, logs and status the client looks for the error inside of the error.
    return answer | {
        "current_state": FAILED,
        "state_history": {},
        "data": {"error": error | {"error": error}},
    }


def error_answer(error: Any) -> dict[str, Any]:
    """An error of ours with all its texts ready to be printed; its details are one text each."""
    error = error if isinstance(error, Mapping) else {}
    details = error.get("details")
    return {
        "code": str(error.get("code") or "ERROR"),
        "message": shown(str(error.get("message") or "The job failed.")),
        "hint": shown(_HINTS.get(str(error.get("code")), str(error.get("hint") or ""))),
        "details": _texts(details) if isinstance(details, Mapping) else {},
        "stage": str(error.get("stage") or ""),
    }


def shown(value: Any) -> Any:
    """A copy of JSON-like data whose texts Rich prints as they are."""
    if isinstance(value, str):
        return _MARKUP_TAG.sub(r"\1\1\\\2", value)
    if isinstance(value, Mapping):
        return {key: shown(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shown(item) for item in value]
    return value


def _texts(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields for one line each; the client would show lists and objects as Python does."""
    return {str(name): shown(_text(value)) for name, value in values.items()}


def _text(value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    if isinstance(value, (list, Mapping)):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return value
