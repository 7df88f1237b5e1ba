"""The doctor as a whole: all checks, side by side, each on its own; as text and as JSON for programs."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import BASE_IMAGE, ENGINE, MakeRunner
from tests.core.diagnostics.conftest import Look
from typer.testing import CliRunner

from bot_runner_worker.bots.cleanup import Cleanup
from bot_runner_worker.cli import app
from bot_runner_worker.diagnostics import doctor as suite
from bot_runner_worker.diagnostics.checks import engine, images, network
from bot_runner_worker.diagnostics.checks.context import CheckContext
from bot_runner_worker.diagnostics.doctor import NAMES, RunningListener, run_checks
from bot_runner_worker.diagnostics.results import CheckResult, State, failed, ok, warning
from bot_runner_worker.model.errors import Code, Unavailable
from bot_runner_worker.settings import Settings

STABLE_NAMES = [
    *("Docker Engine", "limits", "storage", "Engine's security", "container runtime"),
    *("Engine's disk", "disk limit", "network pool", "isolation", "base image", "package index"),
    *("registries", "credentials", "plugins", "orchestrator", "worker token", "clock", "health address"),
]
"""Programs look for these in the JSON: do not rename them."""


def test_the_names_of_the_checks_are_stable() -> None:
    assert list(NAMES) == STABLE_NAMES


@pytest.mark.engine
async def test_every_check_runs_and_nothing_is_left(make_runner: MakeRunner) -> None:
    runner = await make_runner(orchestrator_url="http://127.0.0.1:9")
    under_way: list[list[str]] = []
    checks = await run_checks(runner.settings, under_way.append)
    assert list(checks) == STABLE_NAMES
    assert [name for name, result in checks.items() if result.state is State.FAILED] == ["orchestrator"]
    assert checks["orchestrator"].remedy
    assert under_way[0] == STABLE_NAMES
    assert under_way[-1] == []
    assert await runner.leftovers() == []


@pytest.mark.slow
async def test_without_an_engine_the_others_are_still_told(make_runner: MakeRunner) -> None:
    runner = await make_runner()
    settings = runner.settings.model_copy(
        update={"docker_host": "unix:///nowhere/docker.sock", "orchestrator_url": "http://127.0.0.1:9"}
    )
    checks = await run_checks(settings)
    assert list(checks) == STABLE_NAMES
    assert checks["Docker Engine"].state is State.FAILED
    assert checks["base image"].finding == "not looked at: the Engine does not answer"
    assert checks["plugins"].state is State.OK


@pytest.mark.slow
async def test_beside_a_worker_the_answer_is_the_same_20_times_of_20(look: Look) -> None:
    """The worker's sweep removes what no build of its own is making."""
    here = await look(isolation_probe="on")
    cleanup = Cleanup(here.engine, here.settings)

    async def sweep() -> None:
        while True:
            await cleanup.sweep(lambda: False)

    sweeping = asyncio.create_task(sweep())
    checks = (engine.disk_limit, images.base_image, images.package_index, network.isolation)
    answers = []
    for _ in range(5):
        results = await asyncio.gather(*(check(here) for check in checks * 4))
        answers += [results[start : start + len(checks)] for start in range(0, len(results), len(checks))]
    sweeping.cancel()
    assert [[result.state for result in answer] for answer in answers] == [
        [State.OK, State.OK, State.OK, State.WARNING]
    ] * 20, answers
    assert {answer[3].finding.split()[0] for answer in answers} == {"degraded"}


async def run_with(check: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> list[CheckResult]:
    entries = {"this": suite._Entry(check, seconds=0.2), "storage": suite._Entry(engine.storage)}
    monkeypatch.setattr(suite, "_SUITE", entries)
    return list((await run_checks(settings)).values())


@pytest.mark.slow
async def test_a_check_that_hangs_is_given_up(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(_: CheckContext) -> CheckResult:
        await asyncio.sleep(3600)
        raise AssertionError

    checks = await run_with(hang, (await make_runner()).settings, monkeypatch)
    assert [check.state for check in checks] == [State.FAILED, State.OK]
    assert checks[0].finding.startswith("not done within")


@pytest.mark.slow
async def test_a_check_that_cannot_be_made_is_a_failure(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: CheckContext) -> CheckResult:
        raise Unavailable(Code.NETWORK_POOL_EMPTY, "There is none.", hint="Make room.")

    checks = await run_with(fail, (await make_runner()).settings, monkeypatch)
    assert checks[0] == failed("There is none.", "Make room.")
    assert checks[1].state is State.OK


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command's settings."""
    monkeypatch.chdir(tmp_path)  # no .env
    values = {
        "DOCKER_HOST": ENGINE,
        "BASE_IMAGE": BASE_IMAGE,
        "WORKER_TOKEN": "a-secret-token",
        "ISOLATION_PROBE": "off",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def only(monkeypatch: pytest.MonkeyPatch, checks: dict[str, CheckResult]) -> None:
    async def run(settings: Settings, on_change: RunningListener = lambda _: None) -> dict[str, CheckResult]:
        on_change(list(checks))
        return checks

    monkeypatch.setattr("bot_runner_worker.cli.doctor.run_checks", run)


FINE = {"storage": ok("overlay2")}
ODD = {"clock": warning("[odd]", "Set it.")}
BAD = {"base image": failed("not there", "Pull it.")}


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(("checks", "healthy"), [(FINE | ODD, True), (FINE | BAD, False)])
def test_the_exit_code_and_the_json_tell_failures_from_warnings(
    monkeypatch: pytest.MonkeyPatch, checks: dict[str, CheckResult], healthy: bool
) -> None:
    only(monkeypatch, checks)
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == (0 if healthy else 1)
    answer = json.loads(result.stdout)
    assert answer["healthy"] is healthy
    assert answer["checks"] == [
        {"name": name, "state": each.state, "finding": each.finding, "remedy": each.remedy}
        for name, each in checks.items()
    ]


@pytest.mark.usefixtures("environment")
def test_the_text_has_a_finding_and_a_remedy_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, FINE | ODD | BAD)
    assert CliRunner().invoke(app, ["doctor"]).stdout.splitlines() == [
        "ok   storage: overlay2",
        "warn clock: [odd]",
        "     → Set it.",
        "FAIL base image: not there",
        "     → Pull it.",
    ]
