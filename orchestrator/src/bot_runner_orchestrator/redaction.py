"""Redaction of task params in logs and in the history."""

import re
from collections.abc import Mapping
from typing import Any

REDACTED = "[redacted]"

# What a request carries under any other name may be a secret (plugins bring params of their own).
_SAFE_PARAMS = frozenset(
    {"action", "user_id", "bot_id", "deployment_mode", "replace", "lines", "entrypoint", "resource_limits"}
)
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
    archives, logs of bots and builds, headers, anything named like a secret, and params that the orchestrator
    does not know.

    Args:
        value: JSON-like data; other types become ``[redacted]``.
    """
    if isinstance(value, Mapping):
        return {str(key): _redact_item(str(key), item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact(item) for item in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return REDACTED


def _redact_item(key: str, value: Any) -> Any:
    if key in _CONTENT or _SECRET_NAME.search(key):
        return REDACTED
    if key in _HOLDS_PARAMS and value is not None:
        if not isinstance(value, Mapping):
            return REDACTED
        # The client's own settings are called params as well: user_id and may_act_for_others.
        return {str(name): redact(item) if name in _SAFE_PARAMS else REDACTED for name, item in value.items()}
    return redact(value)
