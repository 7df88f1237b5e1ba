"""The kit finds what is wrong with a plugin, and costs nobody anything who does not use it."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.core.plugin_factory import importable

from bot_runner_worker.testing import conformance
from bot_runner_worker.testing.effects import effects_seen

pytest_plugins = "pytester"

GOOD = """
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
    pytester: pytest.Pytester, plugin: str, *, requires: str = "bot-runner-worker>=0.1,<0.2", test: str = TEST
) -> set[str]:
    """The names of the conformance tests that a plugin fails."""
    pytester.makepyfile(test)
    with importable(pytester.path) as folder:
        folder.add("good", plugin, requires=requires)
        done = pytester.inline_run("--tb=line", "-p", "no:cacheprovider", "-p", "no:asyncio")
    passed, _skipped, failed = done.listoutcomes()
    assert passed
    return {report.nodeid.split("::")[2].split("[")[0] for report in failed}  # type: ignore[union-attr]


@pytest.fixture
def no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting for another second, where it is not what is tested."""
    monkeypatch.setattr(conformance, "CLOCK_SECONDS", 0)


@pytest.mark.usefixtures("no_clock")
def test_a_good_plugin_passes_and_its_test_is_five_lines(pytester: pytest.Pytester) -> None:
    assert failures(pytester, GOOD) == set()
    assert len([line for line in TEST.splitlines() if line.startswith("    ")]) <= 5


@pytest.mark.usefixtures("no_clock")
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
            "    def look(cls, value): open('looked', 'a').close(); return value",
            {"test_the_claim_is_pure_and_fast"},
        ),
        (
            '.replace("\\0", "")',
            "",
            {"test_hostile_values_end_in_a_clear_error_or_do_no_harm"},
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
            },
        ),
    ],
)
def test_what_is_wrong_is_found(pytester: pytest.Pytester, old: str, new: str, found: set[str]) -> None:
    assert failures(pytester, GOOD.replace(old, new)) == found


def test_what_changes_with_the_time_is_found_and_the_case_named(
    pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = GOOD.replace('request.params.greeting.replace("\\0", "")', "str(int(__import__('time').time()))")
    assert failures(pytester, plugin) == {"test_the_same_request_makes_the_same"}
    assert "these change with time: ['a greeting']" in capsys.readouterr().out


@pytest.mark.usefixtures("no_clock")
def test_a_plugin_without_a_pin_does_not_pass(pytester: pytest.Pytester) -> None:
    assert failures(pytester, GOOD, requires="bot-runner-worker") == {"test_it_is_loaded_and_compatible"}


@pytest.mark.usefixtures("no_clock")
def test_a_secret_in_an_error_is_found(pytester: pytest.Pytester) -> None:
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
    assert failures(pytester, plugin, test=test) == {"test_an_invalid_request_is_refused"}


def test_who_does_not_use_the_kit_imports_nothing_of_it() -> None:
    code = (
        "import sys, bot_runner_worker.testing.pytest_plugin\n"
        "print([name for name in sys.modules if name.startswith(('bot_runner_worker.', 'aiodocker'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert eval(done.stdout) == ["bot_runner_worker.testing", "bot_runner_worker.testing.pytest_plugin"]


def test_the_worker_loads_neither_the_kit_nor_pytest() -> None:
    code = (
        "import sys, bot_runner_worker.cli.doctor, bot_runner_worker.cli.plugins.commands\n"
        "import bot_runner_worker.worker.process\n"
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
