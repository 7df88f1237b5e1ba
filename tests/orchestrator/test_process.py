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
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot_runner_orchestrator.__main__ import settings_table

COMMAND = [sys.executable, "-m", "bot_runner_orchestrator"]
README = Path(__file__).parents[2] / "orchestrator" / "README.md"
READY = re.compile(r"^orchestrator ready at (http://127\.0\.0\.1:\d+)\n", re.MULTILINE)
TOKENS = {"CLIENT_TOKEN": "token-of-alice", "CLIENT_USER_ID": "alice"}
WORKER_TOKEN = {"WORKER_TOKEN": "worker-token-of-the-tests"}


def environment(**variables: str) -> dict[str, str]:
    bare = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return bare | {"API_HOST": "127.0.0.1", "API_PORT": "0"} | variables


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


class Process:
    def __init__(self, folder: Path, **variables: str) -> None:
        self.output = folder / "output"
        with self.output.open("w") as output:
            self._process = subprocess.Popen(
                COMMAND, cwd=folder, env=environment(**variables), stdout=output, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + 30
        while not (ready := READY.search(self.output.read_text())):
            assert self._process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        self.url = ready[1]

    def end(self, signal_number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Exit code, and the seconds that it took."""
        begun = time.monotonic()
        self._process.send_signal(signal_number)
        code = self._process.wait(timeout=20)
        return code, time.monotonic() - begun

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


class OverHttp:
    """What the scripted worker and the job helpers need of an orchestrator in another process."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self.http = http


def test_help_lists_every_setting(tmp_path: Path) -> None:
    shown = run(tmp_path, "--help")
    assert shown.returncode == 0
    for name, _, _ in settings_table():
        assert name in shown.stdout


def test_readme_lists_every_setting_with_its_default() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.+?) \| (.+?) \|$", README.read_text(), flags=re.MULTILINE)
    assert [(name, default.strip("`"), meaning) for name, default, meaning in rows] == settings_table()


@pytest.mark.parametrize(
    ("variables", "complaint"),
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
    tmp_path: Path, variables: dict[str, str], complaint: str
) -> None:
    ended = run(tmp_path, **variables)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert complaint in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert "SENTINEL" not in ended.stderr


def test_port_in_use_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = run(tmp_path, **TOKENS, **WORKER_TOKEN, API_PORT=port)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        f"bot-runner-orchestrator: cannot listen on 127.0.0.1:{port}: address already in use\n"
    )


def test_redis_that_is_away_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    ended = run(tmp_path, **TOKENS, **WORKER_TOKEN, REDIS_HOST="127.0.0.1", REDIS_PORT="1")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "cannot use Redis at 127.0.0.1:1" in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("place", ["/nowhere/history.sqlite", "/dev/null", "/proc"])
def test_a_history_that_cannot_be_written_is_one_line_and_exit_code_1(tmp_path: Path, place: str) -> None:
    ended = run(tmp_path, **TOKENS, **WORKER_TOKEN, HISTORY_DATABASE_URI=f"sqlite:{place}")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"cannot write the history to {place}" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_certificate_that_cannot_be_used_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    paths = {"TLS_CERT_PATH": "cert.pem", "TLS_KEY_PATH": "cert.pem"}
    for content in (None, "no certificate"):
        if content:
            (tmp_path / "cert.pem").write_text(content)
        ended = run(tmp_path, **TOKENS, **WORKER_TOKEN, TLS_ENABLED="true", **paths)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert "cannot use TLS_CERT_PATH" in ended.stderr
        assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
async def test_ends_quickly_and_quietly_while_a_worker_waits(
    start_process, make_worker, storage_settings, signal_number
) -> None:
    process = start_process(**{name.upper(): str(value) for name, value in storage_settings.items()})
    async with aiohttp.ClientSession() as http:
        worker = await make_worker(OverHttp(process.url, http), go=False)
        poll = asyncio.create_task(worker.poll())
        await asyncio.sleep(0.3)
        code, seconds = await asyncio.to_thread(process.end, signal_number)
        assert await poll is None
    assert code == 0
    assert seconds < 2
    assert process.output.read_text() == f"orchestrator ready at {process.url}\n"


@pytest.mark.parametrize("outcome", ["success", "rejected", "transient", "odd", "cancelled", "timeout"])
async def test_secrets_stay_in_the_job_while_it_runs(
    start_process, make_worker, storage_settings, tmp_path: Path, outcome: str
) -> None:
    sentinel = "SENTINEL-9f8e7d"
    history = tmp_path / "history.db"
    process = start_process(
        LOG_LEVEL="DEBUG",
        HISTORY_DATABASE_URI=f"sqlite:{history}",
        RETRY_DELAY_SECONDS="0.05",
        START_TIMEOUT_SECONDS="1",
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
    headers = {"X-Client-Token": "token-of-alice"}
    async with aiohttp.ClientSession() as http:
        worker = await make_worker(OverHttp(process.url, http), go=False)
        worker.answer = lambda task: answers[outcome]
        request = {"action": "start", "bot_id": "echo", "deployment_mode": "simple", **secrets}
        async with http.post(
            process.url + "/api/jobs/bot_runner", json={"initial_data": request}, headers=headers
        ) as response:
            url = f"{process.url}/api/jobs/{(await response.json())['job_id']}"
        if outcome in answers:
            worker.go()
        else:
            task = await worker.poll()
            assert task
            assert task["params"]["env_vars"] == secrets["env_vars"]
        if outcome == "cancelled":
            await http.post(url + "/cancel", headers=headers)
        deadline = time.monotonic() + 10
        while True:
            async with http.get(url, headers=headers) as response:
                job = await response.json()
            if job["status"] in ("finished", "failed", "cancelled"):
                break
            assert time.monotonic() < deadline, job
            await asyncio.sleep(0.02)
        async with http.get(url + "/history", headers=headers) as response:
            shown = await response.text()
        assert sentinel not in json.dumps(job) + shown
    if "redis_port" in storage_settings:
        # The whole of Redis but the queue of a worker, which the worker has emptied.
        assert sentinel.encode() not in everything_in_redis(storage_settings["redis_port"])
    code, _ = await asyncio.to_thread(process.end)
    assert code == 0

    logged = process.output.read_text()
    assert "dispatching task" in logged
    written = all_bytes(tmp_path, "history.db*")
    rows = sqlite3.connect(history).execute("SELECT event_type, client_token FROM job_history").fetchall()
    assert ("job_created", "client:CLIENT_TOKEN") in rows
    assert b"echo" in written
    for secret in (sentinel, "token-of-alice", "worker-token-of-the-tests"):
        assert secret not in logged
        assert secret.encode() not in written


def all_bytes(folder: Path, pattern: str) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob(pattern))


def everything_in_redis(port: int) -> bytes:
    """All keys and values, as Redis itself dumps them."""
    import redis

    found = b""
    with redis.Redis(port=port) as client:
        for key in client.scan_iter("*"):
            kind = client.type(key)
            found += key + b"\n"
            if kind == b"string":
                found += client.get(key) or b""
            elif kind == b"zset":
                found += b"".join(client.zrange(key, 0, -1))
            elif kind == b"list":
                found += b"".join(client.lrange(key, 0, -1))
            elif kind == b"stream":
                found += repr(client.xrange(key)).encode()
            else:
                found += repr(client.smembers(key) if kind == b"set" else client.hgetall(key)).encode()
    return found
