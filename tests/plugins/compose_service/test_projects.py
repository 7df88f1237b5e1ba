"""Services of Compose files from a real Git server."""

from typing import Any

import pytest
from tests.conftest import BASE_IMAGE, RunnerUnderTest
from tests.corpus.conftest import SharedMemoryRunner, SharedRunner
from tests.corpus.servers import GIT_TOKEN, Servers
from tests.plugins.starting import SETTINGS, removed, said

from bot_runner_worker.testing import MemoryRunner

_BOT = """
import os, sys, time
facts = {name: os.environ.get(name) for name in ("MODE", "BOT_TOKEN", "WHERE")}
print("ready", sys.argv[1:], os.getcwd(), os.getuid(), facts, flush=True)
open("/data/state", "w").close()
print("done", flush=True)
time.sleep(3600)
"""
_DOCKERFILE = (
    f"FROM {BASE_IMAGE}\nCOPY bot.py /srv/bot.py\nENV WHERE=image\n"
    'ENTRYPOINT ["python3", "-u"]\nCMD ["/srv/bot.py"]\n'
)
_COMPOSE = """
services:
  db:
    image: postgres:16
    volumes: ["/var/lib/postgresql:/var/lib/postgresql"]
  bot:
    build:
      context: ../bot
      dockerfile: docker/Dockerfile
    command: /srv/bot.py --name "my bot"
    environment:
      MODE: ${MODE:-polling}
      BOT_TOKEN: ${BOT_TOKEN}
    user: "1234"
    working_dir: /tmp
    volumes: [data:/data]
    restart: always
    depends_on: [db]
"""
FILES = {"bot/docker/Dockerfile": _DOCKERFILE, "bot/bot.py": _BOT, "deploy/stack.yml": _COMPOSE}


async def started(runner: RunnerUnderTest, **params: Any) -> tuple[dict[str, Any], str]:
    """Start the bot, wait for its last word, remove it; the start's result and the log."""
    outcome = await runner.start("alice", "composed", deployment_mode="compose", **params)
    assert outcome.error is None, outcome.error
    try:
        return outcome.data, await said(runner, "composed", "done")
    finally:
        await removed(runner, "composed")


async def refused(runner: MemoryRunner, **params: Any) -> dict[str, Any]:
    outcome = await runner.start(deployment_mode="compose", **params)
    assert outcome.error is not None, outcome.data
    assert await runner.leftovers() == []
    return outcome.error


@pytest.mark.slow
async def test_a_service_that_is_built(shared_runner: SharedRunner, servers: Servers) -> None:
    runner = await shared_runner(SETTINGS)
    repository = servers.repository("private/composed.git")
    repository.commit_files(FILES)
    request = {
        "git_repo": servers.git.url("/private/composed.git"),
        "git_token": GIT_TOKEN,
        "compose_file": "deploy/stack.yml",
        "service": "bot",
        "env_vars": {"BOT_TOKEN": "1:secret"},
    }
    first, logs = await started(runner, **request)
    facts = {"MODE": "polling", "BOT_TOKEN": "1:secret", "WHERE": "image"}
    assert logs == f"ready ['--name', 'my bot'] /tmp 1234 {facts}\ndone\n"
    assert GIT_TOKEN not in str(first)
    notes = " | ".join(first["notes"])
    for word in ("restart", "depends_on", "/data"):
        assert word in notes

    # What is not built from the Compose file does not change the image.
    changed = _COMPOSE.replace("my bot", "other")
    repository.commit_files({**FILES, "deploy/stack.yml": changed})
    second, logs = await started(runner, **request)
    assert "['--name', 'other']" in logs
    assert second["image"] == first["image"]


@pytest.mark.slow
async def test_a_service_of_a_ready_image(shared_runner: SharedRunner, servers: Servers) -> None:
    runner = await shared_runner(SETTINGS)
    code = "open('/data/x', 'w').write('done'); print(open('/data/x').read(), flush=True); "
    code += "__import__('time').sleep(99)"
    servers.repository("ready.git").commit_files(
        {
            "compose.yaml": f"services:\n  bot:\n    image: {BASE_IMAGE}\n    init: true\n"
            f'    entrypoint: [python3, -c]\n    command: ["{code}"]\n    tmpfs: /data:size=1m\n'
        }
    )
    result, logs = await started(runner, git_repo=servers.git.url("/ready.git"))
    assert logs.startswith("done\n")
    assert result["image"].startswith(BASE_IMAGE)
    assert any("init" in note for note in result["notes"])


async def test_what_is_refused_leaves_nothing(
    shared_memory_runner: SharedMemoryRunner, servers: Servers
) -> None:
    runner = shared_memory_runner({})
    repository = servers.repository("refused.git")
    url = servers.git.url("/refused.git")

    repository.commit_files({"README": "no Compose file"})
    assert (await refused(runner, git_repo=url))["code"] == "COMPOSE_FILE_NOT_FOUND"

    greedy = f"services:\n  bot:\n    image: {BASE_IMAGE}\n    privileged: true\n    network_mode: host\n"
    repository.commit_files({"docker-compose.yml": greedy})
    error = await refused(runner, git_repo=url)
    assert error["code"] == "COMPOSE_KEY_REFUSED"
    assert set(error["details"]["refused"]) == {"privileged", "network_mode"}

    repository.commit_files({"compose.yaml": "services: {bot: {image: 'docker.io/x y'}}"})
    assert (await refused(runner, git_repo=url))["code"] == "INVALID_IMAGE_NAME"

    for build, code in (
        (".", "NO_DOCKERFILE"),
        ("{dockerfile: other}", "NO_DOCKERFILE"),
        ("nowhere", "INVALID_COMPOSE_FILE"),
        ("../..", "INVALID_COMPOSE_FILE"),
        ("/etc", "INVALID_COMPOSE_FILE"),
        ("https://127.0.0.1/x.git", "INVALID_COMPOSE_FILE"),
        ("{dockerfile: ../Dockerfile}", "INVALID_COMPOSE_FILE"),
    ):
        repository.commit_files({"compose.yaml": f"services: {{bot: {{build: {build}}}}}", "a/b": "c"})
        assert (await refused(runner, git_repo=url))["code"] == code, build


async def test_a_dockerfile_is_vetted_as_that_of_any_other_mode(
    shared_memory_runner: SharedMemoryRunner, servers: Servers
) -> None:
    before = len(servers.marked())
    servers.repository("adding.git").commit_files(
        {
            "compose.yaml": "services: {bot: {build: {dockerfile: bot.Dockerfile}}}",
            "bot.Dockerfile": f"FROM {BASE_IMAGE}\nADD {servers.forbidden} /x\n",
        }
    )
    error = await refused(shared_memory_runner({}), git_repo=servers.git.url("/adding.git"))
    assert error["code"] == "DOCKERFILE_REFUSED"
    assert servers.marked()[before:] == []
