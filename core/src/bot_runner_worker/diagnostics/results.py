"""What can be said about a worker's surroundings: the same words in the log, ``/health`` and ``doctor``."""

from dataclasses import dataclass
from enum import StrEnum

from bot_runner_worker.isolation.probe import Isolation, Level
from bot_runner_worker.model.errors import BotRunnerError
from bot_runner_worker.model.quantities import format_size

ENGINE = "Docker Engine"
DISK = "Engine's disk"
ORCHESTRATOR = "orchestrator"
ISOLATION = "isolation"


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One check's result.

    Args:
        name: What was checked.
        state: How it came out.
        finding: What was found.
        remedy: How to mend it, if there is something to mend.
    """

    name: str
    state: State
    finding: str
    remedy: str = ""


def engine_gone(address: str, reason: str) -> Check:
    """The Engine does not answer."""
    return Check(
        ENGINE,
        State.FAILED,
        f"no answer at {address} ({reason})",
        "Start the Engine, or set DOCKER_HOST; the worker needs read and write access to its socket.",
    )


def disk(free: int | None, floor: int) -> Check:
    """The room on the Engine's disk.

    Args:
        free: Bytes; ``None`` if they cannot be seen from here.
        floor: Bytes below which nothing is built or pulled.
    """
    if free is None:
        return Check(
            DISK,
            State.WARNING,
            "its free space cannot be seen from here: builds and pulls are not held back when it is full",
            "Run the worker where the Engine's data folder can be read, or watch the disk yourself.",
        )
    if free < floor:
        return Check(
            DISK,
            State.FAILED,
            f"{format_size(free)} free, less than MIN_FREE_DISK: nothing is built or pulled",
            "Make room: docker system df shows what takes it.",
        )
    return Check(DISK, State.OK, f"{format_size(free)} free")


def orchestrator_gone(finding: str) -> Check:
    """The orchestrator does not answer, or refuses this worker."""
    return Check(ORCHESTRATOR, State.FAILED, finding, "Start the orchestrator, or correct ORCHESTRATOR_URL.")


def isolation(found: Isolation) -> Check:
    """What the isolation probe found."""
    match found.level:
        case Level.FULL:
            return Check(
                ISOLATION, State.OK, f"{found}: neither the host nor cloud metadata is within a bot's reach"
            )
        case Level.DEGRADED:
            remedy = "Close it on the Engine's host, as root: bot-runner-worker firewall apply"
        case Level.UNKNOWN:
            remedy = "Run bot-runner-worker doctor on the Engine's host itself, not in a container."
    return Check(ISOLATION, State.WARNING, str(found), remedy)


def isolation_not_probed(error: BotRunnerError) -> Check:
    """The isolation probe could not run."""
    return Check(ISOLATION, State.WARNING, f"unknown ({error})", error.hint)


def isolation_not_wanted() -> Check:
    """The operator has the isolation probe off."""
    return Check(
        ISOLATION,
        State.WARNING,
        "unknown (ISOLATION_PROBE is off)",
        "Set ISOLATION_PROBE to on, to know what bots reach.",
    )
