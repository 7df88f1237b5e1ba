"""The firewall on this host, seen from inside a bot: each path is open before, and closed after."""

import asyncio
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from typing import Any

import pytest
from tests.conftest import MakeRunner, RunnerUnderTest
from tests.core.isolation.conftest import (
    FORWARDED,
    HOST_LOCAL,
    LISTENER,
    OTHER_PORT,
    PORT,
    PUBLIC,
    Bot,
    ip,
)
from typer.testing import CliRunner

from bot_runner_worker.cli import app
from bot_runner_worker.cli import firewall as firewall_command
from bot_runner_worker.engine import networks
from bot_runner_worker.isolation.firewall import Firewall, rules_of
from bot_runner_worker.isolation.host import primary_address
from bot_runner_worker.isolation.rules import IPV4, IPV6, RuleSet
from bot_runner_worker.model.addresses import AllowRule
from bot_runner_worker.model.identity import NAMESPACE
from bot_runner_worker.settings import Settings
from bot_runner_worker.testing.waiting import until

INDEX = """
import os, socket
from urllib.parse import urlsplit
from pip._internal.models.index import PyPI
url = urlsplit(os.environ.get("PIP_INDEX_URL") or PyPI.simple_url)
try:
    found = socket.getaddrinfo(url.hostname, url.port or 443, socket.AF_INET, socket.SOCK_STREAM)
    socket.create_connection(found[0][4], timeout=10).close()
except OSError as error:
    print("closed", type(error).__name__)
else:
    print("open", *found[0][4])
"""
"""Looks up the package index of this machine, whichever that is, and connects to it."""

TRY_AGAIN_AND_AGAIN = """
import json, socket, sys, time
tried = reached = 0
end = time.monotonic() + 5
while time.monotonic() < end:
    tried += 1
    with socket.socket() as s:
        s.settimeout(0.02)
        reached += s.connect_ex(tuple(json.loads(sys.argv[1]))) == 0
print(tried, reached)
"""


def ours(firewall: Firewall) -> list[str]:
    """Each rule and chain on this host that is of these rules."""
    names = (firewall.rules.input_chain, firewall.rules.forward_chain)
    lines = [line for family in (IPV4, IPV6) for line in firewall.state(family).splitlines()]
    return [line for line in lines if any(name in line for name in names)]


@contextmanager
def applied(rules: RuleSet) -> Iterator[None]:
    """The rules in place for a while."""
    firewall = Firewall(rules)
    try:
        firewall.apply()
        yield
    finally:
        firewall.remove()


async def create_network(runner: RunnerUnderTest, name: str, bridge: str, **more: Any) -> None:
    """A network as an operator makes it by hand, but with this bridge; the runner's sweep removes it."""
    body = {
        "Name": name,
        "Labels": {NAMESPACE: runner.settings.runner_namespace},
        "Options": {"com.docker.network.bridge.name": bridge},
        **more,
    }
    await runner.engine.json("POST", "networks/create", body=body)


def run(*command: str, text: str | None = None) -> None:
    """Run a command of the operator's."""
    subprocess.run(command, input=text, text=True, check=True, capture_output=True, timeout=30)


@pytest.mark.engine
async def test_closed_are_the_host_and_what_is_not_the_internet(stand_ins: None, bot: Bot) -> None:
    host = primary_address()
    assert host is not None
    closed = {"gateway": await bot.gateway(), "host": str(host), "host's metadata": HOST_LOCAL, **FORWARDED}
    targets = [(address, PORT) for address in closed.values()]
    firewall = Firewall(rules_of(bot.runner.settings))

    assert await bot.reaches(*targets, (PUBLIC, PORT)) == [True] * len(closed) + [True]
    firewall.apply()
    assert await bot.reaches(*targets, (PUBLIC, PORT)) == [False] * len(closed) + [True]
    # The Engine puts the rules of a new network before those that it finds.
    later = Bot(bot.runner, (await bot.runner.start(bot_id="later")).data["container_id"])
    assert await later.reaches(*targets, (PUBLIC, PORT)) == [False] * len(closed) + [True]
    firewall.remove()
    assert await bot.reaches(*targets, (PUBLIC, PORT)) == [True] * len(closed) + [True]


@pytest.mark.slow
async def test_no_moment_is_open_while_networks_come_and_go(stand_ins: None, bot: Bot) -> None:
    """The Engine rearranges its own rules then, and lets through what only ``DOCKER-USER`` closes."""
    engine, target = bot.runner.engine, (FORWARDED["private"], PORT)
    assert await bot.reaches(target) == [True]
    Firewall(rules_of(bot.runner.settings)).apply()
    trying = asyncio.create_task(bot.run(TRY_AGAIN_AND_AGAIN, json.dumps(target)))
    labels = {NAMESPACE: bot.runner.settings.runner_namespace}
    rounds = 0
    while not trying.done():
        name = f"{bot.runner.settings.docker_network}-{rounds}"
        await networks.create_bridge(engine, name, labels=labels, options={}, subnet="10.230.76.0/29")
        await networks.remove(engine, name)
        rounds += 1
    assert rounds > 2
    tried, reached = map(int, (await trying).split())
    assert tried > 50
    assert reached == 0


