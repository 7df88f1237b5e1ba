"""Parser of Dockerfiles, by the rules of the classic builder's own."""

import re
from dataclasses import dataclass

from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.model.quantities import format_size

MAX_SIZE = 256 * 1024
MAX_INSTRUCTIONS = 500

# White space, directives and continuations as in moby/buildkit, frontend/dockerfile/parser.
QUOTES = re.compile(r"[\\\"'`]")
WHITE_SPACE = re.compile(r"[\t\v\f\r ]+")
_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*")
_HERE_DOCUMENT = re.compile(r"(^|\s)\d*<<-?\s*[\"']?[A-Za-z_]")
_KNOWN = frozenset(
    {
        "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL",
        "MAINTAINER", "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
    }
)  # fmt: skip


BUILDKIT_HINT = "Builds here use the classic builder; write the instruction without what needs BuildKit."


def invalid(line: int, message: str, hint: str = "") -> Rejected:
    """The error for a Dockerfile that the builder cannot parse or lacks support for."""
    return Rejected(
        Code.INVALID_DOCKERFILE,
        f"Dockerfile, line {line}: {message}.",
        hint=hint or "Correct the Dockerfile; docker build shows the same error.",
        details={"line": line},
    )


def refused(line: int, message: str, hint: str) -> Rejected:
    """The error for a Dockerfile that uses what is not allowed here."""
    return Rejected(
        Code.DOCKERFILE_REFUSED, f"Dockerfile, line {line}: {message}.", hint=hint, details={"line": line}
    )


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction.

    Args:
        line: Where it begins, from 1; 0 for one that the runner has added.
        name: In upper case.
        arguments: All that follows, continuations joined and comments left out.
    """

    line: int
    name: str
    arguments: str

    def __str__(self) -> str:
        return f"{self.name} {self.arguments}"


@dataclass(frozen=True, slots=True)
class ParsedDockerfile:
    """A Dockerfile's instructions.

    Args:
        escape: The escape character, a backslash or a backtick.
        instructions: In their order.
    """

    escape: str
    instructions: tuple[Instruction, ...]

    def __str__(self) -> str:
        lines = [] if self.escape == "\\" else [f"# escape={self.escape}"]
        return "\n".join([*lines, *map(str, self.instructions)]) + "\n"


def parse(content: bytes) -> ParsedDockerfile:
    """Parse a Dockerfile.

    Raises:
        Rejected: ``INVALID_DOCKERFILE`` that names the line.
    """
    if len(content) > MAX_SIZE:
        raise invalid(1, f"the file is larger than {format_size(MAX_SIZE)}", "Make the Dockerfile shorter.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise invalid(1, "the file is not UTF-8 text") from None
    if "\0" in text:
        raise invalid(1, "the file holds a NUL character")
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    escape = _escape(lines)
    instructions = tuple(_instruction(number, line) for number, line in _logical_lines(lines, escape))
    if len(instructions) > MAX_INSTRUCTIONS:
        raise invalid(
            instructions[MAX_INSTRUCTIONS].line, f"there are more than {MAX_INSTRUCTIONS} instructions"
        )
    return ParsedDockerfile(escape, instructions)


def _escape(lines: list[str]) -> str:
    """The value of the directive ``escape``; directives are the first comments."""
    for number, line in enumerate(lines, 1):
        directive = _DIRECTIVE.fullmatch(line.strip())
        if directive is None:
            break
        if directive[1].lower() == "escape":
            if directive[2] not in ("\\", "`"):
                raise invalid(number, "the escape character is neither \\ nor `")
            return directive[2]
    return "\\"


def _logical_lines(lines: list[str], escape: str) -> list[tuple[int, str]]:
    joined: list[tuple[int, str]] = []
    begin, parts = 0, list[str]()
    for number, raw in enumerate(lines, 1):
        line = raw if parts else raw.lstrip()
        if raw.lstrip().startswith("#") or not line.strip():
            continue  # also in the middle of a continued instruction
        begin = begin if parts else number
        body = line.rstrip(" \t")
        if body.endswith(escape):
            if body.endswith(escape * 2):
                # Engines before 23 continue such a line, later ones do not.
                raise invalid(number, f"a line ends with two escape characters ({escape * 2})")
            parts.append(body[:-1])
            continue
        joined.append((begin, "".join([*parts, line]).strip()))
        parts = []
    if parts:
        joined.append((begin, "".join(parts).strip()))
    for number, line in joined:
        if line.rstrip(" \t").endswith(escape):
            raise invalid(number, f"an instruction ends with the escape character {escape}")
    return [(number, line) for number, line in joined if line]


def _instruction(number: int, line: str) -> Instruction:
    name, _, arguments = WHITE_SPACE.sub(" ", line, count=1).partition(" ")
    if name.upper() not in _KNOWN:
        raise invalid(number, f"unknown instruction {name[:40]!r}")
    if not arguments.strip():
        raise invalid(number, f"{name.upper()} has no arguments")
    if name.upper() in ("RUN", "COPY", "ADD") and _HERE_DOCUMENT.search(arguments):
        raise invalid(number, "here-documents (<<) need BuildKit", BUILDKIT_HINT)
    return Instruction(number, name.upper(), arguments.strip())


def split_flags(instruction: Instruction) -> tuple[dict[str, str], str]:
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
        if name in flags or QUOTES.search(word):
            raise invalid(instruction.line, f"the flag {word[:80]!r} is given twice, or quoted")
        flags[name] = value
    return flags, rest


def unquoted(text: str) -> str:
    """The text without quotes and escapes."""
    return QUOTES.sub("", text)
