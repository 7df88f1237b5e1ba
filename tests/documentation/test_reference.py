"""The reference of hooks says what the docstrings say, and the docstrings say all that an author needs."""

import inspect
import subprocess
import sys
from typing import Any

import pytest
from tests.wheelhouse import REPOSITORY

from bot_runner_worker import plugin, projects, testing
from bot_runner_worker.hookspecs import HookSpecs

HOOKS = [name for name in vars(HookSpecs) if not name.startswith("_")]


def test_the_reference_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/hook_reference.py", "--check"], cwd=REPOSITORY, timeout=60
    )
    assert done.returncode == 0, "run 'make reference'"


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_says_what_an_author_needs(hook: str) -> None:
    text = inspect.getdoc(getattr(HookSpecs, hook)) or ""
    assert text.split("\n")[0].endswith("."), "a first line that says what it does"
    assert "Called " in text
    assert "Side effects:" in text
    assert "Since " in text
    arguments = [name for name in inspect.signature(getattr(HookSpecs, hook)).parameters if name != "self"]
    for name in arguments:
        assert f"    {name}: " in text, name
    if hook != "bot_event":
        assert "Returns:" in text


@pytest.mark.parametrize("module", [plugin, projects, testing])
def test_all_that_a_plugin_imports_is_documented(module: Any) -> None:
    undocumented = [
        name
        for name in module.__all__
        # A data class without a docstring gets its signature for one.
        if not (inspect.getdoc(getattr(module, name)) or "").strip()
        or (inspect.getdoc(getattr(module, name)) or "").startswith(f"{name}(")
    ]
    assert undocumented == []
