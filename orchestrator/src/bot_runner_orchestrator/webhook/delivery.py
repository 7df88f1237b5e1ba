"""Getting messages to the receiver: in the background, several at once, again after a while if it fails."""

import asyncio
import random
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from logging import getLogger
from time import time

import aiohttp
from yarl import URL

from .message import Signer, WebhookMessage

logger = getLogger(__name__)

RETRY_DELAYS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 60.0)
"""Seconds before each further attempt; some five minutes in all."""

_MOST_PENDING = 1000
_AT_ONCE = 4
_TIME_LIMIT_SECONDS = 10.0
_LONGEST_DELAY = 300.0
_RETRIED_STATUSES = frozenset({408, 425, 429})


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
