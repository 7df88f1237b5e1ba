"""The isolation probe tells what a bot reaches, and leaves nothing behind."""

import asyncio
import logging
import subprocess
from ipaddress import IPv4Address
from typing import Any

import pytest
from tests.conftest import MakeRunner, RunnerUnderTest
from tests.core.isolation.conftest import FORWARDED, Bot

from bot_runner_worker import containers
from bot_runner_worker.diagnostics.doctor import run_checks
from bot_runner_worker.diagnostics.results import State
from bot_runner_worker.diagnostics.watches import EngineWatch, IsolationWatch
from bot_runner_worker.isolation import host, probe, probe_script
from bot_runner_worker.isolation.firewall import Firewall, rules_of
from bot_runner_worker.isolation.probe import Isolation, Level, probe_isolation
from bot_runner_worker.model.addresses import AllowRule
from bot_runner_worker.model.errors import Unavailable
from bot_runner_worker.testing.waiting import until

NOWHERE = ()
"""No metadata addresses: packets to the real ones would leave the machine."""


async def probed(runner: RunnerUnderTest, *metadata: str, again: bool = False) -> Isolation:
    """What the probe finds; it has to leave nothing."""
    found = await probe_isolation(
        runner.engine, runner.settings, again, metadata=[IPv4Address(each) for each in metadata]
    )
    assert await runner.leftovers() == []
    return found


@pytest.mark.engine
async def test_degraded_without_the_firewall_and_full_with_it(
    guarded: RunnerUnderTest, stand_ins: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "_HTTP", 8081)
    before = await probed(guarded, FORWARDED["metadata"])
    assert before.level is Level.DEGRADED
    told = "; ".join(before.reasons)
    assert "gateway" in told
    assert f"the host's address {host.primary_address()}" in told
    assert f"cloud metadata {FORWARDED['metadata']} on port 8081" in told

    Firewall(rules_of(guarded.settings)).apply()
    assert await probed(guarded, FORWARDED["metadata"]) == Isolation(Level.FULL)


@pytest.mark.slow
async def test_ports_where_the_host_listens_are_tried(guarded: RunnerUnderTest, stand_ins: None) -> None:
    assert 8081 in host.listening_ports()
    assert "8081" in str(await probed(guarded))


@pytest.mark.slow
async def test_what_the_operator_opened_is_not_held_against_it(
    make_runner: MakeRunner, bridge_prefix: str, stand_ins: None
) -> None:
    pool = "10.230.78.0/28"
    runner = await make_runner(
        bridge_prefix=bridge_prefix, network_pool=pool, firewall_allow=(AllowRule.parse("10.230.78.1:8081"),)
    )
    firewall = Firewall(rules_of(runner.settings))
    try:
        firewall.apply()
        assert await probed(runner) == Isolation(Level.FULL)
        bot = Bot(runner, (await runner.start()).data["container_id"])
        assert await bot.reaches(("10.230.78.1", 8081)) == [True]
    finally:
        firewall.remove()


@pytest.mark.slow
async def test_in_a_shared_network(make_runner: MakeRunner) -> None:
    runner = await make_runner(network_mode="shared")
    assert "gateway" in str(await probed(runner))


def drop_hook(chain: str, prefix: str) -> None:
    """Take away what leads from one of the kernel's chains to ours."""
    rule = ("-i", f"{prefix}+", "-j", f"BOT-RUNNER-{prefix}{chain}")
    subprocess.run(("iptables", "-w", "-t", "mangle", "-D", chain, *rule), check=True, timeout=10)


