"""Tokens of single workers, from the operator's file.

Like clients they are configuration, not state: held in memory and never written to the storage, so that a
worker which is taken out of the file is locked out at the next start.
"""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from .errors import SetupError
from .operator_files import checked_table, read_tables

_PATTERN_PREFIX = "pattern:"  # Avtomatika's own files mark patterns with it


class WorkerEntry(BaseModel):
    """One table of the file.

    Attributes:
        token: What the worker shows, and signs its messages with.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    token: SecretStr = Field(min_length=1)


class WorkerTokens:
    """Workers that have a token of their own.

    Args:
        by_id: Token by ``WORKER_ID`` or by pattern (``*``, ``?``, ``[…]``; the prefix ``pattern:`` is
            optional).
    """

    def __init__(self, by_id: Mapping[str, SecretStr] | None = None) -> None:
        named = {name.removeprefix(_PATTERN_PREFIX): token for name, token in (by_id or {}).items()}
        self._exact = {name: token for name, token in named.items() if not re.search(r"[*?\[]", name)}
        self._patterns = {name: token for name, token in named.items() if name not in self._exact}

    def __len__(self) -> int:
        return len(self._exact) + len(self._patterns)

    def find(self, worker_id: str) -> str | None:
        """The token that this worker must show: its own, else that of the first pattern that fits."""
        if token := self._exact.get(worker_id):
            return token.get_secret_value()
        for pattern, token in self._patterns.items():
            if fnmatchcase(worker_id, pattern):
                return token.get_secret_value()
        return None


def load_worker_tokens(path: Path | None) -> WorkerTokens:
    """Read the file at ``WORKERS_CONFIG_PATH``; without one, no worker has a token of its own.

    Args:
        path: TOML file, or ``None``.

    Raises:
        SetupError: The file cannot be read or is wrong; the text names the worker and the field.
    """
    if path is None:
        return WorkerTokens()
    setting = "WORKERS_CONFIG_PATH"
    tokens = {
        name: checked_table(setting, path, name, WorkerEntry, table).token
        for name, table in read_tables(setting, path)
    }
    if not tokens:
        raise SetupError(f"{setting}: {path} has no worker")
    return WorkerTokens(tokens)
