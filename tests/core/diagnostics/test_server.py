"""What is served over HTTP is true, is there whatever else is not, and holds no secret."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import pytest
from tests.conftest import MakeRunner, RunnerUnderTest
from tests.engine_gateway import EngineGateway, engine_gateway

from bot_runner_worker.diagnostics import health as state
from bot_runner_worker.diagnostics.health import Health, HealthServer
from bot_runner_worker.diagnostics.metrics import Metrics
from bot_runner_worker.diagnostics.results import CheckResult, ok, orchestrator_gone
from bot_runner_worker.diagnostics.watches import EngineWatch, IsolationWatch
from bot_runner_worker.images import disk
from bot_runner_worker.model.errors import SettingsError
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.settings import Settings
from bot_runner_worker.testing.waiting import until

TOKEN = "test-worker-token"


@dataclass
class Connection:
    """Stands for the worker's side of the orchestrator."""

    draining: bool = False
    answer: CheckResult = field(default_factory=lambda: ok("reached 1 s ago"))

    def check(self) -> CheckResult:
        return self.answer

    def counts(self) -> dict[str, int]:
        return {"running": 2, "results_waiting": 0, "events_waiting": 0, "events_dropped": 0}


@dataclass
class Served:
    """A health server and what it serves."""

    runner: RunnerUnderTest
    engine: EngineWatch
    gateway: EngineGateway
    connection: Connection
    url: str

    async def get(self, path: str) -> tuple[int, Any]:
        async with aiohttp.ClientSession() as session, session.get(self.url + path) as response:
            text = await response.text()
            return response.status, (
                await response.json() if response.content_type == "application/json" else text
            )


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[EngineGateway]:
    async with engine_gateway(tmp_path) as gateway:
        yield gateway


@pytest.fixture
async def served(
    gateway: EngineGateway, make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Served]:
    monkeypatch.setattr(state, "CACHE_SECONDS", 0.0)
    runner = await make_runner(docker_host=gateway.address, health_address="127.0.0.1:0")
    engine = EngineWatch(runner.engine)
    await engine.ask()
    connection = Connection()
    health = Health(
        runner.runner,
        engine,
        IsolationWatch(runner.runner.isolation, lambda: True),
        connection,
        Metrics(["simple"]),
    )
    supervisor = runner.runner.supervisor
    monkeypatch.setattr(supervisor, "last_pass", f"2026-01-31T12:00:00Z {TOKEN}")
    monkeypatch.setattr(supervisor, "last_pass_monotonic", monotonic() - 3.5)
    async with HealthServer(runner.settings, health) as server:
        yield Served(runner, engine, gateway, connection, f"http://127.0.0.1:{server.port}")
    await gateway.mend()  # for the sweep of what the test made


@pytest.mark.engine
async def test_a_worker_that_is_well_is_ready_and_says_everything(served: Served) -> None:
    assert await served.get("/ready") == (200, {"ready": True, "reasons": []})
    status, health = await served.get("/health")
    assert (status, health["ready"]) == (200, True)
    assert [check["name"] for check in health["checks"]] == [
        "Docker Engine",
        "orchestrator",
        "Engine's disk",
        "isolation",
    ]
    assert health["isolation"]["level"] == "unknown"
    assert health["disk"]["free_bytes"] > health["disk"]["floor_bytes"]
    assert health["supervisor"]["seconds_ago"] >= 3.5
    assert health["plugins_hanging"] == []


@pytest.mark.engine
async def test_an_engine_that_is_gone_makes_it_unready_but_not_dead(served: Served) -> None:
    await served.gateway.cut()
    await served.engine.ask()
    status, answer = await served.get("/ready")
    assert status == 503
    assert answer["reasons"][0].startswith("Docker Engine: no answer at")
    status, health = await served.get("/health")
    assert (status, health["ready"]) == (200, False)
    status, metrics = await served.get("/metrics")
    assert status == 200
    assert "bot_runner_engine_up 0.0" in metrics
    assert "bot_runner_ready 0.0" in metrics


def _away(served: Served) -> None:
    served.connection.answer = orchestrator_gone("not reached for 60 s")


def _draining(served: Served) -> None:
    served.connection.draining = True


@pytest.mark.slow
@pytest.mark.parametrize(
    ("happens", "reason"),
    [(_away, "orchestrator: not reached for 60 s"), (_draining, "it was told to stop")],
)
async def test_each_thing_that_is_missing_is_a_reason(
    served: Served, happens: Callable[[Served], None], reason: str
) -> None:
    happens(served)
    assert await served.get("/ready") == (503, {"ready": False, "reasons": [reason]})


