"""Asks the orchestrator what the checks need to know of it, without changing anything there."""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ssl import SSLContext

import aiohttp
from avtomatika_worker.config import WorkerConfig
from rxon.constants import (
    AUTH_HEADER_WORKER,
    AUTH_HEADER_WORKER_ID,
    PROTOCOL_VERSION,
    PROTOCOL_VERSION_HEADER,
    WS_ENDPOINT,
)
from rxon.security import create_client_ssl_context

from bot_runner_worker.settings import NO_TOKEN, Settings

SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the orchestrator answers.

    Args:
        status: Status of its public page; ``None`` if it does not answer.
        problem: Why it does not, in words.
        token_status: Status of a request with this worker's token; ``None`` if that was not made.
        clock_drift: Seconds by which its clock is ahead of ours; ``None`` if it does not say.
        protocol: The version of the workers' protocol that it speaks, if it says.
    """

    status: int | None
    problem: str = ""
    token_status: int | None = None
    clock_drift: float | None = None
    protocol: str | None = None


async def ask(settings: Settings) -> Answer:
    """Ask the orchestrator for its state, and whether it takes the token; raises nothing.

    The token is shown where a worker would open a WebSocket. The orchestrator (Avtomatika 1.0b30) checks it
    before anything else, and a request that does not go on to open one changes nothing: no task is taken, no
    heartbeat counted, no worker registered.
    """
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    try:
        connector = aiohttp.TCPConnector(ssl=context) if (context := _tls()) else None
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            before = datetime.now(UTC)
            async with session.get(f"{settings.orchestrator_url}/_public/status") as public:
                middle = before + (datetime.now(UTC) - before) / 2
                drift = _drift(public.headers.get("Date"), middle)
                protocol = public.headers.get(PROTOCOL_VERSION_HEADER)
            if public.status != 200 or settings.worker_token.get_secret_value() == NO_TOKEN:
                return Answer(public.status, clock_drift=drift, protocol=protocol)
            headers = {
                AUTH_HEADER_WORKER: settings.worker_token.get_secret_value(),
                AUTH_HEADER_WORKER_ID: settings.worker_id,
                PROTOCOL_VERSION_HEADER: PROTOCOL_VERSION,
            }
            url = f"{settings.orchestrator_url}{WS_ENDPOINT}/{settings.worker_id}"
            async with session.get(url, headers=headers) as checked:
                return Answer(public.status, "", checked.status, drift, protocol)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        return Answer(None, type(error).__name__)


def _tls() -> SSLContext | None:
    """The SDK's own TLS settings (``TLS_CA_PATH``, ``TLS_CERT_PATH``, ``TLS_KEY_PATH``), used as it does."""
    config = WorkerConfig()
    if not (config.TLS_CA_PATH or (config.TLS_CERT_PATH and config.TLS_KEY_PATH)):
        return None
    return create_client_ssl_context(
        ca_path=config.TLS_CA_PATH, cert_path=config.TLS_CERT_PATH, key_path=config.TLS_KEY_PATH
    )


def _drift(date: str | None, now: datetime) -> float | None:
    if date is None:
        return None
    try:
        seconds = (parsedate_to_datetime(date) - now).total_seconds()
    except (TypeError, ValueError):
        return None
    # The header has whole seconds, cut off: the clock is between that and a second later.
    return 0.0 if -1 <= seconds <= 0 else seconds + (1 if seconds < -1 else 0)
