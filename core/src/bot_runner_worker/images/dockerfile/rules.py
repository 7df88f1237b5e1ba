"""The rules for a tenant's Dockerfile."""

import json
import re
from collections.abc import Mapping

from bot_runner_worker.images.dockerfile.parser import (
    BUILDKIT_HINT,
    WHITE_SPACE,
    Instruction,
    ParsedDockerfile,
    invalid,
    refused,
)
from bot_runner_worker.images.dockerfile.stages import BuildStage, VettedDockerfile
from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.model.identity import LABEL_PREFIX
from bot_runner_worker.model.image import ImageReference

_SCRATCH = "scratch"
_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
_PLAIN_LABELS = re.compile(r"(\s*[\w./-]+=(\"[^\"\\]*\"|'[^'\\]*'|[^\s\"'\\]*)(?=\s|$))+\s*")
_OWN_PLATFORM = ("$BUILDPLATFORM", "${BUILDPLATFORM}", "$TARGETPLATFORM", "${TARGETPLATFORM}")
_VARIABLE = re.compile(
    r"\$(?:(?P<plain>\w+)|\{(?P<name>\w+)(?:(?P<kind>:[-+])(?P<word>[^{}$]*))?\})", re.ASCII
)
_ARGUMENT = re.compile(r"([A-Za-z_]\w*)(?:=(\"[^\"\\]*\"|'[^'\\]*'|[^\s\"'\\]*))?(?:\s+|$)", re.ASCII)
_QUOTES = re.compile(r"[\\\"'`]")


def vet(parsed: ParsedDockerfile, platform: str) -> VettedDockerfile:
    """Check a Dockerfile against the rules.

    Args:
        parsed: The Dockerfile.
        platform: The Engine's, such as ``linux/amd64``.

    Raises:
        Rejected: ``DOCKERFILE_REFUSED`` for what is not allowed, ``INVALID_DOCKERFILE`` for what the builder
            lacks, ``INVALID_IMAGE_NAME`` or ``PLATFORM_MISMATCH`` for a base image.
    """
    variables: dict[str, str] = {}
    before: list[Instruction] = []
    stages: list[BuildStage] = []
    for instruction in parsed.instructions:
        if instruction.name == "FROM":
            stages.append(_stage(instruction, variables, [stage.name for stage in stages], platform))
        elif stages:
            names = [stage.name for stage in stages[:-1]]
            stages[-1].body.append(_checked(instruction, names))
        elif instruction.name == "ARG":
            before.append(instruction)
            variables |= _build_arguments(instruction, variables)
        else:
            raise invalid(instruction.line, f"{instruction.name} comes before the first FROM")
    if not stages:
        raise invalid(
            1, "there is no FROM", "Begin with FROM and a base image, such as FROM python:3.12-slim."
        )
    return VettedDockerfile(parsed.escape, tuple(before), tuple(stages))


def _stage(
    instruction: Instruction, variables: Mapping[str, str], earlier: list[str], platform: str
) -> BuildStage:
    line = instruction.line
    flags, rest = _split_flags(instruction)
    if unknown := flags.keys() - {"platform"}:
        raise invalid(line, f"FROM has no flag --{min(unknown)}")
    wanted = flags.get("platform", "")
    if wanted and wanted not in _OWN_PLATFORM and _expand(wanted, variables, line) != platform:
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
    base = _expand(parts[0], variables, line)
    if not base:
        raise invalid(line, "FROM names no image", "Give the variable a default: ARG NAME=value before FROM.")
    if base.lower() in earlier or base == _SCRATCH:
        return BuildStage(line, base.lower(), name)
    return BuildStage(line, ImageReference.parse(base), name)


def _checked(instruction: Instruction, earlier: list[str]) -> tuple[Instruction, ImageReference | None]:
    line = instruction.line
    match instruction.name:
        case "ONBUILD":
            raise refused(line, "ONBUILD is not allowed", "Write the instruction without ONBUILD.")
        case "RUN":
            return _run(instruction), None
        case "LABEL":
            _check_labels(instruction)
        case "ADD":
            _check_add(instruction)
        case "COPY":
            return _copy(instruction, earlier)
    return instruction, None


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
    if LABEL_PREFIX in _unquoted(text):
        raise refused(
            instruction.line, f"labels that begin with {LABEL_PREFIX} are the runner's own", "Leave them out."
        )
    if "$" in text and not _PLAIN_LABELS.fullmatch(text):
        raise refused(
            instruction.line,
            "a label's name must not be made of variables",
            'Write LABEL name="value", with variables in the value only.',
        )


