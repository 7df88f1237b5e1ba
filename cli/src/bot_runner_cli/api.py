"""The orchestrator's HTTP API: the only module that speaks HTTP.

Source of fact: ``avtomatika`` 1.0b30, ``api/handlers.py``, ``security.py``, ``ratelimit.py``, ``quota.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self

import httpx

from bot_runner_cli import __version__
from bot_runner_cli.connection import Connection
from bot_runner_cli.errors import (
    AccessError,
    CliError,
    RequestError,
    TemporaryError,
    UnreachableError,
    UsageError,
)

BLUEPRINT = "bot_runner"
_TERMINAL = frozenset({"finished", "failed", "quarantined", "cancelled", "error"})
_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
# A proxy from the environment is for the outer world, never for an orchestrator on this machine.
_WITHOUT_PROXY: dict[str, httpx.BaseTransport | None] = {
    f"all://{host}": None for host in ("localhost", "127.0.0.1", "[::1]")
}


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the orchestrator shows it.

    Attributes:
        progress: Share that is done, 0 to 1.
        progress_message: What is being done, for people.
    """

    status: str
    progress: float | None
    progress_message: str
    result: Any

    @property
    def is_over(self) -> bool:
        """Whether the job is in one of its end states."""
        return self.status in _TERMINAL

    def data(self) -> dict[str, Any]:
        """What a job that is over has brought.

        Raises:
            RequestError: The job ended with an error.
        """
        result = self.result if isinstance(self.result, dict) else {}
        error = result.get("error")
        if isinstance(error, Mapping):
            raise RequestError.from_answer(error)
        if self.status != "finished":
            # An orchestrator without our blueprint's care ends some jobs without saying why.
            reason = f" ({error})" if isinstance(error, str) else ""
            raise RequestError("JOB_FAILED", f"The job ended as {self.status} without saying why{reason}.")
        return result


class Orchestrator:
    """A client of one orchestrator; close it, or use it as a context manager.

    Every method raises:
        UnreachableError: No answer.
        AccessError: The token is refused, or no orchestrator answers.
        TemporaryError: Rate limit (with ``retry_after``) or a server error.
        RequestError: Any other refusal.
        UsageError: The request cannot be put into JSON.
    """

    def __init__(self, connection: Connection) -> None:
        self._url = connection.url
        self._http = httpx.Client(
            base_url=connection.url,
            headers={"X-Client-Token": connection.token, "User-Agent": f"bot-runner-cli/{__version__}"},
            timeout=_TIMEOUT,
            mounts=_WITHOUT_PROXY,
            # A redirect must not take the token to another host.
            follow_redirects=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def submit(self, initial_data: Mapping[str, Any]) -> str:
        """Create a job and return its id."""
        body = self._request("POST", f"/api/jobs/{BLUEPRINT}", {"initial_data": initial_data})
        job_id = body.get("job_id")
        if not isinstance(job_id, str):
            raise self._no_orchestrator("its answer has no job_id")
        return job_id

    def job(self, job_id: str) -> Job:
        """Look at a job."""
        body = self._request("GET", f"/api/jobs/{job_id}")
        progress = body.get("progress")
        return Job(
            status=str(body.get("status", "")),
            progress=float(progress) if isinstance(progress, (int, float)) else None,
            progress_message=str(body.get("progress_message") or ""),
            result=body.get("result"),
        )

    def cancel(self, job_id: str) -> bool:
        """Cancel a job; ``False`` if it was over already."""
        try:
            self._request("POST", f"/api/jobs/{job_id}/cancel")
        except RequestError:
            return False
        return True

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        try:
            request = self._http.build_request(method, path, json=body)
        except ValueError as error:
            # Not a number, infinite, or bytes of the command line that are no text.
            raise UsageError("The request holds a number or a text that JSON cannot carry.") from error
        try:
            response = self._http.send(request)
        except httpx.TransportError as error:
            raise UnreachableError(
                "UNREACHABLE",
                f"The orchestrator at {self._url} does not answer: {_cause(error)}.",
                hint="Check --url or BOT_RUNNER_URL, and that the orchestrator runs.",
            ) from error
        if not response.is_success:
            raise self._refusal(response)
        try:
            answer = response.json()
        except ValueError:
            raise self._no_orchestrator("its answer is not JSON") from None
        if not isinstance(answer, dict):
            raise self._no_orchestrator("its answer is not a JSON object")
        return answer

    def _refusal(self, response: httpx.Response) -> CliError:
        status, reason = response.status_code, _reason(response)
        if status in (401, 403):
            return AccessError(
                "UNAUTHORIZED",
                f"The orchestrator at {self._url} refuses the token: {reason}",
                hint="Check BOT_RUNNER_TOKEN.",
            )
        if status == 429 and "quota" in reason.lower():
            return RequestError("REQUEST_QUOTA_EXCEEDED", "The token's quota of requests is used up.")
        if status == 429:
            return TemporaryError(
                "RATE_LIMITED",
                "The orchestrator takes no more requests for now.",
                hint="Wait a minute and try again.",
                retry_after=_retry_after(response),
            )
        if status == 413:
            return RequestError(
                "REQUEST_TOO_LARGE",
                "The request is larger than the orchestrator accepts.",
                hint="Let the worker fetch it: --git URL, or --custom with the URL of an archive.",
            )
        if status >= 500:
            return TemporaryError(
                "SERVICE_ERROR",
                f"The orchestrator at {self._url} fails: {reason}",
                retry_after=_retry_after(response),
            )
        if status == 404 and response.request.url.path.endswith(f"/api/jobs/{BLUEPRINT}"):
            return self._no_orchestrator(f"it has no {BLUEPRINT} blueprint")
        if response.is_redirect:
            return self._no_orchestrator(f"it redirects to {response.headers.get('location')}")
        return RequestError("REQUEST_REFUSED", f"The orchestrator refuses the request: {reason}")

    def _no_orchestrator(self, why: str) -> AccessError:
        return AccessError(
            "NOT_AN_ORCHESTRATOR",
            f"What answers at {self._url} is no orchestrator for bots: {why}.",
            hint="Check --url or BOT_RUNNER_URL.",
        )


def _cause(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    return str(error) or type(error).__name__


def _reason(response: httpx.Response) -> str:
    try:
        answer = response.json()
    except ValueError:
        answer = None
    reason = answer.get("error") if isinstance(answer, dict) else None
    if isinstance(reason, dict):
        reason = reason.get("message")
    if not isinstance(reason, str):
        is_page = "html" in response.headers.get("content-type", "")
        reason = "" if is_page else response.text.strip()
    return reason[:300] or f"{response.status_code} {response.reason_phrase}"


def _retry_after(response: httpx.Response) -> float | None:
    """RFC 9110, 10.2.3: seconds, or a date."""
    value = response.headers.get("retry-after", "")
    if value.isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
