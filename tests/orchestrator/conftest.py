"""A real orchestrator on a free port, and a worker that speaks the real protocol to it."""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import redis
from pydantic import SecretStr
from rxon.security import sign_payload
from tests.orchestrator.waiting import until, until_sync
from tests.tiers import pytest_collection_modifyitems, pytest_configure

from bot_runner_orchestrator import config, engine, executor, redis_storage, workers
from bot_runner_orchestrator.clients import Client, ClientDirectory
from bot_runner_orchestrator.engine import BotRunnerEngine
from bot_runner_orchestrator.settings import Settings
from bot_runner_orchestrator.worker_tokens import WorkerTokens

__all__ = ["pytest_collection_modifyitems", "pytest_configure"]

WORKER_TOKEN = "worker-token-of-the-tests"
START = {"action": "start", "bot_id": "echo", "deployment_mode": "simple", "code": "print()"}
STATUSES = ["rejected", "unavailable"]
ENDED = {"finished", "failed", "quarantined", "cancelled", "error"}

Answer = Callable[[dict[str, Any]], dict[str, Any]]

# What an operator's orchestrator does every second or two.
engine.WATCH_SECONDS = config.WATCH_SECONDS = executor._PAUSE = 0.05
redis_storage._AWAY_PAUSE = workers._LOOK_AGAIN_SECONDS = 0.05


def started(_task: dict[str, Any]) -> dict[str, Any]:
    return {"status": "success", "data": {"status": "started"}}


class Orchestrator:
    """The engine and an HTTP client of it. Clients: ``alice``, ``bob`` and ``front`` (acts for others)."""

    def __init__(self, engine: BotRunnerEngine, http: aiohttp.ClientSession) -> None:
        self.engine = engine
        self.http = http
        self.url = f"http://127.0.0.1:{engine.port}"

    async def request(self, method: str, path: str, client: str = "alice", **options: Any) -> tuple[int, Any]:
        headers = {"X-Client-Token": f"token-of-{client}"}
        async with self.http.request(method, self.url + path, headers=headers, **options) as response:
            text = await response.text()
            return response.status, await response.json() if text.startswith(("{", "[")) else text

    async def post(self, data: Any = START, client: str = "alice", **body: Any) -> str:
        status, answer = await self.request(
            "POST", "/api/jobs/bot_runner", client, json={"initial_data": data, **body}
        )
        assert status == 202, answer
        return str(answer["job_id"])

    async def job(self, job_id: str, client: str = "alice") -> dict[str, Any]:
        status, job = await self.request("GET", f"/api/jobs/{job_id}", client)
        assert status == 200, job
        assert isinstance(job, dict)
        return job

    async def has_status(self, job_id: str, status: str) -> bool:
        return bool((await self.job(job_id))["status"] == status)

    async def end_of(self, job_id: str, client: str = "alice") -> dict[str, Any]:
        job: dict[str, Any] = {}

        async def ended() -> bool:
            nonlocal job
            job = await self.job(job_id, client)
            return job["status"] in ENDED

        await until(ended, what=lambda: f"the end of {job}")
        return job

    async def given_out(self, job_id: str) -> None:
        """Wait until the job's task is in a worker's queue."""

        async def has_worker() -> Any:
            return (await self.engine.bot_storage.get_job_state(job_id) or {}).get("task_worker_id")

        await until(has_worker)

    async def run(self, data: Any = START, client: str = "alice", **body: Any) -> dict[str, Any]:
        return await self.end_of(await self.post(data, client, **body), client)

    async def error(self, data: Any = START, client: str = "alice", **body: Any) -> dict[str, Any]:
        """The error of a job that must fail."""
        job = await self.run(data, client, **body)
        assert job["status"] != "finished", job
        assert set(job["result"]) == {"error"}
        error = job["result"]["error"]
        assert set(error) == {"code", "message", "hint", "details", "stage"}
        return error  # type: ignore[no-any-return]

    async def reputation(self, worker_id: str) -> Any:
        _, workers = await self.request("GET", "/api/workers")
        return next(worker["reputation"] for worker in workers if worker["worker_id"] == worker_id)


