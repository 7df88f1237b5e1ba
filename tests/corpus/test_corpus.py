"""Each hostile input, on the real plugins and Engine: rejected for the right reason, without traces."""

import asyncio
import importlib
import io
import json
from collections.abc import Iterator

import pytest
from tests.corpus import watching
from tests.corpus.case import Case
from tests.corpus.conftest import SharedRunner
from tests.corpus.servers import Servers
from tests.corpus.watching import PeakMemory, gone, temporary_files

pytestmark = pytest.mark.engine

MODULES = ("archives", "git", "urls", "dockerfiles", "images", "requests")


def _cases() -> Iterator[Case]:
    for module in MODULES:
        yield from importlib.import_module(f"tests.corpus.{module}").CASES


CASES = list(_cases())


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    names = [case.name for case in CASES]
    assert len(names) >= 120
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.usefixtures("host_names", "own_temporary_folder")
@pytest.mark.asyncio(loop_scope="session")
async def test_hostile_input(
    case: Case, shared_runner: SharedRunner, servers: Servers, log: io.StringIO
) -> None:
    runner = await shared_runner(case.settings)
    params = {"user_id": "mallory", "bot_id": "bot", **_params(case, servers)}
    left_before, files_before = sorted(await runner.leftovers()), temporary_files()
    children_before, marked_before = watching.children(), len(servers.marked())
    said: list[str] = []

    async def report(_fraction: float, message: str) -> None:
        said.append(message)

    with PeakMemory() as memory:
        async with asyncio.timeout(case.seconds):
            outcome = await runner.runner.run_task(case.task, params, report)

    assert outcome.error is not None, outcome.data
    assert outcome.error["code"] in case.codes, outcome.error
    assert outcome.error["message"]
    assert outcome.error["hint"]
    assert sorted(await runner.leftovers()) == left_before
    assert temporary_files() <= files_before
    assert not await gone(children_before)
    if case.no_requests:
        assert servers.marked()[marked_before:] == []
    assert memory.growth <= case.max_memory
    shown = json.dumps(outcome.data, ensure_ascii=False) + "\n".join(said) + log.getvalue()
    for secret in (*case.secrets, "sentinel-worker-token"):
        assert secret not in shown


def _params(case: Case, servers: Servers) -> dict[str, object]:
    return dict(case.params(servers) if callable(case.params) else case.params)
