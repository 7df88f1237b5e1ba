"""The limits on what one bot sends out: none by the rules of before, and no wall for an ordinary bot."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import MakeRunner
from tests.core.isolation.conftest import OTHER_PORT, PORT, PUBLIC, Bot
from typer.testing import CliRunner

from bot_runner_worker.cli import app
from bot_runner_worker.isolation.firewall import NO_LIMITS, Firewall, rules_of
from bot_runner_worker.isolation.rules import IPV4, IPV6, Egress, RuleSet
from bot_runner_worker.model.addresses import AllowRule
from bot_runner_worker.model.errors import SettingsError
from bot_runner_worker.settings import Settings
from bot_runner_worker.testing.waiting import until

SMTP = 25
BULK = 8083
MB = 1_000_000

BULK_SERVER = f"""
import socket, threading
def serve(connection):
    with connection:
        wanted = int(connection.makefile("rb").readline() or 0)
        block = bytes(65536)
        while wanted > 0:
            sent = connection.send(block[:wanted])
            wanted -= sent
        received = 0
        while data := connection.recv(65536):
            received += len(data)
            if data.endswith(b"!"):
                connection.sendall(b"%d\\n" % received)
mail = socket.create_server(("", {SMTP}))
server = socket.create_server(("", {BULK}))
print("ready", flush=True)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""

TRANSFER = """
import json, socket, sys, time
address, port, down, up = json.loads(sys.argv[1])
with socket.create_connection((address, port), timeout=60) as s:
    begun = time.monotonic()
    s.sendall(b"%d\\n" % down)
    received = 0
    while received < down:
        received += len(s.recv(1 << 20))
    got = time.monotonic()
    sent = 0
    if up:
        s.sendall(bytes(up - 1) + b"!")
        sent = int(s.makefile("rb").readline())
    print(json.dumps([received, got - begun, sent, time.monotonic() - got]))
"""

CONNECT_OFTEN = """
import json, socket, sys, time
address, port, times, keep = json.loads(sys.argv[1])
reached, kept, begun = 0, [], time.monotonic()
for _ in range(times):
    s = socket.socket()
    s.settimeout(0.2)
    reached += s.connect_ex((address, port)) == 0
    kept.append(s) if keep else s.close()
print(json.dumps([reached, time.monotonic() - begun]))
"""


@pytest.fixture
def bulk(stand_ins: str) -> Iterator[None]:
    """A server on the internet, as far as bots can tell: for mail, and for as many bytes as one likes."""
    command = ("ip", "netns", "exec", stand_ins, sys.executable, "-I", "-c", BULK_SERVER)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()


@contextmanager
def limited(bot: Bot, **egress: Any) -> Iterator[None]:
    """The rules with these limits and no others."""
    firewall = Firewall(RuleSet(bot.runner.settings.bridge_prefix, (), Egress(**egress)))
    try:
        firewall.apply()
        assert firewall.in_place()
        assert firewall.limits_in_place()
        yield
    finally:
        firewall.remove()


async def transfer(bot: Bot, *, down: int = 0, up: int = 0) -> tuple[float, float]:
    """Receive and send so many bytes; returns the seconds of each."""
    answer = json.loads(await bot.run(TRANSFER, json.dumps([PUBLIC, BULK, down, up])))
    assert (answer[0], answer[2]) == (down, up)
    return answer[1], answer[3]


async def connect(bot: Bot, times: int, *, keep: bool = False) -> tuple[int, float]:
    """Connect so many times; returns how often that worked, and the seconds that it took."""
    reached, seconds = json.loads(await bot.run(CONNECT_OFTEN, json.dumps([PUBLIC, BULK, times, keep])))
    return reached, seconds


@pytest.mark.engine
async def test_mail_is_closed_by_default_and_can_be_opened(
    bulk: None, make_runner: MakeRunner, bridge_prefix: str
) -> None:
    runner = await make_runner(bridge_prefix=bridge_prefix)
    bot = Bot(runner, (await runner.start()).data["container_id"])
    targets = [(PUBLIC, SMTP), (PUBLIC, PORT)]
    assert await bot.reaches(*targets) == [True, True]
    for settings, reached in (
        ({}, [False, True]),
        ({"firewall_allow": f"{PUBLIC}:{SMTP}"}, [True, True]),
        ({"firewall_closed_ports": "none"}, [True, True]),
        ({"firewall_closed_ports": f"465,{PORT}"}, [True, False]),
    ):
        rules = rules_of(Settings.load(worker_token="x", bridge_prefix=bridge_prefix, **settings))
        try:
            Firewall(rules).apply()
            assert await bot.reaches(*targets) == reached, settings
        finally:
            Firewall(rules).remove()


