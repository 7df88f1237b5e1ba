"""Webhook for events of bots: which are sent, in what form, and how they get there.

Form and signature are those of Standard Webhooks (standardwebhooks.com).
"""

import asyncio
import base64
import binascii
import hmac
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import sha256
from logging import getLogger
from time import time
from typing import Any, Self
from uuid import NAMESPACE_URL, uuid5

import aiohttp
from orjson import dumps
from yarl import URL

from .redaction import redact

logger = getLogger(__name__)

BOT_EVENTS = (
    "bot_started",
    "bot_crashed",
    "bot_exited",
    "bot_stopped",
    "bot_expiring",
    "bot_expired",
    "bot_removed",
)
DEFAULT_SELECTION = "bot_crashed,bot_exited,bot_expiring,bot_expired,bot_stopped:reason"

_WITH_REASON = ":reason"
_ALL = "all"
_SECRET_PREFIX = "whsec_"  # noqa: S105 - marks a secret, is none

RETRY_DELAYS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 60.0)
"""Seconds before each further attempt; some five minutes in all."""

_MOST_PENDING = 1000
_AT_ONCE = 4
_TIME_LIMIT_SECONDS = 10.0
_LONGEST_DELAY = 300.0
_RETRIED_STATUSES = frozenset({408, 425, 429})


