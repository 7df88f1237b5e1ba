"""TOML files of the operator: one table for each client or worker."""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from .errors import SetupError

Model = TypeVar("Model", bound=BaseModel)


def read_tables(setting: str, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and content of each table.

    Args:
        setting: The setting that names the file, for complaints.
        path: The file.

    Raises:
        SetupError: The file cannot be read, is no TOML or has something else than tables.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is no UTF-8 text"
        raise SetupError(f"{setting}: cannot read {path}: {reason}") from exc
    except tomllib.TOMLDecodeError as exc:
        raise SetupError(f"{setting}: {path} is no TOML: {exc}") from exc
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise SetupError(f"{setting}: {path}: {name!r} must be a table: [{name}]")
        yield name, table


def checked_table(
    setting: str, path: Path, name: str, model: type[Model], values: Mapping[str, Any]
) -> Model:
    """One table as ``model``.

    Raises:
        SetupError: A field is wrong; the text names it, and holds no value.
    """
    try:
        return model.model_validate(values)
    except ValidationError as exc:
        error = exc.errors(include_input=False)[0]
        field = ".".join(str(part) for part in error["loc"])
        raise SetupError(f"{setting}: {path}: [{name}] {field}: {error['msg']}") from exc
