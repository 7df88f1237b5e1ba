"""compose.yaml and .env.example: all settings can be set, defaults are the true ones, no secret is there."""

import asyncio
import os
import re
import subprocess

import pytest
from tests.images.docker_cli import REPOSITORY
from tests.images.readme import blocks

from bot_runner_stack.compose.project import compose_command
from bot_runner_worker.settings import Settings

TOKENS = {"CLIENT_TOKEN": "a-clients-token", "WORKER_TOKEN": "a-workers-token"}

# The stack is what settles these.
SETTLED_FOR_THE_WORKER = {"DOCKER_HOST"}
SETTLED_FOR_THE_ORCHESTRATOR = {
    "API_HOST",
    "API_PORT",
    "STORAGE",
    "REDIS_PORT",
    "REDIS_DB",
    "REDIS_PASSWORD",
}
# Read by Avtomatika and its SDK, not by us.
OF_AVTOMATIKA = {"ORCHESTRATOR_SECRET_KEY"}


def environment_of(service: str) -> dict[str, str]:
    """Variables of a service as the file has them; empty where .env alone has the say."""
    text = (REPOSITORY / "compose.yaml").read_text()
    [block] = re.findall(rf"^  {service}:\n((?:    .*\n|\n)+)", text, re.MULTILINE)
    _, _, environment = block.partition("    environment:\n")
    return dict(re.findall(r"^      ([A-Z_]+): ?(.*)$", environment, re.MULTILINE))


def test_every_setting_of_the_worker_can_be_set() -> None:
    settings = {name.upper() for name in Settings.model_fields}

    assert set(environment_of("bot-runner-worker")) - OF_AVTOMATIKA == settings - SETTLED_FOR_THE_WORKER


def test_every_setting_of_the_orchestrator_can_be_set() -> None:
    command = REPOSITORY / ".venv-orchestrator" / "bin" / "bot-runner-orchestrator"
    said = subprocess.run([command, "--help"], capture_output=True, text=True, check=True, timeout=60)
    settings = set(re.findall(r"^  ([A-Z_]+)  ", said.stdout, re.MULTILINE))

    assert set(environment_of("orchestrator")) - OF_AVTOMATIKA == settings - SETTLED_FOR_THE_ORCHESTRATOR


def test_the_example_shows_the_true_defaults() -> None:
    example = (REPOSITORY / ".env.example").read_text()
    shown = dict(re.findall(r"^#([A-Z_]+)=(.*)$", example, re.MULTILINE))
    text = (REPOSITORY / "compose.yaml").read_text()
    of_the_stack = dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", text))
    of_the_worker = environment_of("bot-runner-worker")

    assert {"WORKER_ID", "MAX_BOTS_PER_USER", "PUBLISHED_PORT", "WORKER_IMAGE"} <= set(shown)
    for name, value in shown.items():
        if name in of_the_stack:
            assert value == of_the_stack[name], name
        elif value.startswith("/") or not value:
            assert name in text  # an example of one's own
        else:
            assert name in of_the_worker
            default = Settings.load(worker_token="x").model_dump()[name.lower()]
            assert (
                Settings.load(worker_token="x", **{name.lower(): value}).model_dump()[name.lower()] == default
            )


@pytest.fixture(scope="module")
def compose() -> list[str]:
    """Docker Compose, on our file."""
    return [*asyncio.run(compose_command()), "--file", str(REPOSITORY / "compose.yaml")]


def configured(compose: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """`docker compose config` with the example in place of .env, and this environment."""
    return subprocess.run(
        [*compose, "--env-file", str(REPOSITORY / ".env.example"), "config"],
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_with_the_two_tokens_the_file_is_complete(compose: list[str]) -> None:
    done = configured(compose, **TOKENS)

    assert done.returncode == 0, done.stderr
    for token in TOKENS.values():
        assert token in done.stdout
    # Nobody but this machine reaches the orchestrator, and nobody at all Redis.
    assert re.findall(r"127\.0\.0\.1.*8000|host_ip: 127\.0\.0\.1", done.stdout)
    assert "6379" not in done.stdout


@pytest.mark.parametrize("missing", TOKENS)
def test_a_token_that_was_not_chosen_is_named(compose: list[str], missing: str) -> None:
    done = configured(compose, **{name: value for name, value in TOKENS.items() if name != missing})

    assert done.returncode != 0
    whose = "clients" if missing == "CLIENT_TOKEN" else "workers"
    assert f"choose the token that {whose} show, in .env" in done.stderr


def test_a_setting_goes_to_its_service_from_the_environment(compose: list[str]) -> None:
    done = configured(compose, **TOKENS, MAX_BOTS_PER_USER="17", JOB_RETENTION_HOURS="18")

    assert re.search(r"MAX_BOTS_PER_USER: ['\"]?17\b", done.stdout)
    assert re.search(r"JOB_RETENTION_HOURS: ['\"]?18\b", done.stdout)


def test_the_worker_is_given_the_time_to_end_what_it_is_at() -> None:
    [seconds] = re.findall(r"WORKER_STOP_GRACE_PERIOD:-(\d+)s", (REPOSITORY / "compose.yaml").read_text())

    assert int(seconds) == Settings.model_fields["drain_seconds"].default + 15


def test_the_readme_builds_the_images_that_the_file_asks_for() -> None:
    text = (REPOSITORY / "compose.yaml").read_text()
    asked_for = dict(re.findall(r"\$\{(WORKER|ORCHESTRATOR)_IMAGE:-([^}]*)\}", text))

    [block] = [block for block in blocks("README.md", "sh") if "up -d" in block]
    built = re.findall(r"docker build -t (\S+)", block)
    assert {f"{name}:latest" for name in built} == set(asked_for.values())
    assert "cp .env.example .env" in block