@pytest.mark.slow
async def test_a_disk_below_the_floor_is_a_reason(make_runner: MakeRunner) -> None:
    runner = await make_runner(min_free_disk=1 << 60)
    engine = EngineWatch(runner.engine)
    await engine.ask()
    isolation = IsolationWatch(runner.runner.isolation, lambda: True)
    health = Health(runner.runner, engine, isolation, Connection(), Metrics())
    (reason,) = await health.not_ready()
    assert reason.startswith("Engine's disk: ")
    assert "MIN_FREE_DISK" in reason


@pytest.mark.engine
async def test_a_floor_of_disk_that_is_off_is_told_and_no_reason(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that does not see the Engine's disk serves, and cannot hold back what fills it."""
    monkeypatch.setattr(disk, "seen_at", lambda root: None)
    status, answer = await served.get("/ready")
    assert (status, answer["ready"]) == (200, True)
    (warning,) = answer["warnings"]
    assert warning.startswith("Engine's disk: ")
    assert "MIN_FREE_DISK is off" in warning
    _, health = await served.get("/health")
    (row,) = [check for check in health["checks"] if check["name"] == "Engine's disk"]
    assert row["state"] == "warning"
    assert "/var/lib/docker:ro" in row["remedy"]
    assert health["disk"]["free_bytes"] is None


@pytest.mark.slow
async def test_tasks_that_wait_are_counted_apart_from_those_that_run(served: Served) -> None:
    async with served.runner.runner.admission.exclusively(BotKey("alice", "bot")):
        start = asyncio.create_task(served.runner.start())
        await until(lambda: served.runner.runner.waiting == 1)
        _, health = await served.get("/health")
        _, metrics = await served.get("/metrics")
    assert (await start).data["status"] == "started"
    assert {name: health["tasks"][name] for name in ("running", "waiting")} == {"running": 1, "waiting": 1}
    assert "bot_runner_tasks_running 1.0\nbot_runner_tasks_waiting 1.0" in "\n".join(
        line for line in metrics.splitlines() if not line.startswith("#")
    )


@pytest.mark.slow
async def test_the_metrics_count_bots_and_name_nobody(served: Served) -> None:
    await served.runner.start(user_id="alice-7fd1", bot_id="bot-9c2e")
    _, metrics = await served.get("/metrics")
    assert 'bot_runner_bots{mode="simple",status="running"} 1.0' in metrics
    assert "alice-7fd1" not in metrics
    assert "bot-9c2e" not in metrics
    assert 'bot_runner_isolation{level="unknown"} 1.0' in metrics


@pytest.mark.slow
async def test_no_answer_holds_the_workers_token(served: Served) -> None:
    for path in ("/health", "/ready", "/metrics"):
        _, answer = await served.get(path)
        assert TOKEN not in str(answer)


@pytest.mark.slow
async def test_a_plugin_that_hangs_is_named(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "HOOK_HANGS", -1.0)
    with served.runner.runner.plugins.hearing.under_way("bot_event of sleepy"):
        _, health = await served.get("/health")
        _, metrics = await served.get("/metrics")
    assert health["plugins_hanging"] == [{"call": "bot_event of sleepy", "seconds": 0}]
    assert "bot_runner_plugin_calls_hanging 1.0" in metrics


@pytest.mark.slow
async def test_nothing_else_is_served(served: Served) -> None:
    assert (await served.get("/"))[0] == 404
    async with aiohttp.ClientSession() as session, session.post(served.url + "/health") as response:
        assert response.status == 405


@pytest.fixture
def taken() -> Any:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def _settings(**values: Any) -> Settings:
    return Settings.load(worker_token=TOKEN, **values)


@pytest.mark.slow
async def test_an_address_of_the_operators_that_is_taken_ends_the_start(taken: str) -> None:
    server = HealthServer(_settings(health_address=taken), None)  # type: ignore[arg-type]
    with pytest.raises(
        SettingsError, match=f"HEALTH_ADDRESS: cannot listen on {taken}: address already in use"
    ):
        await server.__aenter__()


@pytest.mark.slow
async def test_the_default_address_is_done_without_if_it_is_taken(
    taken: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    monkeypatch.delenv("HEALTH_ADDRESS", raising=False)
    settings = _settings()
    object.__setattr__(settings, "health_address", taken)  # as if that were the default
    async with HealthServer(settings, None) as server:  # type: ignore[arg-type]
        assert server.port == 0
    assert "set HEALTH_ADDRESS" in caplog.text


@pytest.mark.slow
async def test_it_can_be_switched_off() -> None:
    async with HealthServer(_settings(health_address="off"), None) as server:  # type: ignore[arg-type]
        assert server.port == 0


@pytest.mark.parametrize("address", ["9180", "127.0.0.1", "on", "http://localhost:9180", "a b:1", ""])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="HEALTH_ADDRESS"):
        _settings(health_address=address)


@pytest.mark.parametrize("address", ["127.0.0.1:9180", "[::1]:9180", "0.0.0.0:0", "localhost:80", "off"])
def test_an_address_is_accepted(address: str) -> None:
    assert _settings(health_address=address).health_address == address
