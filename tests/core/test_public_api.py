"""What plugins are built on, as it was promised: who changes it, changes this record, and the changelog.

Each hook is described, in the order of the style, named in the READMEs and implemented by a test.
"""

import ast
import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from tests.images.docker_cli import REPOSITORY

from bot_runner_worker import plugin, projects, testing
from bot_runner_worker.hookspecs import PROJECT, HookSpecs
from bot_runner_worker.plugins.tools import ImageProvider

HOOKS = {
    "deployment_sources": "",
    "prepare_build_context": "request, tools",
    "resolve_image": "request, context, tools",
    "container_options": "request, image, tools",
    "bot_event": "event",
}
"""Names and arguments."""

FRONT_DOOR = (
    "BotEvent BotKey BuildContext BuildContextWriter Code ContainerOptions DeploymentRequest "
    "DeploymentSource Device EventType Files Image ImageReference Mount OutboundPolicy PluginError "
    "RegistryAuth Rejected Settings SourceUrl StrictModel Tools Unavailable checked_path format_size "
    "hookimpl parse_url"
)

FIELDS = {
    "BotEvent": "type bot mode at details",
    "BotKey": "user_id bot_id",
    "ContainerOptions": "entrypoint command environment working_dir user files labels tmpfs devices mounts "
    "capabilities gpus",
    "DeploymentRequest": "bot mode source params",
    "DeploymentSource": "mode name params summary selected_by",
    "Device": "path inside writable",
    "Files": "root content owner",
    "Image": "id reference labels volumes environment platform size tags triggers user",
    "Mount": "source target writable",
    "RegistryAuth": "username password",
    "Tools": "settings images tenant report kept notes",
}
"""Fields in their order, for those who give them by position."""

METHODS = {
    "base": "",
    "build": "context, tools",
    "with_packages": "requirements, tools",
    "pull": "reference, tools, auth",
    "recall": "name, tools",
    "remember": "name, image, tools",
}
"""What ``tools.images`` can do."""

PUBLIC_MODULES = {"bot_runner_worker.plugin", "bot_runner_worker.projects", "bot_runner_worker.testing"}


def hooks() -> dict[str, Any]:
    """The hookspecs by their names."""
    return {
        name: function
        for name, function in vars(HookSpecs).items()
        if getattr(function, f"{PROJECT}_spec", None) is not None
    }


def arguments(function: Any) -> str:
    return ", ".join(name for name in inspect.signature(function).parameters if name != "self")


def test_the_hooks_and_their_arguments_are_those_on_record() -> None:
    assert {name: arguments(function) for name, function in hooks().items()} == HOOKS


def test_the_front_door_is_what_is_on_record() -> None:
    assert sorted(plugin.__all__) == sorted(FRONT_DOOR.split())
    assert [name for name in plugin.__all__ if not hasattr(plugin, name)] == []
    assert [name for name in projects.__all__ if not hasattr(projects, name)] == []
    assert [name for name in testing.__all__ if not hasattr(testing, name)] == []


@pytest.mark.parametrize("name", FIELDS)
def test_the_fields_are_those_on_record(name: str) -> None:
    found = [field.name for field in dataclasses.fields(getattr(plugin, name)) if field.init]
    recorded = FIELDS[name].split()
    # A new one with a default may come at the end; nothing else may change.
    assert found == recorded


def test_what_the_images_can_do_is_on_record() -> None:
    found = {
        name: arguments(function)
        for name, function in vars(ImageProvider).items()
        if inspect.isfunction(function) and not name.startswith("_")
    }
    assert found == METHODS


@pytest.mark.parametrize("name", HOOKS)
def test_each_hook_is_described_in_the_order_of_the_style(name: str) -> None:
    text = inspect.getdoc(hooks()[name]) or ""
    first, _, rest = text.partition("\n\n")
    assert re.fullmatch(r"[A-Z][a-z]+ .*\.", first.replace("\n", " ")), "an imperative first line"
    assert rest.startswith("Called "), "when it is called"
    marks = [
        rest.find(mark) for mark in ("Called ", "Args:", "Returns:", "Raises:", "Side effects:", "Since ")
    ]
    there = [mark for mark in marks if mark >= 0]
    assert there == sorted(there), "parameters, result, errors, side effects, since when"
    assert "Side effects:" in rest
    assert re.search(r"Since \d+\.\d+\.", rest)
    described = re.findall(r"^    (\w+): ", rest, re.MULTILINE)
    assert [each for each in described if each not in ("PluginError", "Rejected", "Unavailable")] == [
        each for each in HOOKS[name].split(", ") if each
    ], "each argument is described"
    if name != "deployment_sources" and name != "bot_event":
        assert "None" in rest, "what None means"


@pytest.mark.parametrize("readme", ["README.md", "README.ru.md"])
def test_each_hook_is_in_the_readmes(readme: str) -> None:
    text = (REPOSITORY / readme).read_text()
    assert [name for name in HOOKS if f"| `{name}` |" not in text] == []


def test_each_hook_is_in_the_reference_of_the_documentation() -> None:
    pages = sorted((REPOSITORY / "docs" / "plugins").rglob("*.md"))
    if not pages:
        pytest.skip("there is no documentation for plugin authors yet")
    text = "\n".join(page.read_text() for page in pages)
    assert [name for name in HOOKS if name not in text] == []


def test_each_hook_is_implemented_by_a_test() -> None:
    sources = "\n".join(path.read_text() for path in (REPOSITORY / "tests" / "core").rglob("*.py"))
    assert [name for name in HOOKS if not re.search(rf"def {name}\(", sources)] == []


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.partition(".")[0] == "bot_runner_worker"}


def test_the_plugins_of_this_repository_come_in_by_the_front_door_only() -> None:
    """Built-ins get no privileges: what they need, others have as well."""
    found = {
        str(path.relative_to(REPOSITORY)): sorted(_imports(path) - PUBLIC_MODULES)
        for folder in ("plugins", "libraries")
        for path in (REPOSITORY / folder).rglob("*.py")
    }
    assert {path: names for path, names in found.items() if names} == {}
