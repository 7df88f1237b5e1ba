"""What the mode takes, and what it refuses: nothing but a name and one version reaches pip."""

from typing import Any

import pytest

from bot_runner_pypi.params import PypiParams
from bot_runner_worker.model.errors import Rejected

GOOD = {"package": "my-bot", "version": "1.0"}


def refusal(**changes: Any) -> Rejected:
    with pytest.raises(Rejected) as raised:
        PypiParams.model_validate({**GOOD, **changes})
    return raised.value


@pytest.mark.parametrize(
    "name",
    [
        *("", "-r", "--index-url=http://127.0.0.1", "my bot", "my-bot==1", "my-bot[x]", "my-bot; x"),
        *(
            "git+https://x/y",
            "my-bot @ https://x/y",
            "./bot",
            "/bot",
            "a/../b",
            "bot\n-r x",
            "бот",
            "bot-",
            "bot\n",
        ),
        *("$(id)", "`id`", "${HOME}", "bot\x00", "a&&b"),
    ],
)
def test_a_package_is_a_name_and_nothing_else(name: str) -> None:
    assert refusal(package=name).code == "INVALID_REQUIREMENT"
    assert refusal(extras=[name]).code == "INVALID_REQUIREMENT"


@pytest.mark.parametrize(
    "version", ["", ">=1", "1.*", "latest", "==1.0", "1.0,2.0", "1.0 --pre", "https://x", "1.0\n-r x"]
)
def test_a_version_is_exact(version: str) -> None:
    assert refusal(version=version).code == "INVALID_REQUIREMENT"


@pytest.mark.parametrize("script", ["", "../sh", "/bin/sh", "-c", "a b", "a;b", "$SHELL", "a\n"])
def test_a_script_is_a_name(script: str) -> None:
    assert refusal(script=script).code == "INVALID_ENTRYPOINT"


@pytest.mark.parametrize("argument", ["a\x00b", "a\nb", "x" * 1001])
def test_arguments_are_short_printable_texts(argument: str) -> None:
    assert refusal(args=[argument]).code == "INVALID_FIELD"


def test_the_same_release_is_the_same_requirement_however_it_is_spelled() -> None:
    one = PypiParams.model_validate({"package": "My_Bot", "version": "1.0", "extras": ["b", "A", "b"]})
    other = PypiParams.model_validate({"package": "my.bot", "version": "v1.0", "extras": ["a", "b"]})
    assert one.requirement == other.requirement == "my-bot[a,b]==1.0"
    assert one.command == "my-bot"
