"""What goes into a build: a short list of the checkout's files, and the versions that were tested."""

import re
import tarfile
from pathlib import Path

import pytest
from tests.images.docker_cli import REPOSITORY, build, docker

INCLUDED = {
    "core/pyproject.toml",
    "core/src/package/module.py",
    "docker/worker_is_ready.py",
    "libraries/git/pyproject.toml",
    "orchestrator/src/package/module.py",
    "plugins/simple/pyproject.toml",
    "requirements/worker-image.txt",
}
LEFT_OUT = {
    ".env",
    ".git/config",
    ".state/uv.log",
    ".venv/bin/python",
    "core/.env",
    "core/src/package/__pycache__/module.pyc",
    "orchestrator/.mypy_cache/x.json",
    "requirements/worker.in",
    "secrets.toml",
    "tests/conftest.py",
}


@pytest.mark.images
async def test_secrets_and_leftovers_of_the_checkout_do_not_reach_the_engine(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    for name in INCLUDED | LEFT_OUT:
        path = checkout / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (checkout / ".dockerignore").write_text((REPOSITORY / ".dockerignore").read_text())
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text("FROM scratch\nCOPY . /\nCMD []\n")
    tag = "localhost/bot-runner-image-test:context"
    container = ""
    try:
        await build(tag, folder=checkout, dockerfile=dockerfile)
        container = await docker("create", tag, "none")
        tar = tmp_path / "context.tar"
        await docker("export", "--output", str(tar), container)
    finally:
        if container:
            await docker("rm", container)
        await docker("image", "rm", tag, accept_failure=True)

    with tarfile.open(tar) as archive:
        sent = {member.name for member in archive if member.isfile() and member.size}
    assert sent == INCLUDED


def locked(name: str) -> dict[str, str]:
    """Name and version, with its marker, of each distribution in a lock file."""
    text = (REPOSITORY / "requirements" / f"{name}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, flags=re.MULTILINE))


@pytest.mark.parametrize(
    ("image", "tested"),
    [("worker-image", "worker"), ("orchestrator-image", "orchestrator"), ("image-build", "worker")],
)
def test_an_image_holds_the_versions_that_were_tested(image: str, tested: str) -> None:
    assert locked(image).items() <= locked(tested).items()


@pytest.mark.parametrize("image", ["worker-image", "orchestrator-image"])
def test_an_image_holds_no_tools_of_the_tests(image: str) -> None:
    assert not locked(image).keys() & {"hatchling", "mypy", "pip", "pytest", "ruff", "uv"}
