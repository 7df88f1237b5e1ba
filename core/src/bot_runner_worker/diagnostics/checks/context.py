"""What the checks look at: the settings, and what the Engine and the orchestrator say of themselves."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bot_runner_worker.diagnostics.checks import orchestrator_answer
from bot_runner_worker.engine import Engine, EngineError, images
from bot_runner_worker.model.errors import BotRunnerError
from bot_runner_worker.model.image import Image
from bot_runner_worker.settings import Settings

SECONDS = 20.0
"""Time limit for getting to know the surroundings."""


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """An Engine that answers.

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
class CheckContext:
    """What all checks start from.

    Args:
        settings: The settings.
        engine: The connection to the Engine.
        facts: What the Engine says; the reason in words if it does not answer.
        orchestrator: What the orchestrator answers.
    """

    settings: Settings
    engine: Engine
    facts: EngineFacts | str
    orchestrator: orchestrator_answer.Answer

    @property
    def known(self) -> EngineFacts:
        """What the Engine says; only for checks that are left out without an Engine."""
        assert isinstance(self.facts, EngineFacts)
        return self.facts


async def survey(engine: Engine, settings: Settings) -> CheckContext:
    """Ask the Engine and the orchestrator, both at once; raises nothing."""
    facts, answer = await asyncio.gather(_engine_facts(engine, settings), orchestrator_answer.ask(settings))
    return CheckContext(settings, engine, facts, answer)


async def _engine_facts(engine: Engine, settings: Settings) -> EngineFacts | str:
    try:
        async with asyncio.timeout(SECONDS):
            version = await engine.version()
            before = datetime.now(UTC)
            info = await engine.json("GET", "info")
            middle = before + (datetime.now(UTC) - before) / 2
            base_image = await images.inspect(engine, settings.base_image)
    except BotRunnerError as error:
        return str(error.details.get("reason", error))
    except (EngineError, TimeoutError) as error:
        return str(error) or f"no answer within {SECONDS:.0f} s"
    drift = datetime.fromisoformat(info["SystemTime"]) - middle
    return EngineFacts(version, info, drift.total_seconds(), base_image)
