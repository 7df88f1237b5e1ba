"""Variables of a Dockerfile: ``ARG``, and where they are put in."""

import re
from collections.abc import Mapping

from bot_runner_worker.images.dockerfile.parser import QUOTES, Instruction, invalid

_VARIABLE = re.compile(
    r"\$(?:(?P<plain>\w+)|\{(?P<name>\w+)(?:(?P<kind>:[-+])(?P<word>[^{}$]*))?\})", re.ASCII
)
_ARGUMENT = re.compile(r"([A-Za-z_]\w*)(?:=(\"[^\"\\]*\"|'[^'\\]*'|[^\s\"'\\]*))?(?:\s+|$)", re.ASCII)


def expand(text: str, variables: Mapping[str, str], line: int) -> str:
    """Replace ``$NAME``, ``${NAME}``, ``${NAME:-default}`` and ``${NAME:+other}``.

    Raises:
        Rejected: ``INVALID_DOCKERFILE`` for any other use of ``$``, quotes or escapes.
    """
    if QUOTES.search(text):
        raise _not_understood(text, line)
    return _replaced(text, variables, line)


def _replaced(text: str, variables: Mapping[str, str], line: int) -> str:
    def value(match: re.Match[str]) -> str:
        known = variables.get(match["plain"] or match["name"], "")
        if match["kind"] == ":-":
            return known or match["word"]
        if match["kind"] == ":+":
            return match["word"] if known else ""
        return known

    if "$" in _VARIABLE.sub("", text):
        raise _not_understood(text, line)
    return _VARIABLE.sub(value, text)


def _not_understood(text: str, line: int) -> Exception:
    return invalid(line, f"{text[:80]!r} is not understood; use plain names and ${{VARIABLES}}")


def build_arguments(instruction: Instruction, variables: Mapping[str, str]) -> dict[str, str | None]:
    """Read an ``ARG``: names and defaults, ``None`` where there is none.

    Args:
        instruction: The instruction.
        variables: Those that a default may speak of.

    Raises:
        Rejected: ``INVALID_DOCKERFILE`` if it is not understood.
    """
    found: dict[str, str | None] = {}
    known = dict(variables)
    position = 0
    while position < len(instruction.arguments):
        match = _ARGUMENT.match(instruction.arguments, position)
        if match is None:
            raise invalid(instruction.line, "ARG is not understood; write ARG NAME=value")
        name, default = match.groups()
        if default is None or default.startswith("'"):
            found[name] = default and default.strip("'")
        else:
            found[name] = _replaced(default.strip('"'), known, instruction.line)
        known[name] = found[name] or ""
        position = match.end()
    return found
