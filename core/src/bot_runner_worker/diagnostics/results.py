"""Results of checks, with the same words in the log, ``/health`` and ``doctor``."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from bot_runner_worker.isolation.firewall import how_to_close
from bot_runner_worker.isolation.probe import Isolation, Level
from bot_runner_worker.model.quantities import format_size
from bot_runner_worker.settings import Settings

ENGINE = "Docker Engine"
DISK = "Engine's disk"
ORCHESTRATOR = "orchestrator"
ISOLATION = "isolation"


class State(StrEnum):
    """Whether a check passes."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check.

    Args:
        state: Whether it passes.
        finding: What was found.
        remedy: What the operator can do, if there is something to do.
    """

    state: State
    finding: str
    remedy: str = ""


def ok(finding: str, remedy: str = "") -> CheckResult:
    """A check that passes; the remedy is a recommendation."""
    return CheckResult(State.OK, finding, remedy)


def warning(finding: str, remedy: str = "") -> CheckResult:
    """A check that finds something to improve, or that could not be made."""
    return CheckResult(State.WARNING, finding, remedy)


def failed(finding: str, remedy: str) -> CheckResult:
    """A check that fails."""
    return CheckResult(State.FAILED, finding, remedy)


def json_rows(checks: Mapping[str, CheckResult]) -> list[dict[str, Any]]:
    """Results by the checks' names, as JSON-ready data."""
    return [{"name": name, **asdict(result)} for name, result in checks.items()]


def engine_gone(address: str, reason: str) -> CheckResult:
    """The Engine does not answer."""
    return failed(
        f"no answer at {address} ({reason})",
        "Start the Engine, or set DOCKER_HOST; the worker needs read and write access to its socket.",
    )


def disk_space(free: int | None, floor: int) -> CheckResult:
    """The free space on the Engine's disk.

    Args:
        free: Bytes; ``None`` if they cannot be seen from here.
        floor: Bytes below which nothing is built or pulled.
    """
    if free is None:
        return warning(
            "its free space cannot be seen from here: MIN_FREE_DISK is off, builds and pulls may fill it",
            "Run the worker on the Engine's host. In a container of that Engine, mount an empty volume where "
            "the Engine has its data, such as -v engine-disk:/var/lib/docker:ro: it lies on the same disk.",
        )
    if free < floor:
        return failed(
            f"{format_size(free)} free, less than MIN_FREE_DISK: nothing is built or pulled",
            "Make room: docker system df shows what takes it.",
        )
    return ok(f"{format_size(free)} free")


def orchestrator_gone(finding: str) -> CheckResult:
    """The orchestrator does not answer, or refuses this worker."""
    return failed(finding, "Start the orchestrator, or correct ORCHESTRATOR_URL.")


def isolation_result(found: Isolation, settings: Settings) -> CheckResult:
    """The isolation of bots, and what to do about it; it fails if no bot is started because of it."""
    if found.level is Level.FULL:
        return ok(f"{found}: neither the host nor cloud metadata is within a bot's reach")
    if settings.isolation_required == "on" and not found.closed:
        return failed(f"{found}: no bot is started", found.hint or how_to_close(settings))
    return warning(str(found), found.hint or how_to_close(settings))