def everything_in_redis(port: int) -> bytes:
    """All keys and values, as Redis itself dumps them."""
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


class ScriptedWorker:
    """A worker that answers each task with what ``answer`` makes of it."""

    def __init__(
        self, orchestrator: Orchestrator, worker_id: str, answer: Answer, token: str = WORKER_TOKEN
    ) -> None:
        self.token = token
        self.url = orchestrator.url
        self.http = orchestrator.http
        self.worker_id = worker_id
        self.answer = answer
        self.tasks: list[dict[str, Any]] = []
        self.modes: dict[str, Any] = {
            "simple": {"sources": {"simple": "code or files"}},
            "custom": {"sources": {"git": "a repository", "archive": "an archive"}},
        }
        self.input_schema: dict[str, Any] | None = None
        self._loop: asyncio.Task[None] | None = None

    async def send(self, method: str, path: str, payload: dict[str, Any]) -> tuple[int, Any]:
        payload = {"worker_id": self.worker_id, "timestamp": int(time.time()), **payload}
        # The signature is also what tells two messages of one second apart.
        payload.setdefault("metadata", {"nonce": os.urandom(8).hex()})
        payload["security"] = {
            "signature": sign_payload(payload, self.token, ignore_fields=["bubbling_chain"]),
            "signer_id": self.worker_id,
        }
        async with self.http.request(method, self.url + path, json=payload, headers=self.headers) as response:
            return response.status, await response.json()

    @property
    def headers(self) -> dict[str, str]:
        return {"X-Worker-Token": self.token, "X-Worker-ID": self.worker_id}

    def registration(self) -> dict[str, Any]:
        skills: list[dict[str, Any]] = [
            {"name": name, "type": name, "output_statuses": STATUSES}
            for name in ("start_bot", "stop_bot", "restart_bot", "get_logs", "check_status", "list_bots")
        ]
        skills[0]["properties"] = {"modes": self.modes}
        if self.input_schema:
            skills[0]["input_schema"] = self.input_schema
        return {"worker_type": "bot-runner", "supported_skills": skills}

    async def register(self) -> None:
        answer = await self.send("POST", "/_worker/workers/register", self.registration())
        assert answer[0] == 200, answer

    async def heartbeat(self, status: str = "idle", **more: Any) -> tuple[int, Any]:
        return await self.send("PATCH", f"/_worker/workers/{self.worker_id}", {"status": status, **more})

    async def poll(self) -> dict[str, Any] | None:
        path = f"{self.url}/_worker/workers/{self.worker_id}/tasks/next"
        async with self.http.get(path, headers=self.headers) as response:
            assert response.status in (200, 204), await response.text()
            return await response.json() if response.status == 200 else None

    async def report(self, task: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
        ids = {"job_id": task["job_id"], "task_id": task["task_id"]}
        status, answer = await self.send("POST", "/_worker/tasks/result", ids | result)
        assert status == 200, answer
        assert isinstance(answer, dict)
        return answer

    async def progress(self, task: dict[str, Any], progress: float, message: str) -> None:
        await self.event("progress", {"progress": progress, "message": message}, target_job_id=task["job_id"])

    async def event(self, event_type: str, payload: dict[str, Any], **more: Any) -> None:
        """Report an event, such as ``bot_crashed``."""
        message = {
            "event_id": os.urandom(8).hex(),
            "origin_worker_id": self.worker_id,
            "event_type": event_type,
            "payload": payload,
            "bubbling_chain": [],
        }
        status, answer = await self.send("POST", "/_worker/events", message | more)
        assert status == 200, answer

    async def work(self) -> None:
        while True:
            if task := await self.poll():
                self.tasks.append(task)
                await self.report(task, self.answer(task))

    def go(self) -> None:
        self._loop = asyncio.create_task(self.work())

    async def stop(self) -> None:
        if self._loop:
            self._loop.cancel()
            with contextlib.suppress(asyncio.CancelledError, aiohttp.ClientError):
                await self._loop


def make_settings(**overrides: Any) -> Settings:
    values: dict[str, Any] = {
        "GLOBAL_WORKER_TOKEN": WORKER_TOKEN,
        "client_token": "token-of-nobody",
        "api_host": "127.0.0.1",
        "api_port": 0,
        "worker_wait_seconds": 0.3,
        "retry_delay_seconds": 0.05,
        "history_database_uri": "none",
    }
    return Settings(_env_file=None, **(values | overrides))


def make_clients() -> ClientDirectory:
    def client(name: str, **more: Any) -> Client:
        return Client(name=name, token=SecretStr(f"token-of-{name}"), user_id=name, **more)

    front = client("front", may_act_for_others=True)
    few, slow = client("few", monthly_attempts=2), client("slow", requests_per_minute=2)
    return ClientDirectory([client("alice"), client("bob"), front, few, slow])


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    if not (server := shutil.which("redis-server")):
        pytest.fail("redis-server is missing: run scripts/services.sh")
    # Bound for as long as the server runs, so that no other process is given the same port.
    with socket.socket() as reserved, contextlib.ExitStack() as stack:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        options = ["--port", str(port), "--save", "", "--dir", str(tmp_path_factory.mktemp("redis"))]
        process = subprocess.Popen([server, *options], stdout=subprocess.DEVNULL)
        stack.callback(process.wait)
        stack.callback(process.terminate)

        def answers() -> bool:
            assert process.poll() is None, "redis-server has ended"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return True
            return False

        until_sync(answers)
        yield port


@pytest.fixture
def redis_settings(redis_port: int) -> dict[str, Any]:
    """Overrides for Redis, emptied: a worker of another test would be given this one's tasks."""
    with socket.create_connection(("127.0.0.1", redis_port), 30) as connection:
        connection.sendall(b"FLUSHALL\r\n")
        assert connection.recv(100).startswith(b"+OK")
    return {"storage": "redis", "redis_host": "127.0.0.1", "redis_port": redis_port}


@pytest.fixture(params=["memory", "redis"])
def storage_settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Overrides for each of the two storages, for what is promised of both."""
    if request.param == "memory":
        return {"storage": "memory"}
    settings: dict[str, Any] = request.getfixturevalue("redis_settings")
    return settings


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Writes an operator's file."""

    def write_file(text: str) -> Path:
        path = tmp_path / "operators.toml"
        path.write_text(text)
        return path

    return write_file


@pytest.fixture
async def make_orchestrator() -> AsyncIterator[Callable[..., Any]]:
    before = asyncio.all_tasks()
    async with contextlib.AsyncExitStack() as stack:

        async def make(worker_tokens: WorkerTokens | None = None, **overrides: Any) -> Orchestrator:
            engine = BotRunnerEngine(make_settings(**overrides), make_clients(), worker_tokens)
            await engine.start()
            stack.push_async_callback(engine.stop)
            http = await stack.enter_async_context(aiohttp.ClientSession())
            return Orchestrator(engine, http)

        yield make
    # What a process would take with it at its end.
    for task in asyncio.all_tasks() - before - {asyncio.current_task()}:
        task.cancel()


@pytest.fixture
async def orchestrator(make_orchestrator: Callable[..., Any]) -> Orchestrator:
    """With the memory storage."""
    made = await make_orchestrator(storage="memory")
    assert isinstance(made, Orchestrator)
    return made


@pytest.fixture
async def make_worker() -> AsyncIterator[Callable[..., Any]]:
    workers: list[ScriptedWorker] = []

    async def make(
        orchestrator: Orchestrator,
        answer: Answer = started,
        worker_id: str = "worker-1",
        go: bool = True,
        token: str = WORKER_TOKEN,
    ) -> ScriptedWorker:
        worker = ScriptedWorker(orchestrator, worker_id, answer, token)
        workers.append(worker)
        await worker.register()
        if go:
            worker.go()
        return worker

    yield make
    for worker in workers:
        await worker.stop()
