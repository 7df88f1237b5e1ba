"""Redaction of task params in logs and in the history."""

import re
from collections.abc import Mapping
from typing import Any

REDACTED = "[redacted]"

# What a request carries under any other name may be a secret (plugins bring params of their own).
_SAFE_PARAMS = frozenset(
    {"action", "user_id", "bot_id", "deployment_mode", "replace", "lines", "entrypoint", "resource_limits"}
)
_NAMES = frozenset({"action", "deployment_mode"})
"""Those of them that have one of a few values: anything else may be a secret in the wrong place."""
_HOLDS_PARAMS = frozenset({"initial_data", "params"})
_SECRET_NAME = re.compile(r"token|passw|secret|auth|cookie|signature|credential|api_?key", re.IGNORECASE)
_CONTENT = frozenset(
    {
        "env_vars",
        "code",
        "files",
        "archive",
        "logs",
        "log",
        "last_lines",
        "sig",
        "tracing_context",
        "trace_context",
    }
)


# user:password@ of an address; a password may hold what should have been encoded in it. Bounded, so that no
# text takes long.
_USER_PART = re.compile(r"//(?:[^\s/@:]{0,100}:[^\s@]{0,300}|[^\s/@]{1,300})@")
_LONGEST_TEXT = 4000
"""Characters of one text in the history; a tenant chooses some of them."""


def looks_secret(name: str) -> bool:
    """Whether what stands where a name belongs may be a secret: a token, or an assignment of one."""
    parts = re.split(r"[^A-Za-z0-9]+", name)
    return len(name) >= 8 and (
        any(sign in name for sign in "=:@/+")
        or any(len(part) >= 24 or (len(part) >= 10 and re.search(r"\d", part)) for part in parts)
    )


def shown_name(name: Any) -> str:
    """An unknown name as messages may quote it."""
    text = str(name)
    return repr(REDACTED) if looks_secret(text) else repr(text[:40])


def without_credentials(value: Any) -> Any:
    """A copy of JSON-like data without the user parts of addresses, wherever they stand in a text."""
    if isinstance(value, str):
        return _USER_PART.sub(f"//{REDACTED}@", value)
    if isinstance(value, Mapping):
        return {key: without_credentials(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_credentials(item) for item in value]
    return value


class HiddenParams(dict[str, Any]):
    """Task params whose text form gives nothing away.

    Avtomatika logs tasks by formatting whole dictionaries; this keeps the params out of any such line,
    whatever the log level, and still encodes as the dictionary that it is.
    """

    def __repr__(self) -> str:
        return f"<{len(self)} params, hidden>"

    __str__ = __repr__


def redact(value: Any) -> Any:
    """A copy of JSON-like data without secrets, at any depth.

    Kept: who, which bot, which action, and how it went. Gone: values of environment variables, code, files,
    archives, logs of bots and builds, headers, anything named like a secret, user parts of addresses, params
    that the orchestrator does not know, and the rest of long texts.

    Args:
        value: JSON-like data; other types become ``[redacted]``.
    """
    if isinstance(value, Mapping):
        return {str(key): _redact_item(str(key), item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact(item) for item in value]
    if isinstance(value, str):
        return without_credentials(value[:_LONGEST_TEXT])
    if value is None or isinstance(value, (int, float, bool)):
        return value
    return REDACTED


def _redact_item(key: str, value: Any) -> Any:
    if key in _CONTENT or _SECRET_NAME.search(key):
        return REDACTED
    if key in _HOLDS_PARAMS and value is not None:
        if not isinstance(value, Mapping):
            return REDACTED
        # The client's own settings are called params as well: user_id and may_act_for_others.
        return {
            REDACTED if looks_secret(str(name)) else str(name): _redact_param(str(name), item)
            for name, item in value.items()
        }
    return redact(value)


def _redact_param(name: str, value: Any) -> Any:
    if name not in _SAFE_PARAMS or (name in _NAMES and looks_secret(str(value))):
        return REDACTED
    return redact(value)
