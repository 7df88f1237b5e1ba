"""Each hostile input, on the real plugins and rules: rejected for the right reason, without traces.

What is refused before the Engine is asked is tried in memory, the rest on the Engine; see
:attr:`tests.corpus.case.Case.needs_engine`.
"""

import importlib
import io
import json
from collections.abc import Awaitable, Callable

import pytest
from tests.corpus.case import Case
from tests.corpus.conftest import SharedMemoryRunner, SharedRunner
from tests.corpus.servers import Servers
from tests.corpus.watching import PeakMemory, children, gone

from bot_runner_worker.tasks.outcome import Outcome
from bot_runner_worker.testing.effects import temporary_files

MODULES = ("archives", "git", "urls", "dockerfiles", "images", "requests")
CASES: list[Case] = [
    case for module in MODULES for case in importlib.import_module(f"tests.corpus.{module}").CASES
]
IN_MEMORY = [case for case in CASES if not case.needs_engine]
ONE_OF_EACH_KIND = {
    "archive-traversal",
    "git-dot-dot-file",
    "url-archive-loopback",
    "url-git-name-of-metadata",
    "request-host-mount",
    "logs-bot-of-nobody",
    "dockerfile-add-bomb",
    "dockerfile-add-marker",
    "dockerfile-from-marker",
    "dockerfile-engine-socket",
    "dockerfile-volume-link-to-proc",
    "image-own-repository",
    "image-marker",
    "image-marker-closed",
    "image-wrong-password",
    "image-volume-over-proc",
}
"""What `make test` tries on the Engine, wherever else it is tried."""
MAY_PASS = {"GIT_UNREACHABLE", "REGISTRY_RATE_LIMITED", "REGISTRY_UNAVAILABLE"}
"""Codes of what is tried again."""
HOST_WORDS = ("/var/lib/docker", "/run/containerd", "overlay2", "OCI runtime", "\\u001b", "\x9b", "\u202e")
"""What no answer holds: the Engine's own words and paths, and what rewrites a terminal."""
ON_THE_ENGINE = [
    pytest.param(case, marks=pytest.mark.engine if case.name in ONE_OF_EACH_KIND else pytest.mark.slow)
    for case in CASES
    if case.needs_engine or case.name in ONE_OF_EACH_KIND
]

RunTask = Callable[..., Awaitable[Outcome]]
Leftovers = Callable[[], Awaitable[list[str]]]

pytestmark = pytest.mark.usefixtures("host_names", "own_temporary_folder")


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    names = [case.name for case in CASES]
    assert len(names) >= 500
    assert sorted(set(names)) == sorted(names)
    assert set(names) >= ONE_OF_EACH_KIND


@pytest.mark.parametrize("case", IN_MEMORY, ids=lambda case: case.name)
async def test_hostile_input(
    case: Case, shared_memory_runner: SharedMemoryRunner, servers: Servers, log: io.StringIO
) -> None:
    runner = shared_memory_runner(case.settings)
    await _is_refused(case, servers, log, runner.task_runner.run_task, runner.leftovers)


@pytest.mark.parametrize("case", ON_THE_ENGINE, ids=lambda case: case.name)
async def test_hostile_input_on_the_engine(
    case: Case, shared_runner: SharedRunner, servers: Servers, log: io.StringIO
) -> None:
    runner = await shared_runner(case.settings)
    await _is_refused(case, servers, log, runner.runner.run_task, runner.leftovers)


async def _is_refused(
    case: Case, servers: Servers, log: io.StringIO, run_task: RunTask, leftovers: Leftovers
) -> None:
    params = {"user_id": "mallory", "bot_id": "bot"}
    params |= case.params(servers) if callable(case.params) else case.params
    left_before, files_before = sorted(await leftovers()), temporary_files()
    children_before, marked_before = children(), len(servers.marked())
    said: list[str] = []

    async def report(_fraction: float, message: str) -> None:
        said.append(message)

    with PeakMemory() as memory:
        outcome = await run_task(case.task, params, report)

    assert outcome.error is not None, outcome.data
    assert outcome.error["code"] in case.codes, outcome.error
    assert outcome.ending == ("failure" if outcome.error["code"] in MAY_PASS else "rejected")
    assert outcome.error["message"]
    assert outcome.error["hint"]
    left = [each for each in sorted(await leftovers()) if not (case.kept and each.startswith("images:"))]
    assert [each for each in left if each not in left_before] == []
    assert temporary_files() <= files_before
    await gone(children_before)
    if case.no_requests:
        assert servers.marked()[marked_before:] == []
    assert memory.growth <= case.max_memory
    shown = json.dumps(outcome.data, ensure_ascii=False) + "\n".join(said) + log.getvalue()
    for word in HOST_WORDS:
        assert word not in json.dumps(outcome.data, ensure_ascii=False) + "\n".join(said)
    for secret in (*case.secrets, "sentinel-worker-token"):
        assert secret not in shown
