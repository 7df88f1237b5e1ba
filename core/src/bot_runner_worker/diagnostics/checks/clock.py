"""The clocks of this process, the Engine and the orchestrator, whose times messages and deadlines carry."""

from bot_runner_worker.diagnostics.checks.context import CheckContext, EngineFacts
from bot_runner_worker.diagnostics.results import Check, State

NAME = "clock"

NOTABLE = 5.0
"""Seconds from which on a difference is pointed out."""

REFUSED = 60.0
"""Seconds from which on the orchestrator refuses what the worker sends, because of its age."""


async def clock(here: CheckContext) -> Check:
    """Compare them."""
    orchestrators = here.orchestrator.clock_drift
    engines = here.facts.clock_drift if isinstance(here.facts, EngineFacts) else None
    drifts = {"the orchestrator's": orchestrators, "the Engine's": engines}
    known = {whose: seconds for whose, seconds in drifts.items() if seconds is not None}
    if not known:
        return Check(NAME, State.WARNING, "nobody answers whose clock could be compared")
    off = {whose: seconds for whose, seconds in known.items() if abs(seconds) >= NOTABLE}
    if not off:
        return Check(NAME, State.OK, f"agrees with {' and '.join(known)}")
    finding = "; ".join(
        f"{whose} is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} this one"
        for whose, seconds in off.items()
    )
    refused = orchestrators is not None and abs(orchestrators) >= REFUSED
    if refused:
        finding += ", so that it refuses this worker's messages"
    return Check(
        NAME,
        State.FAILED if refused else State.WARNING,
        finding,
        "Let all machines keep their time with NTP (timedatectl set-ntp true).",
    )
