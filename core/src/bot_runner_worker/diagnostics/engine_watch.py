"""Whether the Docker Engine answers: asked in the background, told in one log line when that changes."""

import asyncio
import logging
from collections.abc import Callable
from time import monotonic

from bot_runner_worker.diagnostics import results as findings
from bot_runner_worker.diagnostics.results import Check, State
from bot_runner_worker.engine import Engine, EngineError
from bot_runner_worker.model.errors import Unavailable

logger = logging.getLogger(__name__)

INTERVAL = 5.0
"""Seconds between two questions to an Engine that answers."""

INTERVAL_WHILE_GONE = 1.0

ANSWER_SECONDS = 5.0
"""Seconds within which an Engine that works answers, however busy it is: it has nothing to look up for it."""

_SECOND_LOOK_AFTER = 0.5
"""Seconds after which an Engine that did not answer once is asked again before it counts as gone."""


class EngineWatch:
    """Asks the Engine from time to time whether it is there.

    Args:
        engine: The Engine.
        on_change: Called when it has gone, or is back.
    """

    def __init__(self, engine: Engine, on_change: Callable[[], None] = lambda: None) -> None:
        self._engine = engine
        self.on_change = on_change
        self._up: bool | None = None
        self._since = monotonic()
        self._finding = ""
        self._suspected = asyncio.Event()

    @property
    def up(self) -> bool:
        """Whether it answered when it was last asked; not before it was asked."""
        return bool(self._up)

    def suspect(self) -> None:
        """Ask soon: a call to the Engine has failed."""
        self._suspected.set()

    async def run(self) -> None:
        """Go on asking until cancelled."""
        while True:
            await self.ask()
            try:
                async with asyncio.timeout(INTERVAL if self.up else INTERVAL_WHILE_GONE):
                    await self._suspected.wait()
            except TimeoutError:
                pass
            self._suspected.clear()

    async def ask(self) -> None:
        """Ask once, and once more before an Engine that was there counts as gone."""
        if await self._answers():
            self._note(True)
            return
        if self._up:
            await asyncio.sleep(_SECOND_LOOK_AFTER)
            if await self._answers():
                return
        self._note(False)

    def check(self) -> Check:
        """What to say about it."""
        if self._up is None:
            return Check(findings.ENGINE, State.WARNING, "not asked yet")
        if not self._up:
            return findings.engine_gone(self._engine.address, self._finding)
        return Check(findings.ENGINE, State.OK, self._finding)

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                version = await self._engine.version()
        except Unavailable as error:
            self._finding = str(error.details.get("reason") or error)
        except TimeoutError:
            self._finding = f"no answer within {ANSWER_SECONDS:.0f} s"
        # Whatever it is that answers there, it is no Engine that works.
        except (EngineError, ValueError) as error:
            self._finding = str(error)
        else:
            self._finding = f"{version.get('Version')}, API {version.get('ApiVersion')}"
            return True
        return False

    def _note(self, up: bool) -> None:
        before, self._up = self._up, up
        if before == up:
            return
        seconds = monotonic() - self._since
        self._since = monotonic()
        if not up:
            logger.error(
                "the Docker Engine at %s does not answer (%s): no tasks are taken until it is back",
                self._engine.address,
                self._finding,
            )
        elif before is not None:
            logger.info("the Docker Engine is back after %.0f s: tasks are taken again", seconds)
        self.on_change()
