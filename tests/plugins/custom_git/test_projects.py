"""Real kinds of projects from a real Git server, with and without a password."""

import asyncio

import pytest
from tests.corpus.conftest import SharedMemoryRunner, SharedRunner
from tests.corpus.git_repositories import SYMLINK
from tests.corpus.servers import GIT_PASSWORD, GIT_TOKEN, GIT_USER, Servers
from tests.corpus.watching import children, gone
from tests.plugins.bot_projects import GENERATED, PROJECTS
from tests.plugins.starting import SETTINGS, removed, started, taken

from bot_runner_worker.model.identity import NAMESPACE
from bot_runner_worker.testing.effects import temporary_files
from bot_runner_worker.testing.waiting import until


def _served(servers: Servers, name: str, folder: str) -> str:
    path = f"{folder}{name}.git"
    if not (servers.folder / "git" / path).exists():
        servers.repository(path).commit_files(PROJECTS[name])
    return servers.git.url(f"/{path}")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dockerfile-at-the-root", "pyproject"])  # the tests below have the others
async def test_from_a_public_repository(name: str, shared_runner: SharedRunner, servers: Servers) -> None:
    runner = await shared_runner(SETTINGS)
    result = await started(runner, name, git_repo=_served(servers, name, "kinds/"))
    assert result["status"] == "started"
    assert any("no Dockerfile" in note for note in result["notes"]) == (name in GENERATED)


@pytest.mark.slow
async def test_the_password_in_the_address(shared_runner: SharedRunner, servers: Servers) -> None:
    runner = await shared_runner(SETTINGS)
    url = _served(servers, "requirements", "private/")
    await started(runner, "bot", git_repo=url.replace("//", f"//{GIT_USER}:{GIT_PASSWORD}@"))
    own = {"label": [f"{NAMESPACE}={runner.settings.runner_namespace}"]}
    images = await runner.engine.json("GET", "images/json", params={"all": True, "filters": own})
    assert images
    assert GIT_PASSWORD not in str(images)


async def test_branches_tags_commits_and_folders(
    shared_memory_runner: SharedMemoryRunner, servers: Servers
) -> None:
    repository = servers.repository("refs.git")
    project = PROJECTS["dockerfile-at-the-root"]
    repository.commit_files({"README": "nothing here"})
    commit = repository.commit_files(
        {f"deep/down/{path}": content for path, content in project.items()}, "refs/heads/feature/x"
    )
    repository.git("tag", "-a", "-m", "annotated", "v1.0", commit)
    repository.git("tag", "light", commit)
    params = {"git_repo": servers.git.url("/refs.git"), "git_subdir": "deep/down"}
    for name in ("feature/x", "v1.0", "light", commit):
        await taken(shared_memory_runner({}), **params, git_branch=name)


@pytest.mark.slow
async def test_an_unchanged_commit_is_neither_fetched_nor_built_again(
    shared_runner: SharedRunner, servers: Servers
) -> None:
    runner = await shared_runner(SETTINGS)
    repository = servers.repository("unchanged.git")
    repository.commit_files({**PROJECTS["requirements"], "version": "1"})
    url = servers.git.url("/unchanged.git")
    await started(runner, "bot", git_repo=url)
    servers.git.requests.clear()
    await started(runner, "bot", git_repo=url)
    # The remote was asked what the branch is now, and no pack was fetched.
    assert [each for each in servers.git.requests if "info/refs" in each]
    assert len([each for each in servers.git.requests if "POST" in each]) <= 1
    repository.commit_files({**PROJECTS["requirements"], "version": "2"})
    servers.git.requests.clear()
    await started(runner, "bot", git_repo=url)
    assert len([each for each in servers.git.requests if "POST" in each]) >= 2


@pytest.mark.slow
async def test_a_known_image_is_not_given_to_who_may_not_read_the_repository(
    shared_runner: SharedRunner, servers: Servers
) -> None:
    runner = await shared_runner(SETTINGS)
    url = _served(servers, "multi-stage", "private/")
    assert GIT_TOKEN not in str(await started(runner, "bot", git_repo=url, git_token=GIT_TOKEN))
    outcome = await runner.start(
        "alice", "bot", deployment_mode="custom", git_repo=url, git_token="wrong-token"
    )
    await removed(runner, "bot")
    assert outcome.error is not None
    assert outcome.error["code"] == "GIT_ACCESS_DENIED"


@pytest.mark.slow
async def test_the_tree_comes_out_as_it_is(shared_runner: SharedRunner, servers: Servers) -> None:
    runner = await shared_runner(SETTINGS)
    repository = servers.repository("attributes.git")
    check = (
        "assert open('/srv/version').read() == '$Format:%H$'\n"
        "assert open('/srv/unix.txt', 'rb').read() == b'a\\n'\n"
    )
    project = PROJECTS["dockerfile-in-a-subfolder"]
    repository.commit_files(
        {
            **project,
            "bot/main.py": check + str(project["bot/main.py"]),
            "bot/version": "$Format:%H$",
            "bot/unix.txt": "a\n",
            ".gitattributes": "bot/main.py export-ignore\nbot/version export-subst\n*.txt text eol=crlf\n",
        }
    )
    await started(runner, "bot", git_repo=servers.git.url("/attributes.git"))


async def test_what_is_left_out_is_told(shared_memory_runner: SharedMemoryRunner, servers: Servers) -> None:
    repository = servers.repository("notes.git")
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    files = {**PROJECTS["dockerfile-at-the-root"], "model.bin": pointer}
    listing = repository.git("ls-tree", repository.tree_of(files)).splitlines()
    entries = [(line.split()[0], line.split("\t")[1], line.split()[2]) for line in listing]
    link = (SYMLINK, "link", repository.blob("notes.txt"))
    repository.commit(repository.tree(sorted([*entries, link], key=lambda each: each[1])))
    result = await taken(shared_memory_runner({}), git_repo=servers.git.url("/notes.git"))
    assert any("link link was left out" in note for note in result["notes"])
    assert any("model.bin" in note for note in result["notes"])


@pytest.mark.usefixtures("host_names")
async def test_over_https_with_a_ca_of_the_operators(
    shared_memory_runner: SharedMemoryRunner, servers: Servers
) -> None:
    url = servers.https.url("/git/page/x.git", host="files.example")
    outcome = await shared_memory_runner({}).start(deployment_mode="custom", git_repo=url)
    assert outcome.error is not None
    # The certificate was accepted for the name, at an address that only our own lookup knows.
    assert outcome.error["code"] == "GIT_REF_NOT_FOUND"


@pytest.mark.usefixtures("own_temporary_folder")
async def test_a_cancelled_start_ends_its_fetch(
    shared_memory_runner: SharedMemoryRunner, servers: Servers
) -> None:
    before, files = children(), temporary_files()
    url = servers.http.url("/git/drip/x.git")
    start = shared_memory_runner({}).start(deployment_mode="custom", git_repo=url)
    task = asyncio.create_task(start)
    await until(lambda: children() - before, what="a fetch")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await gone(before)
    assert temporary_files() <= files
