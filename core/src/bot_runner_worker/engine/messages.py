"""The Engine's messages, as far as they are a tenant's business.

What the container runtime says (runc, crun) quotes paths of the host, such as those of a container's layers.
Tenants read a sentence for each cause that is theirs, and the operator reads the message in the worker's log.
"""

import re
from dataclasses import dataclass

_MOST = 500
"""Characters that are shown of a message."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a container does not start, in the terms of its image's author.

    Args:
        reason: One sentence.
        hint: What to do about it.
    """

    reason: str
    hint: str


_NAME = r'\\*"([^"\\\n]{1,200})\\*"'

# By dockerd 20.10 to 27 with runc 1.0 to 1.2; the first match wins. What is quoted is the image's own.
_CAUSES = (
    (
        rf"exec: {_NAME}: executable file not found",
        "There is no command {} in the image.",
        "Correct the command or entrypoint, or install the program in the image.",
    ),
    (
        rf"exec: {_NAME}: .*(?:no such file or|not a) directory",
        "The program {} is not in the image, or the interpreter that its first line names is not.",
        "Correct the command or entrypoint, or install what is missing.",
    ),
    (
        rf"exec: {_NAME}: .*(?:permission denied|is a directory)",
        "The program {} is not executable.",
        "Set its mode to 755, or call it through its interpreter.",
    ),
    (
        r"exec format error",
        "The image's program is not made for this machine.",
        "Build it for this platform; a script needs a first line such as #!/bin/sh.",
    ),
    (
        r"unable to find (?:user|group) ([\w.-]{1,64})",
        "The image has no user or group {}.",
        "Create it in the image, or name a number.",
    ),
    (
        r"[Nn]o command specified",
        "The image says no command.",
        "Set CMD or ENTRYPOINT in the image.",
    ),
    (
        rf"chdir to cwd \({_NAME}\)",
        "The working directory {} cannot be entered.",
        "Correct WORKDIR, and let the image's user read it.",
    ),
    (
        r"argument list too long",
        "The command and the environment are too long together.",
        "Shorten them, or put the data into a file.",
    ),
    (
        r"OOM-killed|[Mm]inimum memory limit",
        "The memory limit is too low for the container to start.",
        "Ask for more memory.",
    ),
    (
        r"could not select device driver",
        "The Engine has no support for GPUs.",
        "Support for GPUs is for the operator to add: NVIDIA's container toolkit.",
    ),
    (
        r"mount(?:ing|s? through|point)|not a directory",
        "A volume, or a folder in memory, cannot be mounted at its path in the image.",
        "Let the paths of VOLUME be folders of the image, and none of them a link or a file.",
    ),
)
_OF_RUNTIME = re.compile(
    r"OCI runtime \w+ |container_linux\.go:\d|starting container process|failed to create (?:shim|task)"
)
_OTHER = Cause(
    "The container runtime refused it.",
    "Check the image's command, user and volumes; the operator finds the reason in the worker's log.",
)
_HOST_PATH = re.compile(
    r"""/(?:var/lib|run|var/run)/[^\s"':]+|/[^\s"':]*/(?:overlay2|layerdb|docker-builder\d+)[^\s"':]*"""
)


def known_cause(message: str) -> Cause | None:
    """Why a container could not be created or started; ``None`` if the message is about something else.

    Args:
        message: The Engine's message.
    """
    for pattern, reason, hint in _CAUSES:
        if found := re.search(pattern, message):
            return Cause(reason.format(*found.groups()), hint)
    return _OTHER if _OF_RUNTIME.search(message) else None


def cause_of(message: str) -> Cause:
    """Why a container could not be created or started.

    Args:
        message: The Engine's message.
    """
    return known_cause(message) or _OTHER


def shown(message: str) -> str:
    """What a tenant is shown of a message: no word of the runtime, no path of the host.

    Args:
        message: The Engine's message.
    """
    if _OF_RUNTIME.search(message):
        return cause_of(message).reason
    return _HOST_PATH.sub("…", message)[:_MOST]
