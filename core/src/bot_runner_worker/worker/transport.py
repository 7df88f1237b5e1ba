"""The SDK's transport with retries, and a queue of events: both survive outages of the orchestrator.

What the SDK (avtomatika-worker 1.0b20, rxon 1.0b17) does by itself, and why it is not enough:

- Results are given up after about 90 s. Each message carries a time and a signature over it, and the
  orchestrator refuses what is older than 60 s: what was held back has to be signed anew.
- An event that is not delivered at once is dropped.
- An answer of 5xx, as of an orchestrator whose Redis is gone, counts as no network error: it is asked again
  20 times a second.
- Most requests wait for an answer for five minutes.
- After a 401 it changes to tokens that the orchestrator issues, and is locked out for good by an
  orchestrator that has forgotten them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from json import loads
from time import monotonic, time
from typing import Any, TypeVar

from aiohttp import ClientTimeout
from msgspec.structs import replace
from rxon.constants import ENDPOINT_TASK_RESULT, ENDPOINT_WORKER_EVENTS
from rxon.exceptions import RxonError, RxonNetworkError, RxonProtocolError, RxonRateLimitError
from rxon.models import (
    SecurityContext,
    TaskResult,
    TokenResponse,
    WorkerEventPayload,
    WorkerRegistration,
)
from rxon.transports.http import HttpTransport

from bot_runner_worker.aio import backoff
from bot_runner_worker.diagnostics.results import CheckResult, failed, ok, orchestrator_gone

logger = logging.getLogger(__name__)

Message = TypeVar("Message", TaskResult, WorkerEventPayload)

REQUEST_SECONDS = 10.0
"""Time limit of a request that is no poll."""

ENGINE = "engine"
"""Among a worker's capabilities: the id of its Engine. The orchestrator refuses workers of a second one."""

_REFUSED = 409
"""Status of a registration that is refused with a sentence for the operator."""

RECENTLY = 45.0
"""Seconds after the last answer for which the orchestrator counts as within reach."""

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 10.0
"""Seconds between two tries while the orchestrator is away, so that it is found soon after its return."""

CAPACITY = 1000
"""Events that wait for an orchestrator that is away; after that the oldest are dropped."""

REFUSALS = 10
"""Times that a message is refused before it is given up: a clock that is wrong for a minute is no reason."""


