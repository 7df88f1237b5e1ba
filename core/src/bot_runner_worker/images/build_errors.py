"""Why a build failed, in the terms of the bot's author."""

import re

from bot_runner_worker.engine import EngineError
from bot_runner_worker.engine.builds import BuildError
from bot_runner_worker.model.errors import BotRunnerError, Code, Rejected, Unavailable, disk_full
from bot_runner_worker.model.quantities import format_size
from bot_runner_worker.settings import Settings

_EXIT_CODE = re.compile(r"returned a non-zero code: (\d+)$")

# What programs say when they meet one of the limits, first match wins.
_HINTS = (
    (
        r"No matching distribution found|Could not find a version|No solution found",
        "Check the names and versions in the requirements; the last line of the log names the one.",
    ),
    (
        r"File too large|File size limit exceeded|Maximum file size",
        "A file grew too large; make it smaller, or ask the operator to raise MAX_IMAGE_SIZE.",
    ),
    (
        r"Resource temporarily unavailable|Cannot fork|can't fork|fork: retry|can't start new thread",
        "The build started too many processes; start fewer, or ask the operator to raise BUILD_PIDS_LIMIT.",
    ),
    (
        r"Temporary failure in name resolution|Could not resolve host|Network is unreachable",
        "The build could not reach a server; check its name, or try again later.",
    ),
)
_EXIT_HINTS = {
    "137": "The build most likely ran out of memory; the operator can raise BUILD_MEMORY_LIMIT.",
    "153": _HINTS[1][1],
    "127": "A command was not found; install it in an earlier step, or use another base image.",
}
# All base images are there and named by their ids.
_LOST_STEP = re.compile(
    r"No such image: sha256:|unable to find image \"sha256:|.*(unknown parent image ID|layer does not exist)"
)
_GENERAL_HINT = "The last lines of the build's output are in details.log."


def lost_a_step(error: BuildError) -> bool:
    """Whether an image of a step is gone: another worker's build that failed had shared it, or had made one
    on the same base while the builder looked through all of them (moby's ``getLocalCachedImage``).
    """
    return _LOST_STEP.match(error.message) is not None


def failed(error: BuildError) -> BotRunnerError:
    """The error of a build that ended by itself."""
    if "no space left on device" in error.message:
        return disk_full(error.message)
    return Rejected(
        Code.BUILD_FAILED,
        f"The build failed: {error.message[:500]}",
        hint=_hint(error),
        details={"log": error.log},
    )


def _hint(error: BuildError) -> str:
    code = _EXIT_CODE.search(error.message.strip())
    if code is not None and code[1] in ("137", "153"):
        return _EXIT_HINTS[code[1]]
    output = "\n".join(error.log)
    for pattern, hint in _HINTS:
        if re.search(pattern, output):
            return hint
    return _EXIT_HINTS.get(code[1], _GENERAL_HINT) if code is not None else _GENERAL_HINT


def timed_out(settings: Settings) -> Rejected:
    """The error of a build that took too long."""
    return Rejected(
        Code.BUILD_TIMED_OUT,
        f"The build took longer than {settings.build_timeout_seconds} seconds and was ended.",
        hint="Make the build smaller, or ask the operator for a larger BUILD_TIMEOUT_SECONDS.",
    )


def of_engine(error: EngineError) -> BotRunnerError:
    """The error of a build that the Engine did not begin."""
    if error.disk_full:
        return disk_full(error.message)
    if error.status >= 500 and "dockerfile" not in error.message.lower():
        return Unavailable(
            Code.ENGINE_FAILED,
            "The Docker Engine failed to build.",
            hint="Try again later.",
            details={"reason": error.message[:500]},
        )
    return Rejected(
        Code.BUILD_FAILED,
        f"The Dockerfile was refused: {error.message[:500]}",
        hint="Correct the Dockerfile.",
    )


def output_exceeded(settings: Settings, log: list[str]) -> Rejected:
    """The error of a build that was ended for its output.

    Args:
        settings: The limit.
        log: The last lines of the output.
    """
    limit = settings.build_output_limit
    return Rejected(
        Code.BUILD_LIMIT_EXCEEDED,
        f"The build printed more than {format_size(limit)} and was ended.",
        hint="Print less, or ask the operator to raise BUILD_OUTPUT_LIMIT.",
        details={"limit": "output", "limit_bytes": limit, "log": log},
    )
