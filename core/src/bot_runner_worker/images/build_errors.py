"""Errors of failed builds, in the terms of the bot's author."""

import re

from bot_runner_worker.engine import EngineError
from bot_runner_worker.engine.builds import BuildError
from bot_runner_worker.engine.messages import shown
from bot_runner_worker.model.errors import BotRunnerError, Code, Rejected, Unavailable, disk_full
from bot_runner_worker.model.quantities import format_size
from bot_runner_worker.settings import Settings

KILLED = 137
"""The exit code of a process that SIGKILL has ended."""

_FILE_TOO_LARGE = 153
_COMMAND_NOT_FOUND = 127

_FILE_HINT = "A file grew too large; make it smaller, or ask the operator to raise MAX_IMAGE_SIZE."

# What programs print when they meet one of the limits; the first match wins.
_HINTS = (
    (
        r"No matching distribution found|Could not find a version|No solution found",
        "Check the names and versions in the requirements; the last line of the log names the one.",
    ),
    (r"File too large|File size limit exceeded|Maximum file size", _FILE_HINT),
    (
        r"Resource temporarily unavailable|Cannot fork|can't fork|fork: retry|can't start new thread",
        "The build started too many processes; start fewer, or ask the operator to raise BUILD_PIDS_LIMIT.",
    ),
    (
        r"no new privileges",
        "sudo does not work in a build: leave it out, or write USER root before the instruction.",
    ),
    (
        r"Temporary failure in name resolution|Could not resolve host|Network is unreachable",
        "The build could not reach a server; check its name, or try again later.",
    ),
)
_NOT_FOUND_HINT = "A command was not found; install it in an earlier step, or use another base image."
# SIGKILL has many senders: only the Engine knows whether memory was lacking.
_KILLED_HINTS = {
    True: "The build ran out of memory; let it use less, or ask the operator to raise BUILD_MEMORY_LIMIT.",
    False: "A process of the build was killed, and not for lack of memory. It may have filled the disk with "
    "files that it deleted but kept open; if not, try again.",
}
# All base images are there and named by their ids.
_LOST_STEP = re.compile(
    r"No such image: sha256:|unable to find image \"sha256:|failed to get digest sha256:"
    r"|.*(unknown parent image ID|layer does not exist)"
)
_GENERAL_HINT = "The last lines of the build's output are in details.log."


def lost_a_step(error: BuildError) -> bool:
    """Whether the image of an earlier step is gone.

    Another worker's failed build had shared it, or had made one on the same base while the builder looked
    through all of them (moby's ``getLocalCachedImage``).
    """
    return _LOST_STEP.match(error.message) is not None


def failed(error: BuildError) -> BotRunnerError:
    """The error of a build that ended by itself."""
    if "no space left on device" in error.message:
        return disk_full()
    return Rejected(
        Code.BUILD_FAILED,
        f"The build failed: {shown(error.message)}",
        hint=_hint(error),
        details={"log": error.log},
    )


def _hint(error: BuildError) -> str:
    if error.exit_code == KILLED or error.out_of_memory:
        return _KILLED_HINTS[error.out_of_memory]
    if error.exit_code == _FILE_TOO_LARGE:
        return _FILE_HINT
    output = "\n".join(error.log)
    for pattern, hint in _HINTS:
        if re.search(pattern, output):
            return hint
    return _NOT_FOUND_HINT if error.exit_code == _COMMAND_NOT_FOUND else _GENERAL_HINT


def timed_out(settings: Settings) -> Rejected:
    """The error of a build that took too long."""
    return Rejected(
        Code.BUILD_TIMED_OUT,
        f"The build took longer than {settings.build_timeout_seconds} seconds and was ended.",
        hint="Make the build smaller, or ask the operator for a larger BUILD_TIMEOUT_SECONDS.",
    )


def of_engine(error: EngineError) -> BotRunnerError:
    """The error of a build that the Engine refused to begin."""
    if error.disk_full:
        return disk_full()
    if error.status >= 500 and "dockerfile" not in error.message.lower():
        return Unavailable(
            Code.ENGINE_FAILED,
            "The Docker Engine failed to build.",
            hint="Try again later; the operator finds the cause in the worker's log.",
        )
    return Rejected(
        Code.BUILD_FAILED,
        f"The Dockerfile was refused: {shown(error.message)}",
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
