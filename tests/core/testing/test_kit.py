"""The kit finds what is wrong with a plugin, and costs nobody anything who does not use it."""

import subprocess
import sys
from pathlib import Path

import pytest

from bot_runner_worker.testing.effects import effects_seen

GOOD = """
from bot_runner_worker.plugin import *
from pydantic import Field

class Params(StrictModel):
    greeting: str = Field("hello", description="What is said", max_length=100)

@hookimpl
def deployment_sources():
    return [DeploymentSource("good", "good", Params, "a greeter")]

@hookimpl
def resolve_image(request, tools):
    return tools.images.base() if request.mode == "good" else None

@hookimpl
def container_options(request, tools):
    if request.mode == "good":
        return ContainerOptions(command=("echo", request.params.greeting.replace("\\0", "")))
"""

TEST = """
from bot_runner_worker.testing import PluginConformance

class TestConformance(PluginConformance):
    plugin = "good"
    valid = {"a greeting": {"deployment_mode": "good", "greeting": "hi"}}
    invalid = {"a number": ({"deployment_mode": "good", "greeting": 5}, "INVALID_FIELD")}
    on_engine = ()
"""


def failures(
    folder: Path, plugin: str, *, requires: str = "bot-runner-worker>=0.1,<0.2", test: str = TEST
) -> set[str]:
    """The names of the conformance tests that a plugin fails."""
    (folder / "plugin_good.py").write_text(plugin)
    info = folder / "good-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: good\nVersion: 1.0\nRequires-Dist: {requires}\n"
    )
    (info / "entry_points.txt").write_text("[bot_runner_worker]\ngood = plugin_good\n")
    (folder / "test_good.py").write_text(test)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line", "-rf", "test_good.py"],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "passed" in done.stdout, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    return {line.split("::")[2].split("[")[0].split(" ")[0] for line in lines}


def test_a_good_plugin_passes_and_its_test_is_five_lines(tmp_path: Path) -> None:
    assert failures(tmp_path, GOOD) == set()
    assert len([line for line in TEST.splitlines() if line.startswith("    ")]) <= 5


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (', description="What is said"', "", {"test_it_says_what_it_takes"}),
        ('"a greeter"', '""', {"test_it_says_what_it_takes"}),
        (
            "class Params(StrictModel):",
            "class Params(StrictModel):\n    model_config = {'extra': 'ignore'}",
            {"test_unknown_fields_are_refused"},
        ),
        (
            "class Params(StrictModel):",
            "from pydantic import field_validator\nclass Params(StrictModel):\n"
            "    @field_validator('greeting')\n    @classmethod\n"
            "    def look(cls, value): open('/tmp/bot-runner-kit-test', 'a').close(); return value",
            {"test_the_claim_is_pure_and_fast"},
        ),
        (
            '.replace("\\0", "")',
            "",
            {"test_hostile_values_end_in_a_clear_error_or_do_no_harm"},
        ),
        (
            'return ContainerOptions(command=("echo", request.params.greeting.replace("\\0", "")))',
            "return ContainerOptions(command=('echo', str(__import__('time').time())))",
            {"test_the_same_request_makes_the_same"},
        ),
        (
            'if request.mode == "good":\n        return',
            "if request.params.greeting:\n        return",
            {"test_requests_of_others_are_left_alone"},
        ),
        (
            ' if request.mode == "good" else None',
            "",
            {"test_requests_of_others_are_left_alone"},
        ),
        (
            '    if request.mode == "good":\n        return',
            "    __import__('tempfile').mkstemp()\n    if request.mode == \"good\":\n        return",
            {
                "test_a_cancelled_start_leaves_nothing",
                "test_a_failed_start_leaves_nothing",
                "test_a_valid_request_starts_a_bot",
                "test_hostile_values_end_in_a_clear_error_or_do_no_harm",
                "test_requests_of_others_are_left_alone",
                "test_the_same_request_makes_the_same",
                "test_unknown_fields_are_refused",
            },
        ),
    ],
)
def test_what_is_wrong_is_found(tmp_path: Path, old: str, new: str, found: set[str]) -> None:
    found_in_fact = failures(tmp_path, GOOD.replace(old, new))
    Path("/tmp/bot-runner-kit-test").unlink(missing_ok=True)
    if len(found) == 1:
        assert found_in_fact == found
    else:
        assert found_in_fact & found


def test_a_plugin_without_a_fence_does_not_pass(tmp_path: Path) -> None:
    assert failures(tmp_path, GOOD, requires="bot-runner-worker") == {"test_it_is_loaded_and_fenced"}


def test_a_secret_in_an_error_is_found(tmp_path: Path) -> None:
    plugin = GOOD.replace(
        "def container_options(request, tools):",
        "def container_options(request, tools):\n"
        "    if request.mode == 'good' and request.params.greeting.startswith('http'):\n"
        "        raise Rejected('NOT_THERE', f'Nothing at {request.params.greeting}.', hint='Look.')",
    )
    test = TEST.replace(
        '"greeting": 5}, "INVALID_FIELD"',
        '"greeting": "http://example.com/?token=sentinel-x"}, "NOT_THERE"',
    )
    assert failures(tmp_path, plugin, test=test) == {"test_an_invalid_request_is_refused"}


def test_who_does_not_use_the_kit_imports_nothing_of_it() -> None:
    code = (
        "import sys, bot_runner_worker.testing.pytest_plugin\n"
        "print([name for name in sys.modules if name.startswith(('bot_runner_worker.', 'aiodocker'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert eval(done.stdout) == ["bot_runner_worker.testing", "bot_runner_worker.testing.pytest_plugin"]


def test_the_worker_loads_neither_the_kit_nor_pytest() -> None:
    code = (
        "import sys, bot_runner_worker.cli, bot_runner_worker.worker.process\n"
        "print([name for name in sys.modules if name.startswith(('pytest', 'bot_runner_worker.testing'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert eval(done.stdout) == []


def test_effects_are_seen_and_reading_is_none(tmp_path: Path) -> None:
    with effects_seen() as effects:
        Path(__file__).read_text()
    assert effects == []
    with effects_seen() as effects:
        (tmp_path / "x").write_text("x")
        subprocess.run(["true"], check=True)
    assert {each.split()[0] for each in effects} >= {"open", "subprocess.Popen"}
