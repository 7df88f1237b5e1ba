"""Writes docs/plugins/reference.md from the docstrings of the hooks and of what plugins import.

With --check, says whether the file is what would be written.
"""

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from bot_runner_worker import plugin, projects, testing
from bot_runner_worker.hookspecs import PROJECT, HookSpecs
from bot_runner_worker.model.errors import BotRunnerError
from bot_runner_worker.plugins.tools import ImageProvider
from bot_runner_worker.testing import pytest_plugin

REFERENCE = Path(__file__).parents[1] / "docs" / "plugins" / "reference.md"

HEADER = """\
# Hooks and types

<!-- Written by `make reference` from the docstrings: change those. -->

The hooks that a plugin may implement, and what it imports from `bot_runner_worker.plugin`. What of it is
stable is said in [Stability](stability.md), what happens when in [Life of a request](life-of-a-request.md).

An implementation is a plain `def`. It returns `None` at once for "not mine", or a result, or an awaitable of
one; an `async def` is refused when the plugin is loaded. It may leave out arguments that it does not need.
"""
IN_DETAIL = (
    plugin.DeploymentSource, plugin.DeploymentRequest, plugin.Tools, ImageProvider, plugin.BuildContextWriter,
    plugin.ContainerOptions, plugin.Files, plugin.Device, plugin.Mount, BotRunnerError, plugin.BotEvent,
)  # fmt: skip
"""Types that are shown with all that an author uses of them."""

CONSTANTS = {
    "hookimpl": "Marks a function, or a method of an object, as an implementation of the hook of its name.",
    "BOT_FOLDER": "The folder in which bots of the modes for Python code run.",
    "BOT_USER": "The user and group, by number, as which they run.",
}
"""What has no docstring of its own."""

_SECTION = re.compile(r"(Args|Returns|Raises|Side effects):\s*(.*)")


def reference() -> str:
    """The whole page."""
    parts = [HEADER, "## Hooks\n"]
    parts += [_hook(name, function) for name, function in _hooks()]
    parts += ["## bot_runner_worker.plugin\n", "All that a plugin imports.\n", *_table(plugin), ""]
    parts += ["## bot_runner_worker.projects\n", f"{_inline(_summary(projects))}\n", *_table(projects), ""]
    parts += ["## bot_runner_worker.testing\n", "The test kit, which pytest finds by itself.\n"]
    parts += [
        *_table(testing),
        "\nFixtures:\n",
        *_fixtures(),
        "\nWhat a subclass of `PluginConformance` says:\n",
    ]
    parts += [*_attributes(testing.PluginConformance), ""]
    parts += ["## Types\n", *(_type(each) for each in IN_DETAIL)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).rstrip() + "\n"


def _table(module: Any) -> Iterator[str]:
    yield "| name | what it is |\n|---|---|"
    for name in sorted(module.__all__, key=str.casefold):
        yield f"| `{name}` | {_first_line(module, name)} |"


def _fixtures() -> Iterator[str]:
    yield "| fixture | what it is |\n|---|---|"
    for node in ast.parse(inspect.getsource(pytest_plugin)).body:
        decorators = node.decorator_list if isinstance(node, ast.FunctionDef) else []
        if isinstance(node, ast.FunctionDef) and any("fixture" in ast.unparse(each) for each in decorators):
            yield f"| `{node.name}` | {_inline(_joined(ast.get_docstring(node) or '')[0])} |"


def _attributes(value: type) -> Iterator[str]:
    """Attributes with the text below each, which is in the source only."""
    yield "| attribute | what it is |\n|---|---|"
    [body] = (
        node.body for node in ast.parse(inspect.getsource(value)).body if isinstance(node, ast.ClassDef)
    )
    for attribute, text in pairwise(body):
        match attribute, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                yield f"| `{name}` | {_inline(' '.join(inspect.cleandoc(words).split()))} |"