def _check_add(instruction: Instruction) -> None:
    flags, rest = _split_flags(instruction)
    _check_flags(instruction, flags, {"chown"})
    paths = _paths(instruction.line, rest)
    # The Engine fetches remote sources itself, from its own network: the host's loopback is open to it.
    if any("://" in _unquoted(path) for path in paths):
        raise refused(
            instruction.line,
            "ADD of a remote address is not allowed",
            "Put the file into the project, or fetch it in a RUN instruction.",
        )
    if any("$" in path for path in paths[:-1]):
        raise refused(
            instruction.line,
            "ADD with a variable in its source is not allowed, it might be an address",
            "Use COPY for the project's own files.",
        )


def _copy(instruction: Instruction, earlier: list[str]) -> tuple[Instruction, ImageReference | None]:
    flags, rest = _split_flags(instruction)
    flags.pop("link", None)  # how layers are stored; the content is the same
    _check_flags(instruction, flags, {"from", "chown"})
    source = flags.pop("from", None)
    _paths(instruction.line, rest)
    kept = " ".join([*(f"--{name}={value}" for name, value in flags.items()), rest])
    if source is None:
        return Instruction(instruction.line, "COPY", kept), None
    if "$" in source:
        raise invalid(
            instruction.line, "variables in COPY --from are not supported", "Write the name itself."
        )
    if source.isascii() and source.isdecimal() and len(source) < 4 and int(source) >= len(earlier):
        raise invalid(instruction.line, f"there is no earlier stage {source}")
    if source.lower() in earlier or (source.isascii() and source.isdecimal() and len(source) < 4):
        return Instruction(instruction.line, "COPY", f"--from={source} {kept}"), None
    return Instruction(instruction.line, "COPY", kept), ImageReference.parse(source)


def _check_flags(instruction: Instruction, flags: Mapping[str, str], known: set[str]) -> None:
    if unknown := flags.keys() - known:
        raise invalid(instruction.line, f"{instruction.name} --{min(unknown)} needs BuildKit", BUILDKIT_HINT)


def _split_flags(instruction: Instruction) -> tuple[dict[str, str], str]:
    """Split the leading ``--name=value`` words from the rest.

    Raises:
        Rejected: ``INVALID_DOCKERFILE`` if one is quoted or given twice.
    """
    flags: dict[str, str] = {}
    rest = instruction.arguments
    while rest.startswith("--"):
        word, _, rest = re.sub(r"\s", " ", rest, count=1).partition(" ")
        rest = rest.lstrip()
        if word == "--":
            break
        name, _, value = word[2:].partition("=")
        if name in flags or _QUOTES.search(word):
            raise invalid(instruction.line, f"the flag {word[:80]!r} is given twice, or quoted")
        flags[name] = value
    return flags, rest


def _expand(text: str, variables: Mapping[str, str], line: int) -> str:
    """Replace ``$NAME``, ``${NAME}``, ``${NAME:-default}`` and ``${NAME:+other}``.

    Raises:
        Rejected: ``INVALID_DOCKERFILE`` for any other use of ``$``, quotes or escapes.
    """

    def value(match: re.Match[str]) -> str:
        known = variables.get(match["plain"] or match["name"], "")
        if match["kind"] == ":-":
            return known or match["word"]
        if match["kind"] == ":+":
            return match["word"] if known else ""
        return known

    expanded = _VARIABLE.sub(value, text)
    if "$" in _VARIABLE.sub("", text) or _QUOTES.search(text):
        raise invalid(line, f"{text[:80]!r} is not understood; use plain names and ${{VARIABLES}}")
    return expanded


def _build_arguments(instruction: Instruction, variables: Mapping[str, str]) -> dict[str, str]:
    """Read the names and defaults of an ``ARG`` before the first ``FROM``.

    Raises:
        Rejected: ``INVALID_DOCKERFILE``.
    """
    found: dict[str, str] = {}
    position = 0
    while position < len(instruction.arguments):
        match = _ARGUMENT.match(instruction.arguments, position)
        if match is None:
            raise invalid(instruction.line, "ARG is not understood; write ARG NAME=value")
        default = (match[2] or "").strip("\"'")
        found[match[1]] = _expand(default, {**variables, **found}, instruction.line)
        position = match.end()
    return found


def _unquoted(text: str) -> str:
    """The text without quotes and escapes."""
    return _QUOTES.sub("", text)


def _paths(line: int, text: str) -> list[str]:
    """Read the sources and the target of ``ADD`` or ``COPY``, in either form.

    Raises:
        Rejected: ``INVALID_DOCKERFILE`` if there are fewer than two, or a list is not plain JSON, of which
            the Engine would read the beginning only.
    """
    if text.startswith("["):
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):
            parsed = None
        if not isinstance(parsed, list) or not all(isinstance(path, str) for path in parsed):
            raise invalid(line, "the list of paths is not valid JSON")
        found: list[str] = parsed
    else:
        found = WHITE_SPACE.split(text)
    if len(found) < 2 or text.startswith("-"):
        raise invalid(line, "a source or the target is missing, or begins with a dash")
    return found
