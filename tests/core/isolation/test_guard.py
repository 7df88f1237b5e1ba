"""No stranger's bot is started on a host that bots can reach."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from typing import Any

import aiohttp
import pytest
from tests.conftest import IDLE_BOT, MakeRunner, RunnerUnderTest
from tests.core.isolation.conftest import FORWARDED, PORT, Bot

from bot_runner_worker.diagnostics import watches
from bot_runner_worker.diagnostics.checks import network
from bot_runner_worker.diagnostics.checks.context import check_context
from bot_runner_worker.diagnostics.health import Health, HealthServer
from bot_runner_worker.diagnostics.metrics import Metrics
from bot_runner_worker.diagnostics.results import State, ok
from bot_runner_worker.diagnostics.watches import EngineWatch, IsolationWatch
from bot_runner_worker.isolation import firewall, guard, probe
from bot_runner_worker.isolation.firewall import Firewall, rules_of
from bot_runner_worker.isolation.guard import IsolationGuard
from bot_runner_worker.isolation.probe import Isolation, Level
from bot_runner_worker.settings import Settings
from bot_runner_worker.tasks.outcome import Ending
from bot_runner_worker.testing.memory_runner import memory_settings
from bot_runner_worker.testing.waiting import until


@pytest.fixture
async def required(
    host_network: None, make_runner: MakeRunner, bridge_prefix: str
) -> AsyncIterator[RunnerUnderTest]:
    """A runner as it is by default, whose bridges no rule speaks of yet."""
    runner = await make_runner(
        bridge_prefix=bridge_prefix,
        isolation_required="on",
        isolation_probe="local",
        health_address="127.0.0.1:0",
    )
    yield runner
    Firewall(rules_of(runner.settings)).remove()


@pytest.fixture
def in_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the worker's container: neither the host's addresses nor its rules are in sight."""
    monkeypatch.setattr(guard, "can_keep", lambda settings: False)
    monkeypatch.setattr(probe.host, "bridge_address", lambda name: None)


def flush(prefix: str) -> None:
    """What a reload of another firewall does, for the rules of one test alone."""
    for chain in ("INPUT", "FORWARD"):
        for command in ("iptables", "ip6tables"):
            ours = ("-i", f"{prefix}+", "-j", f"BOT-RUNNER-{prefix}{chain}")
            subprocess.run((command, "-w", "-t", "mangle", "-D", chain, *ours), check=True, timeout=10)


async def refused(runner: RunnerUnderTest, task: str = "start_bot", **params: Any) -> dict[str, Any]:
    """The error of a task, which nothing is left of."""
    before = await runner.leftovers()
    outcome = await runner.task(task, user_id="alice", bot_id="bot", **params)
    assert outcome.ending is Ending.FAILURE, outcome.data
    assert await runner.leftovers() == before
    error: dict[str, Any] = outcome.data["error"]
    return error


SIMPLE = {"deployment_mode": "simple", "code": IDLE_BOT}


class Connection:
    """An orchestrator that is always there."""

    draining = False

    def counts(self) -> dict[str, int]:
        return dict.fromkeys(("running", "results_waiting", "events_waiting", "events_dropped"), 0)

    def check(self) -> Any:
        return ok("there")


@asynccontextmanager
async def watched(runner: RunnerUnderTest) -> AsyncIterator[Callable[[], Any]]:
    """A worker's watch; yields what asks for its ``/ready``."""
    engine = EngineWatch(runner.engine)
    await engine.ask()
    watch = IsolationWatch(runner.runner.isolation, lambda: engine.up)
    health = Health(runner.runner, engine, watch, Connection(), Metrics([]))
    async with HealthServer(runner.settings, health) as server, aiohttp.ClientSession() as session:

        async def ready() -> tuple[int, list[str]]:
            async with session.get(f"http://127.0.0.1:{server.port}/ready") as answer:
                return answer.status, (await answer.json())["reasons"]

        watching = asyncio.create_task(watch.run())
        try:
            yield ready
        finally:
            watching.cancel()


@pytest.mark.engine
async def test_a_worker_in_a_container_starts_nothing_until_the_one_command_was_run(
    required: RunnerUnderTest, in_a_container: None
) -> None:
    error = await refused(required, **SIMPLE)
    assert (error["code"], error["stage"]) == ("NOT_ISOLATED", "isolation")
    assert "bot-runner-worker firewall apply" in error["hint"]
    assert f"BRIDGE_PREFIX={required.settings.bridge_prefix}" in error["hint"]
    # What is open is told to the operator, and to no tenant.
    assert "10." not in str(error)

    Firewall(rules_of(required.settings)).apply()
    assert (await required.start()).ending is Ending.SUCCESS


