"""The operating guide tells the truth, in both languages: settings, codes, checks, metrics, commands."""

import re
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from tests.images.docker_cli import REPOSITORY
from tests.test_readmes import default_of
from typer.testing import CliRunner

from bot_runner_worker.cli import app
from bot_runner_worker.diagnostics.checks.engine import OLDEST_API, TESTED
from bot_runner_worker.diagnostics.doctor import NAMES
from bot_runner_worker.diagnostics.metrics import Metrics
from bot_runner_worker.model.errors import Code
from bot_runner_worker.model.events import EventType
from bot_runner_worker.settings import Settings

GUIDES = ("docs/operating.md", "docs/operating.ru.md")
SOURCES = (
    "core/src",
    "libraries/git/src",
    "plugins/compose_service/src",
    "plugins/custom_git/src",
    "plugins/custom_archive/src",
    "plugins/gpu_limits/src",
    "plugins/image/src",
    "plugins/pypi/src",
    "plugins/simple/src",
)

OF_OTHERS = {
    *(
        "TLS_CA_PATH",
        "ORCHESTRATOR_SECRET_KEY",
        "DOCKER_MIN_API_VERSION",
    ),  # Avtomatika's SDK, and the Engine's
    *(
        "NO_WORKER_AVAILABLE",
        "ENGINE_",
        "NETWORK_",
        "INTERNAL_",
    ),  # the orchestrator's code; parts of a pattern
    *("NET_BIND_SERVICE", "NET_RAW", "SYS_ADMIN"),  # the kernel's capabilities
}


def text_of(guide: str) -> str:
    return (REPOSITORY / guide).read_text()


def table(guide: str, name: str) -> list[list[str]]:
    """The rows of the tables between two markers, cell by cell; the first cell without its backticks."""
    section = text_of(guide).split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0]
    rows = re.findall(r"^\| `(.+?)` \| (.+) \|$", section, re.MULTILINE)
    return [[first, *rest.split(" | ")] for first, rest in rows]


@pytest.mark.parametrize("guide", GUIDES)
def test_every_setting_is_in_the_guide_with_its_default(guide: str) -> None:
    rows = {name: default for name, default, _ in table(guide, "settings")}
    assert len(rows) == len(table(guide, "settings")), "each one once"
    assert rows == {name.upper(): default_of(name) for name in Settings.model_fields}


def codes_in_use() -> Iterator[str]:
    """All codes of errors that leave the worker and its plugins."""
    yield from (code.value for code in Code)
    for module in (
        "bot_runner_compose_service.errors",
        "bot_runner_custom_archive.errors",
        "bot_runner_git.errors",
    ):
        yield from (name for name, value in vars(import_module(module)).items() if name == value)
    for source in SOURCES:
        for path in (REPOSITORY / source).rglob("*.py"):
            yield from re.findall(r"(?:Rejected|Unavailable)\(\s*\"([A-Z_]+)\"", path.read_text())


@pytest.mark.parametrize("guide", GUIDES)
def test_every_error_code_has_a_cause_and_a_remedy(guide: str) -> None:
    rows = table(guide, "codes")
    assert sorted(row[0] for row in rows) == sorted(set(codes_in_use()))
    assert [row[0] for row in rows if len(row) != 3 or not all(row)] == []


@pytest.mark.parametrize("guide", GUIDES)
def test_the_checks_of_the_doctor_are_those_of_the_guide(guide: str) -> None:
    assert [row[0] for row in table(guide, "checks")] == list(NAMES)


@pytest.mark.parametrize("guide", GUIDES)
def test_metrics_and_events_in_the_guide_exist(guide: str) -> None:
    served = Metrics().text().decode()
    families = set(re.findall(r"^# TYPE (\w+) ", served, re.MULTILINE))
    named = set(re.findall(r"\b((?:bot_runner|process)_[a-z_]+)\b", text_of(guide))) - {"bot_runner_worker"}
    assert "bot_runner_ready" in named
    assert named - families == set()
    assert set(re.findall(r"\b(bot_(?!runner|id)[a-z]+)\b", text_of(guide))) <= {
        each.value for each in EventType
    }


