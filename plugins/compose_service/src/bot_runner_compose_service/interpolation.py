"""``${VARIABLE:-default}``: variables are those of whoever calls Compose, and here nobody does.

So every variable is unset: a default is taken, and a bare variable is refused, instead of becoming the empty
text that Compose would make of it.
"""

import re

from bot_runner_compose_service.errors import COMPOSE_VARIABLE_UNSET, invalid
from bot_runner_worker.plugin import Rejected

_TOKEN = re.compile(r"\$(?:(?P<escaped>\$)|(?P<plain>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*))", re.ASCII)
_MAX_DEPTH = 8


def interpolated(text: str, *, where: str) -> str:
    """The text with its variables replaced.

    Args:
        text: As it is in the file.
        where: The key that it belongs to.

    Raises:
        Rejected: ``COMPOSE_VARIABLE_UNSET``, or ``INVALID_COMPOSE_FILE`` if a variable is written wrongly.
    """
    return _Reader(text, where).read(0)


def passed_through(text: str | None, name: str) -> bool:
    """Whether a variable's value is the caller's own of the same name, which ``env_vars`` brings."""
    if text is None:
        return True
    return (
        re.fullmatch(rf"\$(?:{re.escape(name)}|\{{{re.escape(name)}(?::?\?[^{{}}]*)?\}})", text) is not None
    )


class _Reader:
    def __init__(self, text: str, where: str) -> None:
        self._text = text
        self._where = where
        self._position = 0

    def read(self, depth: int) -> str:
        """Up to the end of the text; inside a default, up to its closing brace."""
        if depth > _MAX_DEPTH:
            raise self._wrong()
        parts: list[str] = []
        while self._position < len(self._text):
            char = self._text[self._position]
            if char == "}" and depth:
                return "".join(parts)
            if char != "$":
                parts.append(char)
                self._position += 1
                continue
            parts.append(self._variable(depth))
        if depth:
            raise self._wrong()
        return "".join(parts)

    def _variable(self, depth: int) -> str:
        token = _TOKEN.match(self._text, self._position)
        if token is None:
            raise self._wrong()
        self._position = token.end()
        if token["escaped"]:
            return "$"
        if token["plain"]:
            raise self._unset(token["plain"])
        operator = re.compile(r":?[-+?]|(?=\})").match(self._text, self._position)
        if operator is None:
            raise self._wrong()
        self._position = operator.end()
        word = self.read(depth + 1)
        self._position += 1
        match operator.group().removeprefix(":"):
            case "-":
                return word
            case "+":
                return ""
        raise self._unset(token["braced"])

    def _wrong(self) -> Rejected:
        return invalid(
            f"has a variable in {self._where} that is written wrongly",
            "Write ${NAME:-default}, and $$ for a dollar sign.",
        )

    def _unset(self, name: str) -> Rejected:
        return Rejected(
            COMPOSE_VARIABLE_UNSET,
            f"The Compose file's {self._where} takes the variable {name[:80]}, which has no value here.",
            hint=f"Write the value, or a default: ${{{name[:80]}:-value}}. Variables of the bot itself come "
            "with env_vars, and are passed through by 'environment: [NAME]' or 'NAME: ${NAME}'.",
            details={"variable": name[:200], "key": self._where},
        )