@pytest.mark.engine
async def test_rules_that_vanish_are_put_back_where_the_worker_may(
    required: RunnerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert watches.RULES_INTERVAL < 60
    monkeypatch.setattr(watches, "RULES_INTERVAL", 0.2)
    prefix, wall = required.settings.bridge_prefix, Firewall(rules_of(required.settings))
    async with watched(required) as ready:

        async def closed() -> bool:
            return bool((await ready())[0] == 200)

        # The operator's word comes first: nothing is put where it never was.
        error = await refused(required, **SIMPLE)
        assert error["code"] == "NOT_ISOLATED"
        assert not wall.in_place()
        status, reasons = await ready()
        assert status == 503
        assert any(reason.startswith("isolation: degraded (") for reason in reasons), reasons

        wall.apply()
        await until(closed, 30)
        bot = Bot(required, (await required.start()).data["container_id"])
        gateway = (await bot.gateway(), 9)
        flush(prefix)
        await until(wall.in_place, 30)
        assert await bot.reaches(gateway) == [False]
        assert await closed()


@pytest.mark.slow
async def test_rules_that_vanish_elsewhere_end_starts_and_nothing_else(
    required: RunnerUnderTest, in_a_container: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A probe, its pause, and what starts take for granted: less than a minute together.
    assert watches.PROBE_INTERVAL + 2 * 5 < guard.GOOD_FOR <= 60
    Firewall(rules_of(required.settings)).apply()
    assert (await required.start()).ending is Ending.SUCCESS
    flush(required.settings.bridge_prefix)
    monkeypatch.setattr(guard, "GOOD_FOR", 0.0)

    assert (await refused(required, "restart_bot"))["code"] == "NOT_ISOLATED"
    for task in ("list_bots", "check_status", "get_logs", "stop_bot"):
        answer = await required.task(task, user_id="alice", **({} if "list" in task else {"bot_id": "bot"}))
        assert answer.ending is Ending.SUCCESS, (task, answer.data)
    assert (await refused(required, "restart_bot"))["code"] == "NOT_ISOLATED"
    Firewall(rules_of(required.settings)).apply()
    assert (await required.task("restart_bot", user_id="alice", bot_id="bot")).ending is Ending.SUCCESS


@pytest.mark.slow
async def test_doctor_says_what_ready_says_and_is_content_after_the_one_command(
    required: RunnerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = await check_context(required.engine, required.settings)
    before = await network.isolation(context)
    assert before.state is State.FAILED
    prefix = required.settings.bridge_prefix
    assert before.remedy.endswith(f"as root: BRIDGE_PREFIX={prefix} bot-runner-worker firewall apply")
    async with watched(required) as ready:
        await until(lambda: required.runner.isolation.found.rules is False, 30)
        _, (reason,) = await ready()
        # The lists of ports are of two moments.
        assert reason.partition(" on port ")[0] == f"isolation: {before.finding}".partition(" on port ")[0]
    monkeypatch.setenv("BRIDGE_PREFIX", prefix)
    Firewall(rules_of(Settings.load(worker_token="x"))).apply()
    after = await network.isolation(context)
    assert (after.state, after.remedy) == (State.OK, "")


@pytest.mark.slow
async def test_the_probe_of_a_real_worker_tries_what_is_elsewhere_before_the_first_bot(
    required: RunnerUnderTest, in_a_container: None, stand_ins: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stand-ins take the place of the clouds' metadata."""
    tried = []
    run = probe._run

    async def look(*arguments: Any) -> dict[str, Any]:
        tried.append([str(target.address) for target in arguments[-1]])
        return await run(*arguments)

    monkeypatch.setattr(probe, "_run", look)
    monkeypatch.setattr(probe, "_HTTP", PORT)
    metadata = FORWARDED["metadata"]
    defaults = {"metadata": [IPv4Address(metadata)]}
    monkeypatch.setattr(probe.probe_isolation, "__kwdefaults__", defaults)
    settings = required.settings.model_copy(update={"isolation_probe": "on"})
    found = IsolationGuard(required.engine, settings)
    assert f"cloud metadata {metadata} on port {PORT}" in str(await found.look())
    Firewall(rules_of(settings)).apply()
    assert (await found.look()).level is (await found.look()).level is Level.FULL
    assert [metadata in targets for targets in tried] == [True, True, False]
    # With "local", never.
    await IsolationGuard(required.engine, required.settings).look()
    assert metadata not in tried[-1]


def settings(**changes: Any) -> Settings:
    return memory_settings(isolation_required="on", **changes)


@pytest.mark.parametrize(
    ("found", "closed"),
    [
        (Isolation(Level.FULL), True),
        (Isolation(Level.FULL, rules=True), True),
        (Isolation(Level.DEGRADED, rules=True), False),
        (Isolation(Level.UNKNOWN), False),
        (Isolation(Level.UNKNOWN, rules=True), True),
        (Isolation(Level.UNKNOWN, rules=False), False),
    ],
)
def test_what_counts_as_closed(found: Isolation, closed: bool) -> None:
    assert found.closed is closed


@pytest.mark.parametrize("how", [{}, {"docker_host": "tcp://10.1.2.3:2375"}])
def test_the_rules_of_this_host_are_not_those_of_another_engine(
    how: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firewall, "is_root", lambda: True)
    monkeypatch.setattr(firewall, "_sees_the_engines_bridges", lambda: True)
    monkeypatch.setattr(firewall.shutil, "which", lambda command: f"/usr/sbin/{command}")
    assert firewall.can_keep(settings(docker_host="unix:///var/run/docker.sock"))
    assert firewall.can_keep(settings(**how)) is (not how)


def test_in_a_container_the_one_command_is_one_of_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firewall, "_sees_the_engines_bridges", lambda: False)
    said = firewall.how_to_close(settings(bridge_prefix="mine-"))
    command = "docker run --rm --network host --cap-add NET_ADMIN -e BRIDGE_PREFIX=mine- bot-runner-worker"
    assert said == f"Close it on the Engine's host: {command} firewall apply"
