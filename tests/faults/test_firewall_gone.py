"""Somebody takes the firewall's rules away while a worker runs: they come back, or no bot starts."""

import os
import shutil
from collections.abc import Callable

import pytest
from tests.conftest import RunnerUnderTest
from tests.core.isolation.conftest import Bot, bridge_prefix, host_network
from tests.core.isolation.test_firewall import run
from tests.core.isolation.test_guard import SIMPLE, flush, in_a_container, refused, required, watched

from bot_runner_worker.diagnostics import watches
from bot_runner_worker.isolation import guard
from bot_runner_worker.isolation.firewall import Firewall, rules_of
from bot_runner_worker.isolation.rules import RuleSet
from bot_runner_worker.testing.waiting import until

__all__ = ["bridge_prefix", "host_network", "in_a_container", "required"]

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("iptables") is None,
        reason="changes the host's network: needs root and iptables",
    ),
]


def _empty_a_chain(prefix: str) -> None:
    run("iptables", "-w", "-t", "mangle", "-F", f"BOT-RUNNER-{prefix}INPUT")


def _remove_everything(prefix: str) -> None:
    Firewall(RuleSet(prefix)).remove()


WAYS = {"a reload": flush, "an emptied chain": _empty_a_chain, "a removal": _remove_everything}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_where_the_worker_may_it_puts_them_back(
    required: RunnerUnderTest, monkeypatch: pytest.MonkeyPatch, way: Callable[[str], None]
) -> None:
    monkeypatch.setattr(watches, "RULES_INTERVAL", 0.2)
    wall = Firewall(rules_of(required.settings))
    wall.apply()
    async with watched(required):
        bot = Bot(required, (await required.start()).data["container_id"])
        way(required.settings.bridge_prefix)
        await until(wall.in_place, 30)
        assert await bot.reaches((await bot.gateway(), 9)) == [False]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_elsewhere_no_bot_starts_until_they_are_back(
    required: RunnerUnderTest,
    in_a_container: None,
    monkeypatch: pytest.MonkeyPatch,
    way: Callable[[str], None],
) -> None:
    monkeypatch.setattr(guard, "GOOD_FOR", 0.0)
    wall = Firewall(rules_of(required.settings))
    wall.apply()
    assert (await required.start(bot_id="before")).ending == "success"
    way(required.settings.bridge_prefix)
    assert (await refused(required, **SIMPLE))["code"] == "NOT_ISOLATED"
    wall.apply()
    assert (await required.start()).ending == "success"
