"""The process, as an operator runs it."""

import asyncio
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.orchestrator.conftest import START, Orchestrator, everything_in_redis
from tests.orchestrator.waiting import SCALE, stays, until_sync

from bot_runner_orchestrator.__main__ import main, settings_table

COMMAND = [sys.executable, "-m", "bot_runner_orchestrator"]
README = Path(__file__).parents[2] / "orchestrator" / "README.md"
READY = re.compile(r"^orchestrator ready at (http://127\.0\.0\.1:\d+)\n", re.MULTILINE)
TOKENS = {"CLIENT_TOKEN": "token-of-alice", "CLIENT_USER_ID": "alice"}
WORKER_TOKEN = {"WORKER_TOKEN": "worker-token-of-the-tests"}


def environment(**variables: str) -> dict[str, str]:
    bare = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return bare | {"API_HOST": "127.0.0.1", "API_PORT": "0"} | variables


def complaint(folder: Path, **variables: str) -> str:
    """The one line that a process which cannot serve prints before its exit with code 1."""
    ended = subprocess.run(
        COMMAND,
        cwd=folder,
        env=environment(**TOKENS, **WORKER_TOKEN, **variables),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1), ended.stderr
    return ended.stderr


class Process:
    def __init__(self, folder: Path, **variables: str) -> None:
        self.output = folder / "output"
        with self.output.open("w") as output:
            self._process = subprocess.Popen(
                COMMAND, cwd=folder, env=environment(**variables), stdout=output, stderr=subprocess.STDOUT
            )
        self.url = until_sync(self._ready)[1]

    def _ready(self) -> re.Match[str] | None:
        assert self._process.poll() is None, self.output.read_text()
        return READY.search(self.output.read_text())

    def end(self, signal_number: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code; a worker's long poll would take 30 s."""
        self._process.send_signal(signal_number)
        return self._process.wait(timeout=20 * SCALE)

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def start_process(tmp_path: Path) -> Iterator[Any]:
    processes: list[Process] = []

    def start(**variables: str) -> Process:
        processes.append(Process(tmp_path, **(TOKENS | WORKER_TOKEN | variables)))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()


class OverHttp(Orchestrator):
    """An orchestrator in another process."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self.http = http


def test_help_lists_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = capsys.readouterr().out
    for name, _, _ in settings_table():
        assert name in shown


def test_readme_lists_every_setting_with_its_default() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.+?) \| (.+?) \|$", README.read_text(), flags=re.MULTILINE)
    assert [(name, default.strip("`"), meaning) for name, default, meaning in rows] == settings_table()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (TOKENS, "GLOBAL_WORKER_TOKEN is not set"),
        (WORKER_TOKEN, "CLIENT_TOKEN is not set"),
        (TOKENS | WORKER_TOKEN | {"API_PORT": "many"}, "API_PORT is wrong"),
        (TOKENS | WORKER_TOKEN | {"STORAGE": "redis"}, "REDIS_HOST is not set"),
        (WORKER_TOKEN | {"CLIENTS_CONFIG_PATH": "nowhere.toml"}, "cannot read nowhere.toml"),
        (TOKENS | {"WORKERS_CONFIG_PATH": "nowhere.toml"}, "WORKERS_CONFIG_PATH: cannot read nowhere.toml"),
        (TOKENS | WORKER_TOKEN | {"TLS_ENABLED": "true"}, "TLS_CERT_PATH or TLS_KEY_PATH is not set"),
        (TOKENS | WORKER_TOKEN | {"TLS_REQUIRE_CLIENT_CERT": "true"}, "TLS_CA_PATH is not set"),
        (TOKENS | WORKER_TOKEN | {"HISTORY_DATABASE_URI": "/tmp/x"}, "it must begin with sqlite:"),
        (TOKENS | WORKER_TOKEN | {"EVENTS_WEBHOOK_URL": "http://h/"}, "EVENTS_WEBHOOK_SECRET is not set"),
        (TOKENS | WORKER_TOKEN | {"EVENTS_WEBHOOK_URL": "h/SENTINEL"}, "it must look like https://host/path"),
        (TOKENS | WORKER_TOKEN | {"EVENTS_WEBHOOK_SECRET": "whsec_SENTINEL-"}, "is no base64"),
        (
            TOKENS | WORKER_TOKEN | {"EVENTS_WEBHOOK_TYPES": "bot_born"},
            "there is no 'bot_born'; use bot_started",
        ),
    ],
)
def test_wrong_settings_are_one_line_and_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variables: dict[str, str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", environment(**variables))
    assert main([]) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert said in printed.err
    assert "SENTINEL" not in printed.err


def test_port_in_use_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = complaint(tmp_path, API_PORT=port)
    assert said == f"bot-runner-orchestrator: cannot listen on 127.0.0.1:{port}: address already in use\n"


def test_redis_that_is_away_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    said = complaint(tmp_path, REDIS_HOST="127.0.0.1", REDIS_PORT="1")
    assert "cannot use Redis at 127.0.0.1:1" in said


@pytest.mark.parametrize("place", ["/nowhere/history.sqlite", "/dev/null"])
def test_a_history_that_cannot_be_written_is_one_line_and_exit_code_1(tmp_path: Path, place: str) -> None:
    said = complaint(tmp_path, HISTORY_DATABASE_URI=f"sqlite:{place}")
    assert f"cannot write the history to {place}" in said


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_certificate_that_cannot_be_used_is_one_line_and_exit_code_1(
    tmp_path: Path, content: str | None
) -> None:
    if content:
        (tmp_path / "cert.pem").write_text(content)
    said = complaint(tmp_path, TLS_ENABLED="true", TLS_CERT_PATH="cert.pem", TLS_KEY_PATH="cert.pem")
    assert "cannot use TLS_CERT_PATH" in said


@pytest.mark.parametrize(
    ("storage_settings", "signal_number"),
    [("memory", signal.SIGINT), ("redis", signal.SIGTERM)],
    indirect=["storage_settings"],
)
async def test_ends_quickly_and_quietly_while_a_worker_waits(
    start_process, make_worker, storage_settings, signal_number
) -> None:
    process = start_process(**{name.upper(): str(value) for name, value in storage_settings.items()})
    async with aiohttp.ClientSession() as http:
        worker = await make_worker(OverHttp(process.url, http), go=False)
        poll = asyncio.create_task(worker.poll())
        await stays(lambda: not poll.done(), 0.2)
        code = await asyncio.to_thread(process.end, signal_number)
        assert await poll is None
    assert code == 0
    assert process.output.read_text() == f"orchestrator ready at {process.url}\n"


def all_bytes(folder: Path, pattern: str) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob(pattern))


async def test_secrets_stay_in_the_job_while_it_runs(
    start_process, make_worker, storage_settings, tmp_path: Path
) -> None:
    sentinel = "SENTINEL-9f8e7d"
    history = tmp_path / "history.db"
    process = start_process(
        LOG_LEVEL="DEBUG",
        HISTORY_DATABASE_URI=f"sqlite:{history}",
        RETRY_DELAY_SECONDS="0.05",
        TASK_TIMEOUT_SECONDS="1",
        **{name.upper(): str(value) for name, value in storage_settings.items()},
    )
    secrets = {
        "code": f"print('{sentinel}')",
        "files": {"bot.py": sentinel},
        "archive": sentinel,
        "env_vars": {"BOT_TOKEN": sentinel},
        "registry_auth": {"username": "me", "password": sentinel},
        "git_repo": f"https://{sentinel}@example.org/bot.git",
        "git_token": sentinel,
        "param_of_a_plugin": [{"deep": sentinel}],
    }
    error = {"code": "TRANSIENT_ERROR", "message": f"failed with {sentinel}"}
    answers: dict[str, dict[str, Any]] = {
        "success": {"status": "success", "data": {"status": "started"}},
        "rejected": {"status": "rejected", "data": {"error": {"code": "X", "message": "m"}}},
        "transient": {"status": "failure", "error": error},
        "odd": {"status": "odd"},
    }
    jobs: dict[str, str] = {}
    async with aiohttp.ClientSession() as http:
        orchestrator = OverHttp(process.url, http)
        worker = await make_worker(orchestrator, go=False)
        worker.answer = lambda task: answers[task["params"]["bot_id"]]

        async def post(outcome: str, **more: str) -> None:
            jobs[outcome] = await orchestrator.post(START | secrets | {"bot_id": outcome} | more)

        # Two tasks that the worker leaves undone, and then one for each of its answers.
        await post("cancelled")
        assert (await worker.poll())["params"]["env_vars"] == secrets["env_vars"]
        await orchestrator.request("POST", f"/api/jobs/{jobs['cancelled']}/cancel")
        await post("timeout", action="status")
        await worker.poll()
        worker.go()
        for outcome in answers:
            await post(outcome)
        ends = {outcome: await orchestrator.end_of(job_id) for outcome, job_id in jobs.items()}
        special = {"success": "finished", "cancelled": "cancelled"}
        assert {name: job["status"] for name, job in ends.items()} == dict.fromkeys(jobs, "failed") | special
        for outcome, job_id in jobs.items():
            _, shown = await orchestrator.request("GET", f"/api/jobs/{job_id}/history")
            assert sentinel not in json.dumps([ends[outcome], shown]), outcome
    if "redis_port" in storage_settings:
        # The whole of Redis but the queue of a worker, which the worker has emptied.
        assert sentinel.encode() not in everything_in_redis(storage_settings["redis_port"])
    assert await asyncio.to_thread(process.end) == 0

    logged = process.output.read_text()
    assert "dispatching task" in logged
    written = all_bytes(tmp_path, "history.db*")
    rows = sqlite3.connect(history).execute("SELECT event_type, client_token FROM job_history").fetchall()
    assert ("job_created", "client:CLIENT_TOKEN") in rows
    assert b"cancelled" in written
    for secret in (sentinel, "token-of-alice", "worker-token-of-the-tests"):
        assert secret not in logged
        assert secret.encode() not in written