class OrchestratorTransport(HttpTransport):
    """The SDK's HTTP transport with retries; see the module.

    Args:
        sign: Makes the security context of a message; the second argument names the unsigned fields.
        **arguments: Those of the SDK's transport.
    """

    def __init__(self, *, sign: Callable[[Any, list[str]], SecurityContext | None], **arguments: Any) -> None:
        super().__init__(**arguments)
        self._sign = sign
        self._reached_at: float | None = None
        self._problem = ""
        self._refusal = ""
        self.registered_engine = ""
        """The Engine that this worker is registered with."""

    def __str__(self) -> str:
        return "the orchestrator"  # in the SDK's log lines

    @property
    def failing(self) -> bool:
        """Whether the last request was in vain."""
        return bool(self._problem)

    def check(self) -> CheckResult:
        """What to say about the orchestrator; never with a token in it."""
        if self._refusal:
            return failed(
                f"it refuses this worker: {self._refusal}",
                "Bots that run here go on running. See GET /api/workers for the Engine of each worker.",
            )
        if self._reached_at is None:
            problem = f": {self._problem}" if self._problem else ""
            return orchestrator_gone(f"not reached yet{problem}")
        ago = monotonic() - self._reached_at
        if ago > RECENTLY:
            return orchestrator_gone(f"not reached for {ago:.0f} s: {self._problem or 'no answer'}")
        return ok(f"reached {ago:.0f} s ago")

    async def refresh_token(self) -> TokenResponse | None:
        """Stay with ``WORKER_TOKEN``, which the orchestrator knows after a restart as well."""
        return None

    async def register(self, registration: WorkerRegistration) -> Any:
        """Register; what it is refused for is told as the orchestrator says it."""
        try:
            answer = await super().register(registration)
        except RxonProtocolError as error:
            if (error.details or {}).get("status") != _REFUSED:
                raise
            self._refusal = _sentence_of(error)
            raise RxonProtocolError(self._refusal, details=error.details) from error
        self._refusal = ""
        capabilities = registration.capabilities
        self.registered_engine = str(((capabilities and capabilities.extra) or {}).get(ENGINE, ""))
        return answer

    async def send_result(
        self,
        result: TaskResult,
        max_retries: int | None = None,  # noqa: ARG002  (the SDK's signature)
        delay: float | None = None,  # noqa: ARG002
    ) -> bool:
        """Deliver a result, however long the orchestrator is away.

        Their number is bounded: without an orchestrator no task is taken.

        Returns:
            Whether it was of use; not if the job is over, or given to another worker.

        Raises:
            RxonError: If the orchestrator goes on refusing it.
        """
        begun = monotonic()
        answer = await self._send(ENDPOINT_TASK_RESULT, result)
        if (seconds := monotonic() - begun) >= FIRST_PAUSE:
            logger.info("the result of task %s was delivered after %.0f s", result.task_id, seconds)
        return not (isinstance(answer, dict) and answer.get("status") == "ignored")

    async def deliver(self, event: WorkerEventPayload) -> None:
        """Deliver an event, however long the orchestrator is away.

        Raises:
            RxonError: If the orchestrator goes on refusing it.
        """
        await self._send(ENDPOINT_WORKER_EVENTS, event, ["bubbling_chain"])

    async def _send(self, endpoint: str, message: Message, unsigned: list[str] | None = None) -> Any:
        refusals = 0
        for seconds in backoff(FIRST_PAUSE, LONGEST_PAUSE):
            asked = 0.0
            try:
                return await self._request("POST", endpoint, json=self._fresh(message, unsigned))
            except RxonRateLimitError as error:
                asked = float((error.details or {}).get("retry_after") or 0)
            except RxonNetworkError:
                pass
            except RxonError as error:
                if endpoint == ENDPOINT_WORKER_EVENTS and "Duplicate message" in str(error):
                    return None  # it got there, but not its acknowledgement
                refusals += 1
                if refusals >= REFUSALS:
                    raise
            await asyncio.sleep(max(seconds, asked))
        raise AssertionError("unreachable")

    def _fresh(self, message: Message, unsigned: list[str] | None = None) -> Message:
        now = replace(message, timestamp=int(time()))
        return replace(now, security=self._sign(now, unsigned or []))

    async def _request(
        self,
        method: str,
        endpoint: str,
        *,
        params: dict[str, Any] | None = None,
        json: Any | None = None,
        timeout: ClientTimeout | None = None,  # noqa: ASYNC109  (the SDK's signature)
    ) -> Any:
        timeout = timeout or ClientTimeout(total=REQUEST_SECONDS)
        try:
            answer = await super()._request(method, endpoint, params=params, json=json, timeout=timeout)
        except RxonNetworkError as error:
            self._problem = f"it does not answer ({type(error.__cause__ or error).__name__})"
            raise
        except RxonProtocolError as error:
            status = (error.details or {}).get("status")
            self._problem = f"it answers with status {status}"
            if isinstance(status, int) and status >= 500:
                raise RxonNetworkError(str(error), details=error.details) from error
            raise
        except RxonError as error:
            self._problem = f"it refuses this worker ({type(error).__name__})"
            raise
        self._reached_at, self._problem = monotonic(), ""
        return answer


def _sentence_of(error: RxonProtocolError) -> str:
    text = str(error).partition(": ")[2]
    try:
        return str(loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return text


class EventOutbox:
    """Delivers events in order in the background, one after the other.

    Args:
        deliver: Delivers one, however long it takes; raises :class:`RxonError` if it is refused for good.
    """

    def __init__(self, deliver: Callable[[WorkerEventPayload], Awaitable[None]]) -> None:
        self._deliver = deliver
        self._queue: asyncio.Queue[WorkerEventPayload] = asyncio.Queue(CAPACITY)
        self._delivering = False
        self.dropped = 0

    def __len__(self) -> int:
        return self._queue.qsize() + self._delivering

    def put(self, event: WorkerEventPayload) -> None:
        """Take an event for delivery; never waits."""
        if self._queue.full():
            self._queue.get_nowait()
            self._queue.task_done()
            self.dropped += 1
            if self.dropped == 1:
                logger.warning("more than %d events wait for the orchestrator: the oldest are lost", CAPACITY)
        self._queue.put_nowait(event)

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            event = await self._queue.get()
            self._delivering = True
            try:
                await self._deliver(event)
            except RxonError as error:
                logger.warning("the orchestrator refuses the event %s: %s", event.event_type, error)
            except Exception:
                logger.exception("the event %s was not delivered", event.event_type)
            self._delivering = False
            self._queue.task_done()

    async def delivered(self) -> None:
        """Wait until nothing waits any more."""
        await self._queue.join()
