"""Addresses: each one that a host has is judged, and what is judged is what the caller dials."""

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from bot_runner_worker.model.errors import BotRunnerError, Rejected, Unavailable
from bot_runner_worker.outbound import OutboundPolicy
from bot_runner_worker.settings import Settings
from bot_runner_worker.testing.waiting import until

PUBLIC = [
    "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "169.254.170.2",
    "168.63.129.16", "100.64.0.1", "100.100.100.200", "192.0.0.192", "192.0.2.1", "198.18.0.1",
    "198.51.100.7", "203.0.113.9", "192.88.99.1", "224.0.0.1", "239.255.255.250", "240.0.0.1",
    "255.255.255.255", "0.1.2.3", "2852039166", "0xa9fea9fe", "::ffff:169.254.169.254",
    "64:ff9b::169.254.169.254", "64:ff9b::10.0.0.1", "64:ff9b:1::a00:1", "2002:a9fe:a9fe::1",
    "2001:0:a9fe:a9fe::", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "100::1",
    "2001:db8::1", "2001:10::1", "3fff::1", "5f00::1", "4000::1",
]  # fmt: skip

NOT_PUBLIC = [
    "127.0.0.1", "127.255.255.254", "localhost", "0x0", "0X7F.0.0.0x1", "0177.1", "172.31.255.255",
    "169.254.170.2", "192.0.2.1", "198.51.100.7", "203.0.113.9", "192.88.99.1", "239.255.255.250",
    "240.0.0.1", "0.1.2.3", "0xa9fea9fe", "::ffff:169.254.169.254", "64:ff9b::169.254.169.254",
    "64:ff9b::10.0.0.1", "64:ff9b:1::a00:1", "2002:a9fe:a9fe::1", "2001:0:a9fe:a9fe::", "fd00::1", "fec0::1",
    "ff02::1", "100::1", "2001:db8::1", "2001:10::1", "3fff::1", "5f00::1", "4000::1",
]  # fmt: skip
"""Besides those of tests/corpus/urls.py."""

PUBLIC = ["1.1.1.1", "8.8.8.8", "172.32.0.1", "168.63.129.17", "2606:4700:4700::1111", "64:ff9b::8.8.8.8"]


def policy(**settings: Any) -> OutboundPolicy:
    return OutboundPolicy(Settings.load(worker_token=SecretStr("token"), **settings))


async def refusal(host: str, **settings: Any) -> BotRunnerError:
    with pytest.raises(BotRunnerError) as caught:
        await policy(**settings).resolve(host, 443)
    return caught.value


Resolver = Callable[[dict[str, list[str]]], list[str]]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    """A name server that gives the test's answers, and keeps a list of what it was asked."""

    def install(names: dict[str, list[str]]) -> list[str]:
        asked: list[str] = []

        def getaddrinfo(host: str, port: int, *_: object, **__: object) -> list[Any]:
            asked.append(host)
            if host not in names:
                raise socket.gaierror(socket.EAI_NONAME, "unknown")
            return [(0, socket.SOCK_STREAM, 6, "", (address, port)) for address in names[host]]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return asked

    return install


@pytest.mark.parametrize("host", NOT_PUBLIC)
async def test_what_is_not_public_is_refused(host: str) -> None:
    assert (await refusal(host)).code == "ADDRESS_DENIED"


@pytest.mark.parametrize("host", PUBLIC)
async def test_public_addresses_are_dialled(host: str) -> None:
    assert await policy().resolve(host, 443) == [host.replace("8.8.8.8", "808:808") if ":" in host else host]


async def test_one_inner_address_among_public_ones_is_enough_to_refuse(resolver: Resolver) -> None:
    resolver({"two-faced.example": ["1.1.1.1", "10.0.0.1"]})
    error = await refusal("two-faced.example")
    assert error.code == "ADDRESS_DENIED"
    assert "10.0.0.1" not in str(error.to_dict()), "would tell a tenant about the inner network"


async def test_the_caller_gets_the_addresses_that_were_judged(resolver: Resolver) -> None:
    asked = resolver({"example.com": ["1.1.1.1", "2606:4700::1111", "1.1.1.1"]})
    assert await policy().resolve("example.com", 443) == ["1.1.1.1", "2606:4700::1111"]
    assert asked == ["example.com"], "a second lookup could give another answer"


async def test_the_operator_opens_inner_addresses_one_by_one() -> None:
    rules = policy(source_addresses_allowed="10.1.2.3, 192.168.7.0/24,fd00::7/128")
    for host in ("10.1.2.3", "0x0a010203", "::ffff:10.1.2.3", "192.168.7.200", "fd00::7"):
        assert await rules.resolve(host, 443)
    for host in ("10.1.2.4", "192.168.8.1", "fd00::8", "127.0.0.1"):
        error = await refusal(host, source_addresses_allowed="10.1.2.3, 192.168.7.0/24,fd00::7/128")
        assert error.code == "ADDRESS_DENIED"


async def test_a_denied_address_is_denied_under_any_name(resolver: Resolver) -> None:
    resolver({"harmless.example": ["93.184.216.34"]})
    assert (await refusal("harmless.example", source_hosts_denied="93.184.216.34")).code == "HOST_DENIED"


async def test_this_machines_own_public_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot_runner_worker.outbound.policy.is_own", lambda address: str(address) == "8.8.4.4")
    assert (await refusal("8.8.4.4")).code == "ADDRESS_DENIED"
    assert await policy(source_addresses_allowed="8.8.4.4/32").resolve("8.8.4.4", 443) == ["8.8.4.4"]


def test_this_machines_addresses_are_told_from_others() -> None:
    from bot_runner_worker.outbound.addresses import is_own, parse_address

    assert is_own(parse_address("127.0.0.1"))
    assert not is_own(parse_address("8.8.8.8"))


async def test_a_name_that_does_not_exist_is_the_requests_fault(resolver: Resolver) -> None:
    resolver({})
    error = await refusal("no-such-host.example")
    assert isinstance(error, Rejected)
    assert error.code == "HOST_NOT_FOUND"


async def test_a_silent_name_server_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*_: object, **__: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    error = await refusal("example.com")
    assert isinstance(error, Unavailable)
    assert error.code == "HOST_LOOKUP_FAILED"


async def test_silent_name_servers_do_not_keep_others_from_being_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer = threading.Event()
    asked = Counter[str]()

    def getaddrinfo(host: str, *_: object, **__: object) -> list[Any]:
        asked[host] += 1
        if host == "silent.example":
            answer.wait(60)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    policy = OutboundPolicy(Settings(worker_token=SecretStr("x")))
    silent = [asyncio.create_task(policy.resolve("silent.example", 443)) for _ in range(64)]
    try:
        await until(lambda: asked["silent.example"] == 64, 10)
        assert [str(each) for each in await policy.resolve("other.example", 443)] == ["8.8.8.8"]
    finally:
        answer.set()
        await asyncio.gather(*silent)
