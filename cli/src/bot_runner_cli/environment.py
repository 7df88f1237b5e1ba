"""The bot's environment, from ``-e`` and ``--env-file``. No error shows a value, or what may be one."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from bot_runner_cli.errors import UsageError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNMENT = re.compile(rf"[^\S\n]*(?:export[ \t]+)?(?P<name>{_NAME.pattern})[ \t]*(?P<equals>=)?[ \t]*")
_BLANK = re.compile(r"[^\S\n]*(?:#[^\n]*)?(?:\n|\Z)")
_DOUBLE_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_SINGLE_QUOTED = re.compile(r"'([^']*)'")
_UNQUOTED = re.compile(r"[^\n]*")
_INLINE_COMMENT = re.compile(r"(^|\s)#.*$")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def bot_environment(
    options: Sequence[str], files: Sequence[Path], environ: Mapping[str, str]
) -> dict[str, str]:
    """Collect the variables; ``-e`` wins over files, and later ones over earlier ones.

    Args:
        options: Values of ``-e``: ``NAME=VALUE``, or ``NAME`` to take it from ``environ``.
        files: Files in dotenv format.
        environ: This process's environment.

    Raises:
        UsageError: Something is malformed, or a variable to take over is not set.
    """
    found: dict[str, str] = {}
    for path in files:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
            raise UsageError(f"{path} cannot be read: {reason}.") from error
        found |= parse_dotenv(text, environ, str(path))
    for number, option in enumerate(options, start=1):
        name, equals, value = option.partition("=")
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"-e number {number} is not NAME=VALUE.",
                hint="A name has letters, digits and underscores, no digit first.",
            )
        if not equals and name not in environ:
            raise UsageError(
                f"The variable {name} is not set here, so it cannot be passed on.",
                hint="Set it, or give a value.",
            )
        found[name] = value if equals else environ[name]
    return found


def parse_dotenv(text: str, environ: Mapping[str, str], origin: str) -> dict[str, str]:
    r"""Parse dotenv text.

    ``export`` and blanks around ``=`` are allowed. ``"…"`` may span lines and knows ``\n``, ``\t``, ``\"``
    and ``\\``; ``'…'`` is literal; without quotes a ``#`` after a blank begins a comment. No
    variable is expanded. A name without ``=`` is taken from ``environ``, as Docker does.

    Raises:
        UsageError: A line is malformed; it is named by its number.
    """
    text = text.replace("\r\n", "\n")
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        blank = _BLANK.match(text, position)
        if blank:
            position = blank.end()
            continue
        # Leading newlines cannot match here: a blank line is consumed above.
        start = _ASSIGNMENT.match(text, position)
        if start is None:
            raise _malformed(text, position, origin)
        position = start.end()
        value = None
        if start["equals"]:
            value, position = _value(text, position, origin)
        end = _BLANK.match(text, position)
        if end is None:
            raise _malformed(text, position, origin)
        if value is None and start["name"] not in environ:
            # The word is not shown: it may be a stray line of a secret.
            raise _malformed(text, position, origin, "there is no =, and no such variable is set here")
        found[start["name"]] = environ[start["name"]] if value is None else value
        position = end.end()
    return found


def _value(text: str, position: int, origin: str) -> tuple[str, int]:
    quote = text[position : position + 1]
    if quote == '"':
        match = _DOUBLE_QUOTED.match(text, position)
    elif quote == "'":
        match = _SINGLE_QUOTED.match(text, position)
    else:
        match = _UNQUOTED.match(text, position)
        assert match is not None
        return _INLINE_COMMENT.sub("", match[0]).strip(), match.end()
    if match is None:
        raise _malformed(text, position, origin, "a quote is never closed")
    value = match[1]
    if quote == '"':
        value = re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), value, flags=re.DOTALL)
    return value, match.end()


def _malformed(text: str, position: int, origin: str, why: str = "it is not NAME=VALUE") -> UsageError:
    line = text.count("\n", 0, position) + 1
    return UsageError(f"{origin}, line {line}: {why}.")
