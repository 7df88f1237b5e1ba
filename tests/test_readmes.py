"""The READMEs tell the truth: settings, plugin, links and commands, in both languages."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import PydanticUndefined
from tests.stack.test_whole_stack import PLUGIN

from bot_runner_worker.model.quantities import format_size
from bot_runner_worker.settings import Settings

READMES = ("README.md", "README.ru.md")
_ROW = re.compile(r"^\| `([A-Z_]+)` \| (.+?) \| (.*?) \|$", re.MULTILINE)


def default_of(name: str) -> str:
    """A setting's default as the tables show it."""
    field = Settings.model_fields[name]
    if name == "worker_id":
        return "`bot-runner-{uuid}`"
    if field.default is PydanticUndefined:
        return "—"
    return _shown(name, field.default)


def _shown(name: str, value: Any) -> str:
    if value in (None, (), frozenset()):
        return "—"
    if name.endswith(("_limit", "_size", "_disk")) and isinstance(value, int) and value >= 1024**2:
        number, unit = format_size(value).split()
        return f"`{number}{unit[0].lower()}`"
    if isinstance(value, tuple):
        return f"`{','.join(str(each) for each in value)}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`"


def table_of(readme: str) -> dict[str, tuple[str, str]]:
    """Description and default by variable, as a README has them."""
    text = Path(readme).read_text()
    section = text.split("<!-- settings -->")[1].split("<!-- /settings -->")[0]
    return {name: (description, default) for name, description, default in _ROW.findall(section)}


@pytest.mark.parametrize("readme", READMES)
def test_the_table_of_settings_is_the_codes(readme: str) -> None:
    rows = table_of(readme)
    assert list(rows) == [name.upper() for name in Settings.model_fields]
    assert {name: default for name, (_, default) in rows.items()} == {
        name.upper(): default_of(name) for name in Settings.model_fields
    }


def test_the_english_table_says_what_the_code_says() -> None:
    described = {name.upper(): field.description for name, field in Settings.model_fields.items()}
    assert {name: description for name, (description, _) in table_of("README.md").items()} == described


@pytest.mark.parametrize("readme", READMES)
def test_the_plugin_in_the_readme_is_the_one_that_is_tested(readme: str) -> None:
    blocks = re.findall(r"```python\n(.*?)```", Path(readme).read_text(), re.DOTALL)
    (shown,) = [block for block in blocks if "deployment_sources" in block]
    assert shown.strip() == PLUGIN.split('"""', 2)[2].strip()


@pytest.mark.parametrize("readme", READMES)
def test_the_links_lead_somewhere(readme: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", Path(readme).read_text())
    local = [link for link in links if "://" not in link]
    assert local
    assert [link for link in local if not Path(link).exists()] == []


@pytest.mark.parametrize("readme", READMES)
def test_both_readmes_have_the_same_commands_and_codes(readme: str) -> None:
    def blocks(path: str) -> list[str]:
        found = re.findall(r"```(?:sh|json|toml)\n(.*?)```", Path(path).read_text(), re.DOTALL)
        # Comments are translated.
        return [re.sub(r" +# .*", "", block) for block in found]

    assert blocks(readme) == blocks("README.md")
