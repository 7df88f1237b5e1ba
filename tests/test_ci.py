"""What CI, hooks and scripts name is there; what GitHub and the newer Engine do with it is not run here."""

import os
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def test_the_hook_runs_a_target_of_the_makefile() -> None:
    [repository] = read(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    [hook] = repository["hooks"]
    assert (hook["language"], hook["pass_filenames"]) == ("system", False)
    make, target = hook["entry"].split()
    assert make == "make"
    assert f"\n{target}:" in (ROOT / "Makefile").read_text()


def test_the_workflow_names_what_is_there() -> None:
    workflow = read(".github/workflows/ci.yml")
    assert workflow["permissions"] == {"contents": "read"}
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    commands = "\n".join(step.get("run", "") for step in steps)
    assert " .ci/run" in commands
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert all((ROOT / path).is_file() for path in re.findall(r"-f (\S+)", commands))
    assert (ROOT / "Dockerfile").is_file()
    assert all((ROOT / path / "pyproject.toml").is_file() for path in workflow["env"]["WHEELS"].split())
    used = [step["uses"] for step in steps if "uses" in step]
    assert [action for action in used if not re.search(r"@(v\d+|release/v\d+)$", action)] == []


def test_a_tag_is_published_only_after_all_tests() -> None:
    jobs = read(".github/workflows/ci.yml")["jobs"]
    assert jobs["publish"]["needs"] == "test"
    assert "refs/tags/" in jobs["publish"]["if"]
    assert "permissions" not in jobs["test"]


def test_the_tests_on_a_newer_engine_are_there() -> None:
    named = re.findall(r"\btests/[\w/.]*\w", (ROOT / "scripts/test-engines.sh").read_text())
    assert len(named) > 5
    assert [path for path in named if not (ROOT / path).exists()] == []
