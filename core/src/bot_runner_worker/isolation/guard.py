"""Closed by default: no bot starts while the firewall's rules are required and not known to be in force."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from time import monotonic
from typing import Any

from bot_runner_worker.engine import Engine
from bot_runner_worker.isolation.firewall import Firewall, FirewallError, can_keep, how_to_close, rules_of
from bot_runner_worker.isolation.probe import Isolation, Level, probe_isolation
from bot_runner_worker.model.errors import BotRunnerError, Code, Unavailable
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

GOOD_FOR = 60.0
"""Seconds for which starts take an answer for granted."""

PROBE_INTERVAL = 3600.0
"""Seconds between two probes where the rules themselves can be read."""

NO_RULES = "the firewall's rules are not in place"

NOT_PROBED = Isolation(Level.UNKNOWN, ("it was not probed yet",), hint="Wait for some seconds.")

OFF = Isolation(
    Level.UNKNOWN, ("ISOLATION_PROBE is off",), hint="Set ISOLATION_PROBE to on, to know what bots reach."
)


class IsolationGuard:
    """Finds out whether the rules are in force.

    Where this process may, as root in the network of the Engine's host, it reads the rules, and puts them
    back if they are required and were in place before. Everywhere else, the probe alone tells.

    Args:
        engine: The Engine.
        settings: What is required, and whether there is a probe.
        base_image: Sees to the base image, which the probe takes; raises :class:`BotRunnerError`.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        base_image: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._engine = engine
        self.settings = settings
        self._base_image = base_image
        self._probed: Isolation | None = None
        self._probed_at = self._looked_at = float("-inf")
        self._only_here = settings.isolation_probe == "local"
        self._seen_in_place = False
        self._looking: asyncio.Task[Isolation] | None = None
        self.required = settings.isolation_required == "on"
        self.found = OFF if settings.isolation_probe == "off" else NOT_PROBED

    async def look(self) -> Isolation:
        """Find out now; who asks meanwhile gets the same answer. Takes a few seconds with a probe."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        return await asyncio.shield(self._looking)

    async def ensure_closed(self) -> None:
        """Let a start go on, if the rules are in force or not required.

        Raises:
            Unavailable: ``NOT_ISOLATED``.
        """
        if not self.required:
            return
        if not self.found.closed or monotonic() - self._looked_at > GOOD_FOR:
            await self.look()
        if not self.found.closed:
            raise Unavailable(
                Code.NOT_ISOLATED,
                "No bot is started here: the firewall that closes this host to bots is not in force.",
                hint=f"This is for the operator. {how_to_close(self.settings)}",
                stage="isolation",
            )

    async def close(self) -> None:
        """End what is under way."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    async def _look(self) -> Isolation:
        rules = await asyncio.to_thread(self._read_rules)
        found = await self._what_bots_reach(rules)
        if rules is False:
            # Whatever else closes what was tried, the rules close more than can be tried.
            found = replace(found, level=Level.DEGRADED, reasons=(*found.reasons, NO_RULES), hint="")
        self.found, self._looked_at = found, monotonic()
        return found

    async def _what_bots_reach(self, rules: bool | None) -> Isolation:
        """What the probe finds, or has found a while ago if nothing says that it has changed."""
        if self.settings.isolation_probe == "off":
            return replace(OFF, rules=rules)
        lately = rules is not None and monotonic() - self._probed_at < PROBE_INTERVAL
        if self._probed is not None and self._probed.rules is rules and lately:
            return self._probed
        # What is not on this machine is tried before the first bot, and not again.
        how: dict[str, Any] = {"metadata": ()} if self._only_here else {}
        how["again"] = self._probed is not None and self._probed.level is Level.FULL
        try:
            if self._base_image is not None:
                await self._base_image()
            found = await probe_isolation(self._engine, self.settings, **how)
        except BotRunnerError as error:
            return Isolation(Level.UNKNOWN, (str(error),), rules, error.hint)
        self._only_here = self._only_here or found.level is Level.FULL
        self._probed, self._probed_at = replace(found, rules=rules), monotonic()
        return self._probed

    def _read_rules(self) -> bool | None:
        """Whether the rules are in place, if necessary again; ``None`` if they cannot be read from here."""
        wanted = self.required or self.settings.isolation_probe != "off"
        if not wanted or not can_keep(self.settings):
            return None
        firewall = Firewall(rules_of(self.settings))
        try:
            in_place = firewall.in_place()
            if not in_place and self.required and self._seen_in_place:
                logger.warning("the firewall's rules have gone: they are put back")
                firewall.apply()
                in_place = firewall.in_place()
        except FirewallError as error:
            logger.debug("the firewall's rules cannot be read or put back: %s", error)
            return None
        self._seen_in_place = self._seen_in_place or in_place
        return in_place
