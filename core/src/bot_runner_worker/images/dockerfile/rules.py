"""The rules for a tenant's Dockerfile."""

import re
from collections.abc import Mapping

from bot_runner_worker.images.context import BuildContext
from bot_runner_worker.images.dockerfile.parser import (
    BUILDKIT_HINT,
    MAX_INSTRUCTIONS,
    Instruction,
    ParsedDockerfile,
    invalid,
    refused,
    split_flags,
    unquoted,
)
from bot_runner_worker.images.dockerfile.sources import CopyRules
from bot_runner_worker.images.dockerfile.stages import BuildStage, Step, VettedDockerfile
from bot_runner_worker.images.dockerfile.variables import build_arguments, expand
from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.model.identity import LABEL_PREFIX
from bot_runner_worker.model.image import ImageReference

_SCRATCH = "scratch"
_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
_PLAIN_LABELS = re.compile(r"(\s*[\w./-]+=(\"[^\"\\]*\"|'[^'\\]*'|[^\s\"'\\]*)(?=\s|$))+\s*")
_OWN_PLATFORM = ("$BUILDPLATFORM", "${BUILDPLATFORM}", "$TARGETPLATFORM", "${TARGETPLATFORM}")


def vet(
    parsed: ParsedDockerfile, platform: str, context: BuildContext, max_image_size: int
) -> VettedDockerfile:
    """Check a Dockerfile against the rules.

    Args:
        parsed: The Dockerfile.
        platform: The Engine's, such as ``linux/amd64``.
        context: The build context, with what it copies.
        max_image_size: Bytes that an image may have.

    Raises:
        Rejected: ``DOCKERFILE_REFUSED`` for what is not allowed, ``INVALID_DOCKERFILE`` for what the builder
            lacks, ``INVALID_IMAGE_NAME`` or ``PLATFORM_MISMATCH`` for a base image.
    """
    variables: dict[str, str] = {}
    copies = CopyRules(context, max_image_size)
    before: list[Instruction] = []
    stages: list[BuildStage] = []
    for instruction in parsed.instructions:
        if instruction.name == "FROM":
            stages.append(_stage(instruction, variables, [stage.name for stage in stages], platform))
        elif stages:
            names = [stage.name for stage in stages[:-1]]
            stages[-1].body.extend(_checked(instruction, names, copies))
        elif instruction.name == "ARG":
            before.append(instruction)
            variables |= {name: each or "" for name, each in build_arguments(instruction, variables).items()}
        else:
            raise invalid(instruction.line, f"{instruction.name} comes before the first FROM")
    if not stages:
        raise invalid(
            1, "there is no FROM", "Begin with FROM and a base image, such as FROM python:3.12-slim."
        )
    if sum(len(stage.body) for stage in stages) > MAX_INSTRUCTIONS:
        raise invalid(stages[-1].line, f"it comes to more than {MAX_INSTRUCTIONS} instructions")
    return VettedDockerfile(parsed.escape, tuple(before), tuple(stages), tuple(copies.expanded))


def _stage(
    instruction: Instruction, variables: Mapping[str, str], earlier: list[str], platform: str
) -> BuildStage:
    line = instruction.line
    flags, rest = split_flags(instruction)
    if unknown := flags.keys() - {"platform"}:
        raise invalid(line, f"FROM has no flag --{min(unknown)}")
    wanted = flags.get("platform", "")
    if wanted and wanted not in _OWN_PLATFORM and expand(wanted, variables, line) != platform:
        raise Rejected(
            Code.PLATFORM_MISMATCH,
            f"Dockerfile, line {line}: images for {wanted[:40]} cannot run here.",
            hint=f"Leave out --platform, or use {platform}.",
            details={"line": line, "platform": platform},
        )
    parts = rest.split()
    if len(parts) not in (1, 3) or (len(parts) == 3 and parts[1].upper() != "AS"):
        raise invalid(line, "FROM is not understood; write FROM image, or FROM image AS name")
    name = parts[2].lower() if len(parts) == 3 else ""
    if name and not _STAGE_NAME.fullmatch(name):
        raise invalid(line, f"{name[:40]!r} is no name of a stage")
    base = expand(parts[0], variables, line)
    if not base:
        raise invalid(line, "FROM names no image", "Give the variable a default: ARG NAME=value before FROM.")
    if base.lower() in earlier or base == _SCRATCH:
        return BuildStage(line, base.lower(), name)
    return BuildStage(line, ImageReference.parse(base), name)


def _checked(instruction: Instruction, earlier: list[str], copies: CopyRules) -> list[Step]:
    line = instruction.line
    match instruction.name:
        case "ONBUILD":
            raise refused(line, "ONBUILD is not allowed", "Write the instruction without ONBUILD.")
        case "RUN":
            return [(_run(instruction), None)]
        case "LABEL":
            _check_labels(instruction)
        case "ARG":
            build_arguments(instruction, {})
        case "ADD":
            return [copies.add(instruction)]
        case "COPY":
            return copies.copy(instruction, earlier)
    return [(instruction, None)]


def _run(instruction: Instruction) -> Instruction:
    rest = instruction.arguments
    # A cache between builds only makes them faster; anything else that a flag asks for would be missed.
    while match := re.match(r"--mount=(?:[^\s\"']*,)?type=cache(?:,[^\s\"']*)?\s+", rest):
        rest = rest[match.end() :]
    if match := re.match(r"--(\w+)", rest):
        raise invalid(instruction.line, f"RUN --{match[1]} needs BuildKit", BUILDKIT_HINT)
    if not rest:
        raise invalid(instruction.line, "RUN has no command")
    return Instruction(instruction.line, "RUN", rest)


def _check_labels(instruction: Instruction) -> None:
    # A build's containers have the labels of its Dockerfile: with a bot's labels, one would pass for a bot.
    text = instruction.arguments
    if LABEL_PREFIX in unquoted(text):
        raise refused(
            instruction.line, f"labels that begin with {LABEL_PREFIX} are the runner's own", "Leave them out."
        )
    if "$" in text and not _PLAIN_LABELS.fullmatch(text):
        raise refused(
            instruction.line,
            "a label's name must not be made of variables",
            'Write LABEL name="value", with variables in the value only.',
        )