@pytest.mark.engine
async def test_a_bot_that_connects_without_end_is_held_to_its_rate(bulk: None, bot: Bot) -> None:
    assert (await connect(bot, 60))[0] == 60
    with limited(bot, connection_rate=2):
        reached, seconds = await connect(bot, 60)
        assert 18 <= reached <= 20 + 2 * (seconds + 1)

        async def again() -> bool:
            return (await connect(bot, 1))[0] == 1

        await until(again, what="the next connection, a moment later")


@pytest.mark.slow
async def test_connections_at_the_same_time_are_limited(bulk: None, bot: Bot) -> None:
    assert (await connect(bot, 40, keep=True))[0] == 40
    with limited(bot, connections=30):

        async def thirty() -> bool:
            return (await connect(bot, 40, keep=True))[0] == 30

        # Those of before are closed, and counted until the kernel has seen that.
        await until(thirty, what="thirty of forty connections")


@pytest.mark.slow
async def test_bandwidth_is_limited_in_both_directions(bulk: None, bot: Bot) -> None:
    size, rate = 12 * MB, MB
    assert max(await transfer(bot, down=size, up=size)) < 5
    with limited(bot, bandwidth=rate):
        # Four seconds' worth goes through at once.
        assert min(await transfer(bot, down=size, up=size)) > 5


@pytest.mark.slow
async def test_one_bots_limits_are_not_its_neighbours(bulk: None, bot: Bot) -> None:
    other = Bot(bot.runner, (await bot.runner.start("bob")).data["container_id"])
    with limited(bot, connection_rate=1, connections=10):
        assert (await connect(bot, 30, keep=True))[0] <= 10
        assert (await connect(other, 5))[0] == 5


@pytest.mark.slow
async def test_the_defaults_are_no_wall_for_an_ordinary_bot(bulk: None, bot: Bot) -> None:
    """A large download, and a hundred connections at once."""
    firewall = Firewall(rules_of(bot.runner.settings))
    firewall.apply()
    assert firewall.limits_in_place()
    await transfer(bot, down=200 * MB, up=20 * MB)
    assert (await connect(bot, 100, keep=True))[0] == 100
    assert await bot.reaches((PUBLIC, PORT), (PUBLIC, OTHER_PORT)) == [True, True]


@pytest.mark.slow
@pytest.mark.usefixtures("host_network")
def test_where_the_kernel_lacks_a_match_the_rest_is_closed_and_it_is_said(
    bridge_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("iptables-restore", "ip6tables-restore"):
        real = shutil.which(name)
        (tmp_path / name).write_text(
            "#!/bin/sh\nrules=$(cat)\ncase $rules in *connlimit*) echo no match >&2; exit 2;; esac\n"
            f'printf "%s\\n" "$rules" | {real} "$@"\n'
        )
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("BRIDGE_PREFIX", bridge_prefix)
    firewall = Firewall(rules_of(Settings.load_without_token()))
    try:
        report = json.loads(CliRunner().invoke(app, ["firewall", "apply", "--json"]).stdout)
        assert report["in_place"]
        assert NO_LIMITS in report["notes"]
        assert not firewall.limits_in_place()
        assert "--dport 25 -j DROP" in firewall.state(IPV4)
    finally:
        firewall.remove()


FULL = RuleSet("bot-", (), Egress((25, 465), 1000, 50, 25 * 1024 * 1024))


def test_limits_come_before_what_the_operator_opens() -> None:
    """Bandwidth is counted for answers, too; what is new is counted before it is let through."""
    rules = replace(FULL, allow_rules=(AllowRule.parse("1.2.3.4:25"),))
    lines = [line for line in rules.apply(IPV4, "").splitlines() if rules.forward_chain in line]
    order = ("bot-up4", "ESTABLISHED", "bot-new4", "connlimit", "1.2.3.4", "--dport 25 -j DROP", "10.0.0.0/8")
    found = [next(at for at, line in enumerate(lines) if word in line) for word in order]
    assert found == sorted(found)


def test_each_family_has_tables_and_addresses_of_its_own() -> None:
    assert "bot-up6" in FULL.apply(IPV6, "")
    assert "--connlimit-mask 128" in FULL.apply(IPV6, "")
    assert "--connlimit-mask 32" in FULL.apply(IPV4, "")


def test_zero_is_no_limit() -> None:
    text = RuleSet("bot-").apply(IPV4, "")
    assert "limit" not in text
    assert "--dport 25 " not in text


@pytest.mark.parametrize("ports", ["0", "65536", "smtp", "25;26", "-1", "25,none"])
def test_ports_that_are_none(ports: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIREWALL_CLOSED_PORTS", ports)
    with pytest.raises(SettingsError, match="FIREWALL_CLOSED_PORTS"):
        Settings.load_without_token()


@pytest.mark.parametrize(("text", "ports"), [("", (25,)), ("none", ()), ("25, 465,587", (25, 465, 587))])
def test_ports(text: str, ports: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIREWALL_CLOSED_PORTS", text)
    assert Settings.load_without_token().firewall_closed_ports == ports
