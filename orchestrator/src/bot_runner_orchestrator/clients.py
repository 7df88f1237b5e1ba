"""Clients of the API: their tokens, and the users that they act for.

Clients are configuration, not state: they are held in memory and never written to the storage, so that a
client which the operator removes is gone after a restart, and no job, history or Redis key holds a token.
Avtomatika knows a client by :attr:`Client.identity` instead.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, SecretStr

from .errors import SetupError
from .operator_files import checked_table, read_tables
from .settings import Settings


class Client(BaseModel):
    """One client of the API.

    Attributes:
        name: What the operator calls it: the table's name in the file of clients.
        token: What it shows in ``X-Client-Token``.
        user_id: The user that it acts for where a request names none.
        may_act_for_others: Whether it may name another user (a front end with many users).
        requests_per_minute: Requests that it may make in a minute, from all its addresses together; 0 for no
            limit.
        monthly_attempts: Requests that it may make until the next restart; ``None`` for no limit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str
    token: SecretStr = Field(min_length=1)
    user_id: str = Field(min_length=1)
    may_act_for_others: bool = False
    requests_per_minute: NonNegativeInt = 0
    monthly_attempts: PositiveInt | None = None

    @property
    def identity(self) -> str:
        """The client's name in jobs, quotas and the history; it says nothing about the token."""
        return f"client:{self.name}"

    def as_client_config(self) -> dict[str, Any]:
        """The client as Avtomatika's handlers see it; its ``token`` is the identity."""
        return {
            "token": self.identity,
            "plan": "default",
            "params": {"user_id": self.user_id, "may_act_for_others": self.may_act_for_others},
        }


class ClientDirectory:
    """All clients, found by token.

    Args:
        clients: The clients.

    Raises:
        SetupError: Two of them share a token or a name.
    """

    def __init__(self, clients: Iterable[Client]) -> None:
        self._by_token: dict[bytes, Client] = {}
        names: set[str] = set()
        for client in clients:
            key = _token_key(client.token.get_secret_value())
            if other := self._by_token.get(key):
                raise SetupError(f"clients {other.name!r} and {client.name!r} have the same token")
            if client.name in names:
                raise SetupError(f"there are two clients named {client.name!r}")
            names.add(client.name)
            self._by_token[key] = client

    def __iter__(self) -> Iterator[Client]:
        return iter(self._by_token.values())

    def find(self, token: str) -> Client | None:
        """The client that shows ``token``, if there is one."""
        return self._by_token.get(_token_key(token))


def _token_key(token: str) -> bytes:
    # Looking up a digest takes the same time however much of a guessed token is right.
    return sha256(token.encode(errors="surrogateescape")).digest()


def load_clients(settings: Settings) -> ClientDirectory:
    """The client of ``CLIENT_TOKEN`` and those of the file at ``CLIENTS_CONFIG_PATH``.

    Args:
        settings: The orchestrator's settings.

    Raises:
        SetupError: The file cannot be read or is wrong; the text names the client and the field.
    """
    path = settings.clients_config_path
    clients = list(_read_clients(path, settings.client_requests_per_minute)) if path else []
    if settings.client_token is not None:
        clients.append(
            Client(
                name="CLIENT_TOKEN",
                token=settings.client_token,
                user_id=settings.client_user_id,
                may_act_for_others=settings.client_may_act_for_others,
                requests_per_minute=settings.client_requests_per_minute,
            )
        )
    if not clients:
        raise SetupError(f"{path} has no client, and CLIENT_TOKEN is not set")
    return ClientDirectory(clients)


def _read_clients(path: Path, requests_per_minute: int) -> Iterator[Client]:
    setting = "CLIENTS_CONFIG_PATH"
    for name, table in read_tables(setting, path):
        defaults = {"user_id": name, "requests_per_minute": requests_per_minute}
        yield checked_table(setting, path, name, Client, {**defaults, **table, "name": name})
