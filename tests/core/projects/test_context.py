"""From a project to its build context."""

import io
import tarfile
from typing import Any

import pytest
from pydantic import SecretStr
from tests.core.projects.trees import deadline, tree_of

from bot_runner_worker.images.context import BuildContext
from bot_runner_worker.model.errors import Rejected
from bot_runner_worker.model.image import Image
from bot_runner_worker.plugins.tools import Tools
from bot_runner_worker.projects import project_context
from bot_runner_worker.settings import Settings


class BaseImageOnly:
    """As much of the image store as is needed here."""

    async def base(self) -> Image:
        return Image("sha256:base", "base")


async def ignore_progress(_message: str, _fraction: float | None) -> None:
    pass


async def context_of(
    files: dict[str, str], entrypoint: str | None = None, dockerfile: str | None = None
) -> BuildContext:
    settings = Settings(worker_token=SecretStr("x"))
    images: Any = BaseImageOnly()
    tools = Tools(settings, images, "alice", ignore_progress)
    return await project_context(
        tree_of(files), tools, deadline(), entrypoint=entrypoint, dockerfile=dockerfile
    )


async def files_of(context: BuildContext) -> dict[str, str]:
    data = b"".join([chunk async for chunk in context.chunks()])
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {each.name: tar.extractfile(each).read().decode() for each in tar}  # type: ignore[union-attr]


async def test_dockerignore_is_honoured_but_never_for_the_dockerfile_itself() -> None:
    context = await context_of({"Dockerfile": "FROM x", "a": "", "b": "", ".dockerignore": "*\n!a\n"})
    assert set(await files_of(context)) == {"Dockerfile", "a", ".dockerignore"}
    assert not context.generated


async def test_the_dockerfiles_own_ignore_file_comes_first() -> None:
    files = {"Dockerfile": "", "a": "", "b": "", ".dockerignore": "a", "Dockerfile.dockerignore": "b"}
    assert "b" not in await files_of(await context_of(files))


async def test_a_dockerfile_that_is_named_is_taken_and_no_other() -> None:
    files = {"Dockerfile": "FROM a", "docker/bot.Dockerfile": "FROM b", "a": "", ".dockerignore": "*\n!a\n"}
    context = await context_of(files, dockerfile="docker/bot.Dockerfile")
    assert context.dockerfile == "docker/bot.Dockerfile"
    assert context.read_dockerfile(100) == b"FROM b"
    assert set(await files_of(context)) == {"docker/bot.Dockerfile", "a", ".dockerignore"}
    with pytest.raises(Rejected) as caught:
        await context_of(files, dockerfile="docker/Dockerfile")
    assert caught.value.code == "NO_DOCKERFILE"


@pytest.mark.parametrize("text", ["!", "x" * 70_000])
async def test_a_dockerignore_that_cannot_be_used_is_refused(text: str) -> None:
    with pytest.raises(Rejected) as caught:
        await context_of({"Dockerfile": "", ".dockerignore": text})
    assert caught.value.code == "INVALID_FIELD"


async def test_a_python_project_gets_a_dockerfile_and_the_author_is_told() -> None:
    context = await context_of(
        {"requirements.txt": "x", "main.py": "", "secret": "", ".dockerignore": "secret"}
    )
    files = await files_of(context)
    assert set(files) == {
        "requirements.txt",
        "main.py",
        ".bot-runner/requirements.txt",
        ".bot-runner/Dockerfile",
    }
    assert files[context.dockerfile].startswith("FROM sha256:base\n")
    assert context.generated
    assert not context.shared
    assert "no Dockerfile" in context.notes[0]


async def test_an_entrypoint_beside_a_dockerfile_is_not_used_and_the_author_is_told() -> None:
    context = await context_of({"Dockerfile": "", "x.py": ""}, entrypoint="x.py")
    assert "not used" in context.notes[0]


@pytest.mark.parametrize(
    ("files", "looked_for"),
    [
        ({"bot.py": ""}, "requirements.txt"),
        ({"requirements.txt": "", "app.py": ""}, "Procfile with a worker line"),
    ],
)
async def test_what_was_looked_for_is_told(files: dict[str, str], looked_for: str) -> None:
    with pytest.raises(Rejected) as caught:
        await context_of(files)
    assert caught.value.code == "NO_DOCKERFILE"
    assert looked_for in caught.value.details["looked_for"]
    assert caught.value.details["found"] == sorted(files)


@pytest.mark.parametrize("path", [".bot-runner", ".Bot-Runner/requirements.txt"])
async def test_no_file_of_the_project_takes_the_place_of_a_generated_one(path: str) -> None:
    with pytest.raises(Rejected) as caught:
        await context_of({"requirements.txt": "x", "main.py": "", path: "evil"})
    assert caught.value.code == "INVALID_PATH"
