"""Registries: the Engine dials them, so their names and addresses are judged before it hears of them."""

import socket
from typing import Any

import pytest
from pydantic import SecretStr

from bot_runner_worker.model.errors import Rejected
from bot_runner_worker.outbound import OutboundPolicy
from bot_runner_worker.settings import Settings


@pytest.fixture(autouse=True)
def resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(host: str, port: int, *_: object, **__: object) -> list[Any]:
        address = {"inner.example.com": "10.0.0.9", "outer.example.com": "1.1.1.1"}.get(host, host)
        return [(0, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def policy(**settings: Any) -> OutboundPolicy:
    return OutboundPolicy(Settings.load(worker_token=SecretStr("token"), **settings))


async def refusal(registry: str, **settings: Any) -> str:
    with pytest.raises(Rejected) as caught:
        await policy(**settings).check_registry(registry)
    return caught.value.code


@pytest.mark.parametrize("registry", ["docker.io", "ghcr.io", "eu.gcr.io", "1.dkr.ecr.eu-1.amazonaws.com"])
async def test_well_known_registries_are_open(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OutboundPolicy, "resolve", _resolved)
    await policy().check_registry(registry)


async def _resolved(*_: object) -> list[str]:
    return ["1.1.1.1"]


@pytest.mark.parametrize(
    "registry", ["10.0.0.1", "[::1]:5000", "docker.io:444", "evil.dkr.ecr.x.y.amazonaws.com"]
)
async def test_others_are_closed(registry: str) -> None:
    assert await refusal(registry) == "REGISTRY_DENIED"


@pytest.mark.parametrize(
    "registry", ["inner.example.com", "inner.example.com:5000", "127.0.0.1:5000", "[::1]:5"]
)
async def test_a_pattern_opens_public_addresses_only(registry: str) -> None:
    assert await refusal(registry, registries_allowed="*") == "ADDRESS_DENIED"
    await policy(registries_allowed="*").check_registry("outer.example.com:5000")


@pytest.mark.parametrize("registry", ["inner.example.com:5000", "127.0.0.1:5000", "[::1]:5000"])
async def test_a_full_name_opens_the_registry_with_that_port_at_any_address(registry: str) -> None:
    await policy(registries_allowed=registry).check_registry(registry)
    assert await refusal(registry.replace("5000", "5001"), registries_allowed=registry) == "REGISTRY_DENIED"
    assert await refusal("docker.io", registries_allowed=registry) == "REGISTRY_DENIED"


async def test_the_deny_list_wins() -> None:
    assert await refusal("docker.io", registries_denied="docker.io") == "REGISTRY_DENIED"
    assert await refusal("docker.io", registries_denied="*") == "REGISTRY_DENIED"


@pytest.mark.parametrize(
    "entry", ["https://ghcr.io", "ghcr.io/owner", "ghcr.io:port", "a b", "..", "ghcr..io"]
)
def test_an_entry_that_is_no_host_is_an_error_of_the_settings(entry: str) -> None:
    with pytest.raises(Exception, match="REGISTRIES_ALLOWED"):
        policy(registries_allowed=entry)
