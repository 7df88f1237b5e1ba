"""The installed Avtomatika is the one that this package was written for, down to its private names."""

import inspect
from importlib import import_module
from pathlib import Path

import pytest
from avtomatika import engine as avtomatika_engine
from tests.seams import problem_with, unlisted

import bot_runner_orchestrator
from bot_runner_orchestrator.errors import SetupError
from bot_runner_orchestrator.executor import ResilientExecutor, resilient_executor
from bot_runner_orchestrator.seams import KEYS, SEAMS, Seam

PACKAGE = Path(bot_runner_orchestrator.__file__).parent
OURS = frozenset[str]()


@pytest.mark.parametrize("seam", SEAMS, ids=lambda seam: seam.name)
def test_each_private_name_is_as_it_was(seam: Seam) -> None:
    assert problem_with(seam) is None
    assert seam.name in (PACKAGE / f"{seam.used_in.replace('.', '/')}.py").read_text()


@pytest.mark.parametrize(("key", "module"), KEYS.items())
def test_each_key_is_written_as_it_was(key: str, module: str) -> None:
    assert key in inspect.getsource(import_module(module))


def test_no_other_private_name_is_used() -> None:
    assert unlisted(PACKAGE, SEAMS, OURS) == set()


def test_what_is_missing_is_noticed() -> None:
    assert unlisted(PACKAGE, tuple(seam for seam in SEAMS if seam.name != "_queue"), OURS) == {"_queue"}
    gone = Seam("avtomatika.executor:JobExecutor", "_gone", "executor", "nothing", ())
    assert "is gone: nothing" in str(problem_with(gone))


def test_the_executor_is_replaced_only_while_the_engine_starts() -> None:
    original = avtomatika_engine.JobExecutor
    with resilient_executor():
        assert avtomatika_engine.JobExecutor is ResilientExecutor
    assert avtomatika_engine.JobExecutor is original


async def test_an_executor_that_was_not_replaced_is_an_error(
    make_orchestrator: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = avtomatika_engine.JobExecutor
    monkeypatch.setattr("bot_runner_orchestrator.executor.ResilientExecutor", original)
    with pytest.raises(SetupError, match="executor"):
        await make_orchestrator()  # type: ignore[operator]