@pytest.mark.engine
async def test_away_from_the_engines_host_the_rules_show_as_well(
    guarded: RunnerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a worker's container, the host's addresses and its rules are out of sight."""
    monkeypatch.setattr(host, "bridge_address", lambda name: None)
    prefix, firewall = guarded.settings.bridge_prefix, Firewall(rules_of(guarded.settings))
    before = str(await probed(guarded))
    assert "the firewall's rules do not hold for its gateway" in before
    assert "the firewall's rules do not hold for a container on its bridge" in before

    firewall.apply()
    assert await probed(guarded, again=True) == Isolation(Level.FULL)
    # On a host that closes its own ports to everybody, only this one shows that the rules are gone.
    drop_hook("FORWARD", prefix)
    (reason,) = (await probed(guarded, again=True)).reasons
    assert "a container on its bridge" in reason
    firewall.apply()
    drop_hook("INPUT", prefix)
    (reason,) = (await probed(guarded, again=True)).reasons
    assert "its gateway" in reason


@pytest.mark.slow
async def test_if_the_operator_opened_all_that_is_tried_it_does_not_guess(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "bridge_address", lambda name: None)
    found = await probed(await make_runner(firewall_allow=(AllowRule.parse("10.0.0.0/8"),)))
    assert found == Isolation(Level.UNKNOWN, ("FIREWALL_ALLOW opens all that could be tried",))


@pytest.mark.slow
async def test_a_neighbour_that_has_died_is_not_taken_for_silent(
    guarded: RunnerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "_STAND_IN", "import time; time.sleep(1)")
    Firewall(rules_of(guarded.settings)).apply()
    with pytest.raises(Unavailable, match="the container beside it has ended"):
        await probed(guarded)
    assert await guarded.leftovers() == []


@pytest.mark.slow
async def test_the_engines_socket_in_reach_is_told(
    runner: RunnerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing mounts it, so another file stands for it."""
    program = probe._PROGRAM.replace(probe_script.SOCKETS[0], "/etc/hostname")
    monkeypatch.setattr(probe, "_PROGRAM", program)
    assert "a bot has the Engine's socket /etc/hostname" in str(await probed(runner))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "code"),
    [
        ({"base_image": "localhost/no-such-image:none"}, "BASE_IMAGE_UNAVAILABLE"),
        ({"network_pool": "10.230.79.0/30"}, "NETWORK_POOL_EMPTY"),
    ],
)
async def test_a_probe_that_cannot_run_says_why(
    make_runner: MakeRunner, setting: dict[str, str], code: str
) -> None:
    runner = await make_runner(**setting)
    with pytest.raises(Unavailable) as caught:
        await probed(runner)
    assert caught.value.code == code
    assert await runner.leftovers() == []


@pytest.mark.slow
async def test_the_probe_is_no_bot(runner: RunnerUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    async def look(*_: object, **__: object) -> list[object]:
        seen.append(await runner.runner.runtime.list_bots())
        seen.append(await runner.containers())
        raise ValueError("that is enough")

    monkeypatch.setattr(containers, "run", look)
    with pytest.raises(Unavailable):
        await probed(runner)
    bots, names = seen
    assert bots == []
    assert len(names) == 2


@pytest.mark.slow
async def test_the_supervisor_leaves_a_probe_alone(
    runner: RunnerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    run = containers.run

    async def look(*arguments: Any, **options: Any) -> Any:
        await runner.runner.supervisor.check()
        looks.append(await runner.containers())
        return await run(*arguments, **options)

    monkeypatch.setattr(containers, "run", look)
    assert "gateway" in str(await probed(runner))
    assert [len(names) for names in looks] == [2]


@pytest.mark.slow
async def test_the_worker_probes_in_the_background_and_says_what_it_found(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(probe_isolation, "__kwdefaults__", {"metadata": NOWHERE})
    runner = await make_runner(isolation_probe="on")
    engine = EngineWatch(runner.engine)
    await engine.ask()
    watch = IsolationWatch(runner.runner.isolation, lambda: engine.up)
    probing = asyncio.create_task(watch.run())
    await until(lambda: watch.at, within=60)
    probing.cancel()
    assert watch.found.level is Level.DEGRADED
    assert "isolation: degraded (a bot reaches its gateway" in caplog.text
    assert await runner.leftovers() == []


@pytest.mark.slow
async def test_doctor_tells_how_to_close_it(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch, bridge_prefix: str
) -> None:
    monkeypatch.setattr(probe_isolation, "__kwdefaults__", {"metadata": NOWHERE})
    runner = await make_runner(bridge_prefix=bridge_prefix)
    check = (await run_checks(runner.settings))["isolation"]
    assert check.state is State.WARNING
    assert check.finding.startswith("degraded (a bot reaches its gateway ")
    assert "bot-runner-worker firewall apply" in check.remedy
