"""Hostile values for any field: of a wrong kind, too large, or made to leave the place where they belong."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

TEXTS: dict[str, str] = {
    "empty": "",
    "NUL": "bot\0.py",
    "new line": "bot.py\nRUN id",
    "no Unicode": "\ud800",
    "upwards": "../../../etc/passwd",
    "absolute": "/etc/passwd",
    "option": "--upload-pack=touch /tmp/owned",
    "shell": "$(touch /tmp/owned)`id`;id|id",
    "template": "{{7*7}}${ENV}%s%n",
    "metadata": "http://169.254.169.254/latest/meta-data/",
    "loopback": "http://127.0.0.2:1/x",
    "file URL": "file:///etc/passwd",
    "very long": "A" * 2_000_000,
    "right to left": "bot\u202eyp.exe",
}

OTHERS: dict[str, Any] = {
    "null": None,
    "number": -1,
    "huge number": 10**400,
    "NaN": float("nan"),
    "boolean": True,
    "list": [],
    "mapping": {},
    "many": ["x"] * 100_000,
}


def _deep(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = {"a": value}
    return value


def values() -> Iterator[tuple[str, Any]]:
    """Names and values."""
    yield from TEXTS.items()
    yield from OTHERS.items()
    yield "deep", _deep(400)


def variations(params: Mapping[str, Any], fields: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Params of a request with one field of the plugin's own turned hostile.

    Args:
        params: Valid params.
        fields: Fields of the source's model.
    """
    for field in fields:
        for name, value in values():
            yield f"{field}: {name}", {**params, field: value}
            if isinstance(params.get(field), list) and isinstance(value, str):
                yield f"{field}: list of {name}", {**params, field: [value]}
            if isinstance(params.get(field), Mapping) and isinstance(value, str):
                yield f"{field}: keys of {name}", {**params, field: {value: "x"}}
                yield f"{field}: values of {name}", {**params, field: dict.fromkeys(params[field], value)}