class EventSelection:
    """The operator's choice of events.

    Args:
        types: Event types that are always sent.
        with_reason: Event types that are sent if they have a ``reason``: one that its user stops has none.
    """

    def __init__(self, types: frozenset[str], with_reason: frozenset[str] = frozenset()) -> None:
        self._types = types
        self._with_reason = with_reason

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a list such as ``bot_crashed,bot_stopped:reason``; ``all`` stands for every type.

        Raises:
            ValueError: There is no such type; the text says which there are.
        """
        words = {word for part in text.split(",") if (word := part.strip())}
        known = {*BOT_EVENTS, *(name + _WITH_REASON for name in BOT_EVENTS), _ALL}
        if unknown := sorted(words - known):
            raise ValueError(
                f"there is no {unknown[0]!r}; use {', '.join(BOT_EVENTS)}, with {_WITH_REASON} behind a name "
                f"for those with a reason only, or {_ALL}"
            )
        if _ALL in words:
            return cls(frozenset(BOT_EVENTS))
        with_reason = {word.removesuffix(_WITH_REASON) for word in words if word.endswith(_WITH_REASON)}
        return cls(frozenset(words & set(BOT_EVENTS)), frozenset(with_reason))

    def has(self, event_type: str, payload: Mapping[str, Any]) -> bool:
        """Whether this event is to be sent."""
        return event_type in self._types or (event_type in self._with_reason and bool(payload.get("reason")))


@dataclass(frozen=True, slots=True)
class WebhookMessage:
    """One event on its way.

    Attributes:
        id: The same in each attempt, and for an event that a worker reported twice.
        type: The event's type.
        body: The JSON text, which is what is signed.
    """

    id: str
    type: str
    body: bytes


def message_of(
    worker_id: str, event_id: str, event_type: str, payload: Mapping[str, Any], at: int | None
) -> WebhookMessage:
    """The message for a worker's event.

    Args:
        worker_id: The worker that saw it.
        event_id: The worker's own id of the event.
        event_type: Such as ``bot_crashed``.
        payload: ``user_id``, ``bot_id``, ``mode``, ``at`` (ISO 8601) and further facts.
        at: When, in seconds since 1970, where the payload does not say.
    """
    data = {name: value for name, value in redact(payload).items() if name != "at"}
    moment = payload.get("at") or datetime.fromtimestamp(at or 0, UTC).isoformat()
    body = dumps({"type": event_type, "timestamp": str(moment), "data": {**data, "worker_id": worker_id}})
    return WebhookMessage(str(uuid5(NAMESPACE_URL, f"bot-runner:{worker_id}:{event_id}")), event_type, body)


class Signer:
    """Signs messages with the secret that the receiver knows as well.

    Args:
        secret: ``whsec_`` and the key in base64, as Standard Webhooks has it; other text is the key itself.

    Raises:
        ValueError: It begins with ``whsec_``, and what follows is no base64.
    """

    def __init__(self, secret: str) -> None:
        if not secret.startswith(_SECRET_PREFIX):
            self._key = secret.encode()
            return
        try:
            self._key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
        except binascii.Error as exc:
            raise ValueError(f"what follows {_SECRET_PREFIX} is no base64") from exc

    def headers(self, message: WebhookMessage, now: int) -> dict[str, str]:
        """The headers of one attempt: id, time and the signature over both and the body.

        Args:
            message: What is sent.
            now: Seconds since 1970; a receiver refuses what is old.
        """
        signed = b".".join((message.id.encode(), str(now).encode(), message.body))
        signature = base64.b64encode(hmac.new(self._key, signed, sha256).digest()).decode()
        return {
            "Content-Type": "application/json",
            "webhook-id": message.id,
            "webhook-timestamp": str(now),
            "webhook-signature": f"v1,{signature}",
        }


class EventWebhook:
    """Sends messages to one address; nothing waits for it. What it cannot deliver it drops with a log line.

    Args:
        url: Where to; a redirect is not followed.
        signer: Makes the headers.
        retry_delays: Seconds before each further attempt; they are varied by up to a half.
        most_pending: Messages that are under way or wait for another attempt; further ones are dropped.
        time_limit_seconds: What an attempt may take.
    """

    def __init__(
        self,
        url: str,
        signer: Signer,
        *,
        retry_delays: Sequence[float] = RETRY_DELAYS,
        most_pending: int = _MOST_PENDING,
        time_limit_seconds: float = _TIME_LIMIT_SECONDS,
    ) -> None:
        self._url = URL(url)
        self._signer = signer
        self._retry_delays = tuple(retry_delays)
        self._most_pending = most_pending
        self._time_limit = aiohttp.ClientTimeout(total=time_limit_seconds)
        self._deliveries: set[asyncio.Task[None]] = set()
        self._sending = asyncio.Semaphore(_AT_ONCE)
        self._session: aiohttp.ClientSession | None = None
        self._dropped = 0

    @property
    def receiver(self) -> str:
        """The receiver as logs may name it: the rest of its address may be secret."""
        return str(self._url.origin())

    def offer(self, message: WebhookMessage) -> None:
        """Send this, some time; returns at once."""
        if len(self._deliveries) >= self._most_pending:
            if self._dropped == 0:
                logger.error(
                    "%s messages wait for the webhook at %s: events are dropped until there is room.",
                    self._most_pending,
                    self.receiver,
                )
            self._dropped += 1
            return
        if self._dropped:
            logger.error("%s events were not sent to the webhook at %s.", self._dropped, self.receiver)
            self._dropped = 0
        delivery = asyncio.create_task(self._deliver(message))
        self._deliveries.add(delivery)
        delivery.add_done_callback(self._deliveries.discard)

    async def close(self, grace_seconds: float) -> None:
        """Let what is under way arrive if it is quick, and drop the rest."""
        if self._deliveries:
            _, late = await asyncio.wait(self._deliveries, timeout=grace_seconds)
            for delivery in late:
                delivery.cancel()
            await asyncio.gather(*late, return_exceptions=True)
            if late or self._dropped:
                logger.error(
                    "%s events were not sent to the webhook at %s.", len(late) + self._dropped, self.receiver
                )
        if self._session is not None:
            await self._session.close()

    async def _deliver(self, message: WebhookMessage) -> None:
        attempts = 0
        for delay in (*self._retry_delays, None):
            attempts += 1
            async with self._sending:
                problem, wait = await self._attempt(message)
            if problem is None:
                return
            if delay is None or wait is None:
                break
            await asyncio.sleep(max(delay * random.uniform(0.5, 1.0), min(wait, _LONGEST_DELAY)))  # noqa: S311 - no secret
        logger.error(
            "Webhook at %s: %s %s is given up after %d attempt(s): %s.",
            self.receiver,
            message.type,
            message.id,
            attempts,
            problem,
        )

    async def _attempt(self, message: WebhookMessage) -> tuple[str | None, float | None]:
        """What went wrong, if anything, and the seconds that the receiver asks for (``None``: for ever)."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=self._time_limit, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
            )
        try:
            async with self._session.post(
                self._url,
                data=message.body,
                headers=self._signer.headers(message, int(time())),
                allow_redirects=False,
            ) as response:
                # The answer's body is not read: it says nothing, and may be endless.
                status, retry_after = response.status, response.headers.get("Retry-After", "")
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            return type(exc).__name__, 0
        if 200 <= status < 300:
            return None, None
        if status >= 500 or status in _RETRIED_STATUSES:
            return f"status {status}", _seconds(retry_after)
        return f"status {status}", None


def _seconds(retry_after: str) -> float:
    """RFC 9110, 10.2.3: seconds, or a date; 0 for anything else."""
    if retry_after.isdecimal():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time())
    except ValueError:
        return 0