@pytest.mark.parametrize("guide", GUIDES)
def test_names_in_capitals_are_settings_or_codes(guide: str) -> None:
    orchestrator = (REPOSITORY / "orchestrator" / "README.md").read_text()
    known = (
        {name.upper() for name in Settings.model_fields}
        | set(codes_in_use())
        | set(re.findall(r"^\| `([A-Z_]+)` \|", orchestrator, re.MULTILINE))
        | OF_OTHERS
    )
    assert set(re.findall(r"\b([A-Z]+_[A-Z_]*)\b", text_of(guide))) - known == set()


@pytest.mark.parametrize("guide", GUIDES)
def test_the_commands_in_the_guide_exist(guide: str) -> None:
    known = {"doctor", "run", "plugins", "remove-all", "task", "firewall"}
    shown = re.findall(r"bot-runner-worker ([a-z-]+)(?: (apply|show|remove)\b)?", text_of(guide))
    assert {"doctor", "run", "remove-all"} <= {command for command, _ in shown} <= known
    for command in {tuple(filter(None, each)) for each in shown}:
        assert CliRunner().invoke(app, [*command, "--help"]).exit_code == 0, command


@pytest.mark.parametrize("guide", GUIDES)
def test_the_unit_waits_for_the_worker_to_end(guide: str) -> None:
    [seconds] = re.findall(r"^TimeoutStopSec=(\d+)$", text_of(guide), re.MULTILINE)
    assert int(seconds) == Settings.model_fields["drain_seconds"].default + 15


@pytest.mark.parametrize("guide", GUIDES)
def test_the_tested_engines_are_those_of_the_doctor(guide: str) -> None:
    rows = re.findall(r"^\| ([\d.]+) \| ([\d.]+) \|", text_of(guide), re.MULTILINE)
    assert [version for version, _ in rows] == list(TESTED)
    assert rows[0][1] == ".".join(map(str, OLDEST_API))


def anchors(path: Path) -> set[str]:
    """The anchors that headings get."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {each.replace(" ", "-") for each in plain}


@pytest.mark.parametrize("guide", GUIDES)
def test_the_links_lead_somewhere(guide: str) -> None:
    links = re.findall(r"\]\(([^)]+)\)", text_of(guide))
    assert len(links) > 10
    for link in links:
        path, _, anchor = link.partition("#")
        if "://" in path:
            continue
        target = (REPOSITORY / guide).parent / path if path else REPOSITORY / guide
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_both_languages_show_the_same_commands_and_files() -> None:
    def shown(guide: str) -> list[str]:
        found = re.findall(r"```\w+\n(.*?)```", text_of(guide), re.DOTALL)
        # Comments are translated.
        return [re.sub(r"^#.*\n", "", block, flags=re.MULTILINE) for block in found]

    english, russian = GUIDES
    assert shown(english) == shown(russian)
    assert [len(table(english, name)) for name in ("settings", "codes")] == [
        len(table(russian, name)) for name in ("settings", "codes")
    ]


def test_the_readmes_lead_to_the_guide() -> None:
    assert "(docs/operating.md)" in (REPOSITORY / "README.md").read_text()
    assert "(docs/operating.ru.md)" in (REPOSITORY / "README.ru.md").read_text()


def test_every_plugin_of_the_repository_is_looked_through() -> None:
    workspace = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    for folder in ("libraries", "plugins"):
        assert f"{folder}/*" in workspace["tool"]["uv"]["workspace"]["members"]
        found = {f"{folder}/{path.name}/src" for path in (REPOSITORY / folder).iterdir() if path.is_dir()}
        assert found <= set(SOURCES)
