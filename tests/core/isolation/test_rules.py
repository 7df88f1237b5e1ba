"""The rules as text, whatever is in place already; name servers and allow rules as operators write them."""

import json
from ipaddress import ip_address
from pathlib import Path

import pytest

from bot_runner_worker.isolation.host import listening_ports, name_servers
from bot_runner_worker.isolation.rules import CLOSED, IPV4, IPV6, RuleSet
from bot_runner_worker.model.addresses import AllowRule
from bot_runner_worker.model.errors import SettingsError
from bot_runner_worker.outbound.addresses import is_public
from bot_runner_worker.settings import Settings

RULES = RuleSet("bot-", (AllowRule.parse("10.0.0.53:53"), AllowRule.parse("fd00::/8")))
EMPTY = "-P INPUT ACCEPT\n-P FORWARD ACCEPT\n"
HOOKED = (
    "-P INPUT ACCEPT\n-N BOT-RUNNER-bot-INPUT\n-N BOT-RUNNER-bot-FORWARD\n"
    "-A INPUT -i bot-+ -j BOT-RUNNER-bot-INPUT\n-A INPUT -i lo -j ACCEPT\n"
    "-A FORWARD -i bot-+ -j BOT-RUNNER-bot-FORWARD\n-A BOT-RUNNER-bot-INPUT -j DROP\n"
    "-A BOT-RUNNER-bot-FORWARD -d 10.0.0.0/8 -j DROP\n"
)


def test_the_first_time_there_is_nothing_to_unhook() -> None:
    text = RULES.apply(IPV4, EMPTY)
    assert "\n-D" not in text
    assert "-I INPUT 1 -i bot-+ -j BOT-RUNNER-bot-INPUT\n" in text
    assert "-I FORWARD 1 -i bot-+ -j BOT-RUNNER-bot-FORWARD\n" in text


def test_hooks_of_before_are_replaced() -> None:
    text = RULES.apply(IPV4, HOOKED)
    assert text.count("-D INPUT -i bot-+ -j BOT-RUNNER-bot-INPUT\n") == 1
    assert text.count("-I INPUT 1 ") == 1


def test_allow_rules_go_to_their_own_family_before_anything_is_dropped() -> None:
    lines = RULES.apply(IPV4, EMPTY).splitlines()
    assert not any("fd00" in line for line in lines)
    for chain in (RULES.input_chain, RULES.forward_chain):
        opened = lines.index(f"-A {chain} -d 10.0.0.53/32 -p udp --dport 53 -j RETURN")
        assert opened < next(i for i, line in enumerate(lines) if chain in line and line.endswith("DROP"))
    assert f"-A {RULES.forward_chain} -d fd00::/8 -j RETURN" in RULES.apply(IPV6, "")


def test_nothing_to_remove() -> None:
    assert RULES.remove(EMPTY) == ""


@pytest.mark.parametrize("prefix", ["bot", "bot-a-"])
def test_rules_of_another_prefix_are_left_alone(prefix: str) -> None:
    other = RuleSet(prefix)
    assert other.remove(HOOKED) == ""
    assert "-D " not in other.apply(IPV4, HOOKED)


def test_in_place_means_first() -> None:
    assert RULES.in_place(HOOKED)
    assert not RULES.in_place(EMPTY)
    assert not RULES.in_place(HOOKED.replace("-A INPUT -i bot-+", "-A INPUT -j ACCEPT\n-A INPUT -i bot-+"))


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "172.31.0.1", "192.168.1.1", "100.64.0.1", "100.100.100.200", "169.254.169.254",
     "168.63.129.16", "192.0.0.192", "224.0.0.1", "255.255.255.255",
     "::1", "fe80::1", "fd00:ec2::254", "ff02::1", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"],
)  # fmt: skip
def test_closed_to_bots_as_to_the_worker(address: str) -> None:
    assert not is_public(ip_address(address))
    assert any(ip_address(address) in network for network in CLOSED)


@pytest.mark.parametrize("address", ["1.1.1.1", "9.255.255.255", "11.0.0.0", "2606:4700::1", "2a00::1"])
def test_the_internet_is_open(address: str) -> None:
    assert is_public(ip_address(address))
    assert not any(ip_address(address) in network for network in CLOSED)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("10.1.2.3", "10.1.2.3/32"),
        ("10.1.0.0/16:443", "10.1.0.0/16:443"),
        ("fd00::/8", "fd00::/8"),
        ("[fd00::1]:443", "[fd00::1/128]:443"),
    ],
)
def test_allow_rules(text: str, shown: str) -> None:
    opening = AllowRule.parse(text)
    assert str(opening) == shown
    assert AllowRule.parse(shown) == opening


@pytest.mark.parametrize(
    "text", ["db.local:5432", "10.1.2.3:0", "10.1.2.3:70000", "10.1.2.3/8", "10.1.2.3:", "-j"]
)
def test_allow_rules_that_are_none(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIREWALL_ALLOW", f"10.9.9.9,{text}")
    with pytest.raises(SettingsError, match="FIREWALL_ALLOW"):
        Settings.load_without_token()


@pytest.mark.parametrize("prefix", ["b", "Bot-", "bot-longer", "-bot", "bot+", "bot;"])
def test_prefixes_that_no_bridge_can_have(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_PREFIX", prefix)
    with pytest.raises(SettingsError, match="BRIDGE_PREFIX"):
        Settings.load_without_token()


def test_name_servers_of_the_host_and_of_the_engine(tmp_path: Path) -> None:
    assert name_servers(tmp_path) == ()
    (tmp_path / "etc/docker").mkdir(parents=True)
    (tmp_path / "run/systemd/resolve").mkdir(parents=True)
    (tmp_path / "etc/resolv.conf").write_text("# comment\nnameserver 127.0.0.53\nsearch lan\nnameserver\n")
    (tmp_path / "run/systemd/resolve/resolv.conf").write_text(
        "nameserver 10.0.0.53\nnameserver fe80::1%eth0\n"
    )
    (tmp_path / "etc/docker/daemon.json").write_text(json.dumps({"dns": ["10.0.0.54", "10.0.0.53"]}))
    assert [str(each) for each in name_servers(tmp_path)] == ["10.0.0.54", "10.0.0.53", "fe80::1"]


def test_ports_on_all_addresses(tmp_path: Path) -> None:
    table = tmp_path / "tcp"
    table.write_text(
        "  sl  local_address rem_address   st\n"
        "   0: 00000000:1F90 00000000:0000 0A 0\n"
        "   1: 0100007F:0050 00000000:0000 0A 0\n"
        "   2: 00000000:0016 0100007F:9999 01 0\n"
    )
    assert listening_ports([table, tmp_path / "none"]) == [8080]