@pytest.mark.slow
async def test_names_and_the_package_index_stay_open(bot: Bot) -> None:
    before = (await bot.run(INDEX)).split()
    if before[0] != "open":
        pytest.skip("this machine does not reach its package index")
    _, address, port = before
    rules = rules_of(bot.runner.settings)
    # A company's own index may be at a private address.
    allowed = AllowRule(ip_network(address), int(port))
    Firewall(RuleSet(rules.prefix, (*rules.allow_rules, allowed))).apply()
    assert (await bot.run(INDEX)).split()[0] == "open"


@pytest.mark.slow
async def test_what_the_operator_opens_stays_open(stand_ins: None, bot: Bot) -> None:
    gateway, private = await bot.gateway(), FORWARDED["private"]
    allow_rules = tuple(AllowRule.parse(text) for text in (f"{gateway}:{PORT}", f"{private}:{PORT}"))
    Firewall(RuleSet(bot.runner.settings.bridge_prefix, allow_rules)).apply()
    assert await bot.reaches((gateway, PORT), (private, PORT)) == [True, True]
    assert await bot.reaches((gateway, OTHER_PORT), (private, OTHER_PORT)) == [False, False]


@pytest.mark.slow
async def test_a_shared_network_is_covered_too(
    stand_ins: None, make_runner: MakeRunner, bridge_prefix: str
) -> None:
    runner = await make_runner(bridge_prefix=bridge_prefix, network_mode="shared")
    bot = Bot(runner, (await runner.start()).data["container_id"])
    gateway = await bot.gateway()
    assert await bot.reaches((gateway, PORT)) == [True]
    with applied(rules_of(runner.settings)):
        assert await bot.reaches((gateway, PORT)) == [False]


@pytest.mark.engine
async def test_neighbours_in_a_network_that_the_operator_made(
    host_network: None, make_runner: MakeRunner, bridge_prefix: str
) -> None:
    """Its neighbours are open to each other by the Engine's defaults; the rules close them."""
    runner = await make_runner(bridge_prefix=bridge_prefix, network_mode="shared")
    await create_network(runner, runner.settings.docker_network, bridge=f"{bridge_prefix}hand")
    victim = (await runner.start("alice", deployment_mode="simple", code=LISTENER)).data
    bot = Bot(runner, (await runner.start("mallory")).data["container_id"])
    neighbour = await Bot(runner, victim["container_id"]).address()
    targets = [(neighbour, PORT), (victim["container_name"], PORT)]
    assert await bot.reaches(*targets) == [True, True]
    with applied(rules_of(runner.settings)):
        assert await bot.reaches(*targets) == [False, False]


@pytest.mark.slow
async def test_the_host_still_reaches_its_bots(bot: Bot, bridge_prefix: str) -> None:
    """Answers to the host are let through: only what a bot begins is closed."""
    Firewall(RuleSet(bridge_prefix)).apply()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((await bot.address(), 9), timeout=3)


@pytest.mark.slow
async def test_ipv6_to_the_host_is_closed(
    stand_ins: None, make_runner: MakeRunner, bridge_prefix: str
) -> None:
    """The runner makes no network with IPv6; an operator may, for all bots."""
    runner = await make_runner(bridge_prefix=bridge_prefix, network_mode="shared")
    gateway, bridge = "fd77:b07::1", f"{bridge_prefix}six"
    subnets = [{"Subnet": "fd77:b07::/64", "Gateway": gateway}, {"Subnet": "10.230.77.0/29"}]
    await create_network(
        runner, runner.settings.docker_network, bridge, EnableIPv6=True, IPAM={"Config": subnets}
    )
    bot = Bot(runner, (await runner.start()).data["container_id"])

    async def reached() -> bool:
        return await bot.reaches((gateway, PORT)) == [True]

    await until(reached, what="the gateway's IPv6 address, after duplicate address detection")

    with applied(RuleSet(bridge_prefix)):
        assert await bot.reaches((gateway, PORT)) == [False]
    with applied(RuleSet(bridge_prefix, (AllowRule.parse(f"[{gateway}]:{PORT}"),))):
        # Takes neighbour discovery, which the rules must not drop.
        ip("-6", "neighbour", "flush", "dev", bridge)
        assert await bot.reaches((gateway, PORT), (gateway, OTHER_PORT)) == [True, False]