def _type(value: type) -> str:
    lines = [f"### {value.__name__}\n", *_prose(inspect.getdoc(value) or "")]
    own = [(name, member) for name, member in vars(value).items() if not name.startswith("_")]
    methods = [(name, member) for name, member in own if inspect.isroutine(_function(member))]
    if methods:
        lines.append("**Methods:**\n")
    for name, member in methods:
        called = "" if isinstance(member, property) else _arguments(_function(member))
        lines.append(f"- `{name}{called}`: {_inline(_summary(_function(member)))}")
    return "\n".join([*lines, ""])


def _function(member: Any) -> Any:
    return getattr(member, "fget", None) or getattr(member, "__func__", member)


def _arguments(function: Any) -> str:
    parameters = inspect.signature(function).parameters.values()
    names = [each.name for each in parameters if each.name not in ("self", "cls")]
    return f"({', '.join(names)})"


def _summary(value: Any) -> str:
    return _joined(inspect.getdoc(value) or "")[0]


def _hooks() -> Iterator[tuple[str, Any]]:
    for name, function in vars(HookSpecs).items():
        if hasattr(function, f"{PROJECT}_spec"):
            yield name, function


def _hook(name: str, function: Any) -> str:
    lines = [f"### {name}\n", f"```python\n{_signature(name, function)}\n```\n"]
    return "\n".join([*lines, *_prose(inspect.getdoc(function) or "")])


def _signature(name: str, function: Any) -> str:
    signature = inspect.signature(function)
    parameters = [str(each) for each in signature.parameters.values() if each.name != "self"]
    answer = str(signature.replace(parameters=[])).removeprefix("()")
    line = f"def {name}({', '.join(parameters)}){answer}: ..."
    if len(_plain(line)) > 100:
        # As ruff has it, which formats the blocks in texts as well.
        line = f"def {name}(\n" + "".join(f"    {each},\n" for each in parameters) + f"){answer}: ..."
    return _plain(line)


def _plain(annotated: str) -> str:
    """With the names that a plugin imports, not the modules that they come from."""
    return re.sub(r"\b[a-z_]+(?:\.[a-z_]+)*\.(?=[A-Z])", "", annotated)


def _prose(docstring: str) -> Iterator[str]:
    """A docstring's paragraphs; its sections as lists."""
    in_list = False
    for line in _joined(docstring):
        section = _SECTION.fullmatch(line)
        entry = re.fullmatch(r" {4}(\w+): (.+)", line)
        if section and section[2]:
            yield f"\n**{section[1]}:** {_inline(section[2])}"
        elif section:
            yield f"\n**{section[1]}:**\n"
        elif entry:
            yield f"- `{entry[1]}`: {_inline(entry[2])}"
        elif line.startswith("    "):
            yield f"- {_inline(line.strip())}"
        elif line or not in_list:
            yield _inline(line)
        in_list = bool(entry) or line.startswith("    ")
    yield ""


def _joined(docstring: str) -> list[str]:
    """Lines, with those that go on from the line before joined to it."""
    lines: list[str] = []
    for line in docstring.splitlines():
        goes_on = lines and line and lines[-1] and not _SECTION.fullmatch(lines[-1])
        deeper = len(line) - len(line.lstrip()) > 4
        if goes_on and (deeper or (not line.startswith(" ") and not _SECTION.fullmatch(line))):
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line)
    return lines


def _inline(text: str) -> str:
    text = re.sub(r":\w+:`~?([^`]+)`", lambda found: f"`{found[1].removeprefix(PROJECT + '.')}`", text)
    return text.replace("``", "`").replace("|", "\\|")


def _first_line(module: Any, name: str) -> str:
    if name in CONSTANTS:
        return CONSTANTS[name]
    return _inline(_summary(getattr(module, name)))


def main() -> int:
    """Write the page, or check it."""
    text = reference()
    if "--check" in sys.argv[1:]:
        return 0 if REFERENCE.is_file() and REFERENCE.read_text() == text else 1
    REFERENCE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
