"""Which Dockerfile is taken, and with which folder as its context."""

import pytest
from tests.core.projects.trees import tree_of

from bot_runner_worker.model.errors import Rejected
from bot_runner_worker.projects.context import find_dockerfile


def test_the_one_at_the_root_wins() -> None:
    found = find_dockerfile(tree_of({"Dockerfile": "", "sub/Dockerfile": "", "bot.py": ""}))
    assert found is not None
    assert (found.path, set(found.tree.files), found.notes) == (
        "Dockerfile",
        {"Dockerfile", "sub/Dockerfile", "bot.py"},
        (),
    )


def test_a_folder_with_code_is_its_own_context() -> None:
    found = find_dockerfile(tree_of({"bot/Dockerfile": "", "bot/bot.py": "", "README": ""}))
    assert found is not None
    assert (found.path, set(found.tree.files)) == ("Dockerfile", {"Dockerfile", "bot.py"})
    assert "bot/Dockerfile" in found.notes[0]


def test_a_folder_for_docker_only_is_built_with_the_whole_project() -> None:
    found = find_dockerfile(tree_of({"docker/Dockerfile": "", "docker/entrypoint.sh": "", "bot.py": ""}))
    assert found is not None
    assert (found.path, "bot.py" in found.tree.files) == ("docker/Dockerfile", True)


def test_several_in_subfolders_are_not_guessed_at() -> None:
    with pytest.raises(Rejected) as caught:
        find_dockerfile(tree_of({"a/Dockerfile": "", "b/Dockerfile": ""}))
    assert caught.value.code == "AMBIGUOUS_DOCKERFILE"
    assert caught.value.details["found"] == ["a/Dockerfile", "b/Dockerfile"]


def test_none() -> None:
    assert find_dockerfile(tree_of({"bot.py": "", "Dockerfile.dev": ""})) is None
