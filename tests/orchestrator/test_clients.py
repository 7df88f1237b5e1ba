"""The operator's clients."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bot_runner_orchestrator.clients import Client, ClientDirectory, load_clients
from bot_runner_orchestrator.errors import SetupError
from bot_runner_orchestrator.settings import Settings


def settings(clients: Path | None, token: str | None = None) -> Settings:
    return Settings(
        _env_file=None,
        GLOBAL_WORKER_TOKEN="w",
        clients_config_path=clients,
        client_token=token,
        client_user_id="me",
    )


def test_table_name_is_the_user_unless_another_is_named(write: Any) -> None:
    path = write(
        '[alice]\ntoken = "t-a"\n[front]\ntoken = "t-f"\nuser_id = "web"\nmay_act_for_others = true\n'
    )
    clients = load_clients(settings(path, token="t-env"))
    found = {token: clients.find(token) for token in ("t-a", "t-f", "t-env", "t-x")}
    assert found["t-x"] is None
    seen = [(c.user_id, c.may_act_for_others) for c in found.values() if c]
    assert seen == [("alice", False), ("web", True), ("me", False)]


def test_client_config_has_no_token() -> None:
    client = Client(name="alice", token=SecretStr("t-alice"), user_id="alice")
    assert "t-alice" not in str(client.as_client_config())


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[alice\n", "is no TOML"),
        ('alice = "t"\n', "must be a table"),
        ("[alice]\n", "[alice] token: Field required"),
        ('[alice]\ntoken = ""\n', "[alice] token:"),
        ('[alice]\ntoken = "secret-t"\nmonthly_attempts = "many"\n', "[alice] monthly_attempts:"),
        ('[alice]\ntoken = "secret-t"\nmay_act_for_other = true\n', "[alice] may_act_for_other:"),
        ('[alice]\ntoken = "secret-t"\n[bob]\ntoken = "secret-t"\n', "have the same token"),
        ("", "has no client"),
    ],
)
def test_wrong_files_are_explained_without_their_tokens(write: Any, text: str, complaint: str) -> None:
    with pytest.raises(SetupError) as raised:
        load_clients(settings(write(text)))
    assert complaint in str(raised.value)
    assert "secret-t" not in str(raised.value)


def test_names_are_unique() -> None:
    twins = [Client(name="alice", token=SecretStr(token), user_id="alice") for token in ("one", "two")]
    with pytest.raises(SetupError, match="two clients named"):
        ClientDirectory(twins)