@pytest.mark.slow
@pytest.mark.usefixtures("host_network")
def test_applying_again_changes_nothing_and_removing_leaves_no_trace(bridge_prefix: str) -> None:
    firewall = Firewall(RuleSet(bridge_prefix, (AllowRule.parse("10.1.2.3:53"),)))
    assert not firewall.in_place()
    assert ours(firewall) == []
    try:
        firewall.apply()
        first = ours(firewall)
        assert firewall.in_place()
        firewall.apply()
        assert ours(firewall) == first
        # Somebody else's rule before ours would win.
        foreign = ("INPUT", "-i", f"{bridge_prefix}+", "-j", "ACCEPT")
        run("iptables", "-w", "-t", "mangle", "-I", *foreign)
        try:
            assert not firewall.in_place()
            firewall.apply()
            assert firewall.in_place()
        finally:
            run("iptables", "-w", "-t", "mangle", "-D", *foreign)
    finally:
        firewall.remove()
    assert ours(firewall) == []
    assert firewall.remove() == []


@pytest.mark.slow
async def test_the_script_that_show_prints_does_what_apply_does(
    guarded: RunnerUnderTest, monkeypatch: pytest.MonkeyPatch, bridge_prefix: str
) -> None:
    monkeypatch.setenv("BRIDGE_PREFIX", bridge_prefix)
    monkeypatch.setenv("FIREWALL_ALLOW", "10.1.2.3:8081, 10.2.0.0/16")
    firewall = Firewall(RuleSet(bridge_prefix))
    shown = CliRunner().invoke(app, ["firewall", "show"])
    assert shown.exit_code == 0
    assert ours(firewall) == []

    run("sh", "-e", text=shown.stdout)
    by_hand = ours(firewall)
    assert any("10.2.0.0/16 -j RETURN" in line for line in by_hand)
    removed = CliRunner().invoke(app, ["firewall", "remove"])
    assert removed.stdout == f"Removed the rules for {bridge_prefix}*.\n"
    assert ours(firewall) == []

    applied = CliRunner().invoke(app, ["firewall", "apply"])
    assert "10.1.2.3/32:8081" in applied.stdout
    assert ours(firewall) == by_hand


@pytest.mark.engine
@pytest.mark.usefixtures("host_network")
def test_keep_puts_the_rules_back_and_leaves_them(
    bridge_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRIDGE_PREFIX", bridge_prefix)
    wall = Firewall(rules_of(Settings.load_without_token()))
    found = []

    def meanwhile(seconds: float) -> None:
        assert seconds < 60
        found.append(wall.in_place())
        if len(found) == 3:
            raise KeyboardInterrupt
        if len(found) == 2:
            wall.remove()

    monkeypatch.setattr(firewall_command, "sleep", meanwhile)
    try:
        said = CliRunner().invoke(app, ["firewall", "keep"]).stdout
        assert found == [True, True, True]
        assert wall.in_place()
    finally:
        wall.remove()
    assert said.splitlines()[:2] == [
        f"In place: the rules for {bridge_prefix}*.",
        f"Put back: the rules for {bridge_prefix}*.",
    ]


@pytest.mark.engine
@pytest.mark.usefixtures("host_network")
def test_rules_of_which_only_the_names_are_left_are_not_in_place(bridge_prefix: str) -> None:
    """As after ``iptables -F`` of one chain."""
    wall = Firewall(RuleSet(bridge_prefix))
    try:
        for chain in ("INPUT", "FORWARD"):
            wall.apply()
            assert wall.in_place()
            run("iptables", "-w", "-t", "mangle", "-F", f"BOT-RUNNER-{bridge_prefix}{chain}")
            assert not wall.in_place()
    finally:
        wall.remove()


@pytest.mark.parametrize("command", ["apply", "keep", "remove"])
def test_without_root_the_command_says_so(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    done = CliRunner().invoke(app, ["firewall", command])
    assert done.exit_code == 2
    assert "root" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_show_works_without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    done = CliRunner().invoke(app, ["firewall", "show"])
    assert done.exit_code == 0
    assert "-I FORWARD 1 -i bot-+ -j BOT-RUNNER-bot-FORWARD" in done.stdout


@pytest.mark.parametrize(("allowed", "noted"), [("", True), ("10.1.2.3:3128", False), ("10.1.2.0/24", False)])
def test_a_proxy_that_would_be_closed_is_noted(
    allowed: str, noted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HTTP_PROXY", "http://10.1.2.3:3128")
    monkeypatch.setenv("FIREWALL_ALLOW", allowed)
    report = json.loads(CliRunner().invoke(app, ["firewall", "show", "--json"]).stdout)
    note = "HTTP_PROXY is at 10.1.2.3, which is closed: add 10.1.2.3/32:3128 to FIREWALL_ALLOW."
    assert (note in report["notes"]) is noted
