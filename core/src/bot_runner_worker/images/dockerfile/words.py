"""Words of an instruction: flags, variables, lists."""

import json
import re
from collections.abc import Mapping

from bot_runner_worker.images.dockerfile.parsing import WHITE_SPACE, Instruction, invalid

_VARIABLE = re.compile(
    r"\$(?:(?P<plain>\w+)|\{(?P<name>\w+)(?:(?P<kind>:[-+])(?P<word>[^{}$]*))?\})", re.ASCII
)
_ARGUMENT = re.compile(r"([A-Za-z_]\w*)(?:=(\"[^\"\\]*\"|'[^'\\]*'|[^\s\"'\\]*))?(?:\s+|$)", re.ASCII)
_QUOTES = re.compile(r"[\\\"'`]")


def split_flags(instruction: Instruction) -> tuple[dict[str, str], str]:
    """The leading ``--name=value`` words, and the rest.

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


def expand(text: str, variables: Mapping[str, str], line: int) -> str:
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


def arguments(instruction: Instruction, variables: Mapping[str, str]) -> dict[str, str]:
    """Names and defaults of an ``ARG`` before the first ``FROM``.

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
        found[match[1]] = expand(default, {**variables, **found}, instruction.line)
        position = match.end()
    return found


def unquoted(text: str) -> str:
    """The text without quotes and escapes: what it says, whatever way it is written."""
    return _QUOTES.sub("", text)


def paths(line: int, text: str) -> list[str]:
    """Sources and target of ``ADD`` and ``COPY``, of either form.

    Raises:
        Rejected: ``INVALID_DOCKERFILE`` if there are fewer than two, or a list is not plain JSON: the Engine
            reads the beginning of one and overlooks what follows it.
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
