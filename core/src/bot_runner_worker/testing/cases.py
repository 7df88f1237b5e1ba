"""Cases of the conformance suite: params, and hostile values for each field."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

HOSTILE_TEXTS: dict[str, str] = {
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

OTHER_HOSTILE_VALUES: dict[str, Any] = {
    "null": None,
    "number": -1,
    "huge number": 10**400,
    "NaN": float("nan"),
    "boolean": True,
    "list": [],
    "mapping": {},
    "many": ["x"] * 100_000,
}


@dataclass(frozen=True, slots=True)
class Site:
    """Where a case is tried.

    Args:
        sources: The fixture ``source_server``, whatever a test suite made of it.
        base_image: The name of the base image, which every runner may use.
    """

    sources: Any
    base_image: str


Params = Mapping[str, Any] | Callable[[Site], Mapping[str, Any]]
"""Params of ``start_bot`` besides ``user_id`` and ``bot_id``, or what makes them."""

Invalid = tuple[Params, str | tuple[str, ...]]
"""Params, and the code of the error that they end with, or several where any of them is right."""


def params_at(site: Site, params: Params) -> dict[str, Any]:
    """The params of a case."""
    return dict(params(site) if callable(params) else params)


def _deep(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = {"a": value}
    return value


def hostile_values() -> Iterator[tuple[str, Any]]:
    """Yield names and values."""
    yield from HOSTILE_TEXTS.items()
    yield from OTHER_HOSTILE_VALUES.items()
    yield "deep", _deep(400)


def hostile_variations(
    params: Mapping[str, Any], fields: Iterable[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield params with a hostile value for one of the plugin's own fields.

    Args:
        params: Valid params.
        fields: Fields of the source's model.
    """
    for field in fields:
        for name, value in hostile_values():
            yield f"{field}: {name}", {**params, field: value}
            if isinstance(params.get(field), list) and isinstance(value, str):
                yield f"{field}: list of {name}", {**params, field: [value]}
            if isinstance(params.get(field), Mapping) and isinstance(value, str):
                yield f"{field}: keys of {name}", {**params, field: {value: "x"}}
                yield f"{field}: values of {name}", {**params, field: dict.fromkeys(params[field], value)}
