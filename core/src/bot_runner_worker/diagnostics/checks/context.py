"""What checks look at: the settings, and what the Engine and the orchestrator answer."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ssl import SSLContext
from typing import Any

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

from bot_runner_worker.engine import Engine, EngineError, images
from bot_runner_worker.model.errors import BotRunnerError
from bot_runner_worker.model.image import Image
from bot_runner_worker.settings import NO_TOKEN, Settings

_ENGINE_SECONDS = 20.0
_ORCHESTRATOR_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What an Engine answers.

    Args:
        version: Its answer to ``GET /version``.
        info: Its answer to ``GET /info``.
        clock_drift: Seconds by which its clock is ahead of this process's.
        base_image: The operator's base image; ``None`` if the Engine does not have it.
    """

    version: dict[str, Any]
    info: dict[str, Any]
    clock_drift: float
    base_image: Image | None


@dataclass(frozen=True, slots=True)
class OrchestratorFacts:
    """What the orchestrator answers.

    Args:
        status: Status of its public page; ``None`` if it does not answer.
        problem: Why it does not, in words.
        token_status: Status of a request with this worker's token; ``None`` if that was not made.
        clock_drift: Seconds by which its clock is ahead of this process's; ``None`` if it does not say.
        protocol: The version of the workers' protocol that it speaks, if it says.
    """

    status: int | None
    problem: str = ""
    token_status: int | None = None
    clock_drift: float | None = None
    protocol: str | None = None


@dataclass(frozen=True, slots=True)
class CheckContext:
    """What all checks look at.

    Args:
        settings: The settings.
        engine: The connection to the Engine.
        engine_facts: What the Engine answers; ``None`` if it does not.
        engine_problem: Why it does not, in words.
        orchestrator: What the orchestrator answers.
    """

    settings: Settings
    engine: Engine
    engine_facts: EngineFacts | None
    engine_problem: str
    orchestrator: OrchestratorFacts

    @property
    def facts(self) -> EngineFacts:
        """What the Engine answers; for checks that only run if it does."""
        assert self.engine_facts is not None
        return self.engine_facts


async def check_context(engine: Engine, settings: Settings) -> CheckContext:
    """Ask the Engine and the orchestrator at once; raises nothing."""
    (facts, problem), orchestrator = await asyncio.gather(
        _ask_engine(engine, settings), _ask_orchestrator(settings)
    )
    return CheckContext(settings, engine, facts, problem, orchestrator)


async def _ask_engine(engine: Engine, settings: Settings) -> tuple[EngineFacts | None, str]:
    try:
        async with asyncio.timeout(_ENGINE_SECONDS):
            version = await engine.version()
            before = datetime.now(UTC)
            info = await engine.json("GET", "info")
            middle = before + (datetime.now(UTC) - before) / 2
            base_image = await images.inspect(engine, settings.base_image)
    except BotRunnerError as error:
        return None, str(error.details.get("reason", error))
    except (EngineError, TimeoutError) as error:
        return None, str(error) or f"no answer within {_ENGINE_SECONDS:.0f} s"
    drift = datetime.fromisoformat(info["SystemTime"]) - middle
    return EngineFacts(version, info, drift.total_seconds(), base_image), ""


async def _ask_orchestrator(settings: Settings) -> OrchestratorFacts:
    """Ask for the public page, and whether the token is accepted.

    The token is sent where a worker would open a WebSocket. The orchestrator (Avtomatika 1.0b30) checks it
    first, and a request that opens no WebSocket changes nothing: no task is taken, no heartbeat counted, no
    worker registered.
    """
    timeout = aiohttp.ClientTimeout(total=_ORCHESTRATOR_SECONDS)
    token = settings.worker_token.get_secret_value()
    try:
        connector = aiohttp.TCPConnector(ssl=context) if (context := _tls()) else None
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            before = datetime.now(UTC)
            async with session.get(f"{settings.orchestrator_url}/_public/status") as public:
                middle = before + (datetime.now(UTC) - before) / 2
                drift = _drift(public.headers.get("Date"), middle)
                protocol = public.headers.get(PROTOCOL_VERSION_HEADER)
            if public.status != 200 or token == NO_TOKEN:
                return OrchestratorFacts(public.status, clock_drift=drift, protocol=protocol)
            headers = {
                AUTH_HEADER_WORKER: token,
                AUTH_HEADER_WORKER_ID: settings.worker_id,
                PROTOCOL_VERSION_HEADER: PROTOCOL_VERSION,
            }
            url = f"{settings.orchestrator_url}{WS_ENDPOINT}/{settings.worker_id}"
            async with session.get(url, headers=headers) as checked:
                return OrchestratorFacts(public.status, "", checked.status, drift, protocol)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        return OrchestratorFacts(None, type(error).__name__)


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
