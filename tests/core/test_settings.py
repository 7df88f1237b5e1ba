"""Settings: the seed's names and defaults, sizes as people write them, one clear line for what is wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bot_runner_worker.model.errors import SettingsError
from bot_runner_worker.model.quantities import format_size, parse_size
from bot_runner_worker.settings import Settings

SEED_DEFAULTS = {
    "ORCHESTRATOR_URL": "http://localhost:8000",
    "WORKER_TYPE": "bot-runner",
    "MAX_BOTS_PER_USER": 3,
    "BOT_MAX_RUNTIME_HOURS": 24,
    "DOCKER_NETWORK": "avtomatika_bot_network",
    "CONTAINER_MEMORY_LIMIT": 256 * 1024 * 1024,
    "CONTAINER_CPU_LIMIT": 0.5,
}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def test_defaults_are_the_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_TOKEN", "token")
    settings = Settings.load()
    assert {name: getattr(settings, name.lower()) for name in SEED_DEFAULTS} == SEED_DEFAULTS
    assert settings.worker_id.startswith("bot-runner-")
    assert Settings.load().worker_id != settings.worker_id


def test_reads_a_dotenv_file_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("WORKER_TOKEN=from-file\nMAX_BOTS_PER_USER=7\nCONTAINER_MEMORY_LIMIT=1g\n")
    monkeypatch.setenv("MAX_BOTS_PER_USER", "9")
    settings = Settings.load()
    assert settings.worker_token.get_secret_value() == "from-file"
    assert settings.max_bots_per_user == 9
    assert settings.container_memory_limit == 1024**3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CONTAINER_MEMORY_LIMIT", "lots"),
        ("CONTAINER_MEMORY_LIMIT", "0"),
        ("CONTAINER_CPU_LIMIT", "nan"),
        ("CONTAINER_CPU_LIMIT", "-1"),
        ("MAX_BOTS_PER_USER", "0"),
        ("BOT_MAX_RUNTIME_HOURS", "0"),
        ("ORCHESTRATOR_URL", "localhost:8000"),
        ("RUNNER_NAMESPACE", "Not Allowed"),
        ("CA_BUNDLE", "/no/such/file"),
    ],
)
def test_a_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("WORKER_TOKEN", "s3cret-token")
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    assert caught.value.message.startswith(name)
    assert "\n" not in caught.value.message
    assert "s3cret-token" not in caught.value.message


def test_a_missing_token_ends_the_command_with_one_line_and_exit_code_2(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "WORKER_TOKEN"}
    done = subprocess.run(
        [sys.executable, "-m", "bot_runner_worker", "run"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 2
    assert done.stderr == "bot-runner-worker: WORKER_TOKEN is not set\n"
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("256m", 268435456),
        ("1g", 1073741824),
        ("512K", 524288),
        ("1.5g", 1610612736),
        ("1000", 1000),
        ("2MiB", 2097152),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "m", "1x", "-1m", "1e9", "0x10", True, None])
def test_sizes_that_are_none(text: object) -> None:
    with pytest.raises(ValueError):
        parse_size(text)


def test_sizes_for_people() -> None:
    assert [format_size(size) for size in (0, 1023, 1536, 268435456, 5 * 1024**4)] == [
        "0 B",
        "1023 B",
        "1.5 KiB",
        "256 MiB",
        "5120 GiB",
    ]


@pytest.mark.parametrize(
    "name", ["worker_id", "worker_type", "runner_namespace", "docker_network", "log_level"]
)
def test_a_line_end_is_no_part_of_a_name(name: str) -> None:
    """Pydantic uses the patterns of Rust, whose $ is the end of the text; Python lets a line end in."""
    usual = {"log_level": "INFO"}.get(name, "a-name")
    assert getattr(Settings.load(worker_token="t", **{name: usual}), name) == usual
    with pytest.raises(SettingsError):
        Settings.load(worker_token="t", **{name: usual + "\n"})
