"""The embedded stack: one orchestrator and its workers, as real processes on this machine.

```python
async with EmbeddedStack(StackOptions(namespace="test-1", worker_env={"MAX_BOTS_PER_USER": "3"})) as stack:
    ...  # stack.url, stack.client_token, stack.orchestrator.log, stack.workers[0].log
```
"""

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import aiohttp

from bot_runner_stack import ports, repository
from bot_runner_stack.processes import ManagedProcess

_PROBE_TIME_LIMIT = aiohttp.ClientTimeout(total=2)


def _made_up_token() -> str:
    return secrets.token_urlsafe(24)


@dataclass(frozen=True, kw_only=True)
class StackOptions:
    """How to run the stack. Everything has a default that suits a test.

    `port` 0 takes a free one. `env` goes to all processes, `orchestrator_env` and `worker_env` to theirs
    (and win); this process's own environment reaches them too, except for what the stack sets itself.
    `redis` storage needs REDIS_HOST in one of these. `cwd` is where the processes look for a `.env`: by
    default an empty folder. `log_dir` is kept; without it the logs are in a temporary folder, removed at the
    end. Time limits are in seconds.
    """

    namespace: str = field(default_factory=lambda: f"stack-{secrets.token_hex(4)}")
    host: str = "127.0.0.1"
    port: int = 0
    workers: int = 1
    storage: Literal["memory", "redis"] = "memory"
    client_token: str = field(default_factory=_made_up_token, repr=False)
    worker_token: str = field(default_factory=_made_up_token, repr=False)
    network: str | None = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    orchestrator_env: Mapping[str, str] = field(default_factory=dict, repr=False)
    worker_env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: Path | None = None
    log_dir: Path | None = None
    ready_seconds: float = 60
    stop_seconds: float = 15


class EmbeddedStack:
    """Starts the orchestrator, then the workers; ends the workers, then the orchestrator.

    Use it as an async context manager, or call `start_orchestrator`, `start_worker` and `stop` one by one
    (to show progress). Running bots are left alone. Starting raises StackError with the log's last lines if
    the process dies or does not become ready.
    """

    def __init__(self, options: StackOptions | None = None) -> None:
        self.options = options or StackOptions()
        self.workers: list[ManagedProcess] = []
        self._temporary: Path | None = None
        self._port = self.options.port or ports.free_port(self.options.host)
        self._orchestrator: ManagedProcess | None = None

    async def __aenter__(self) -> Self:
        try:
            await self.start_orchestrator()
            for _ in range(self.options.workers):
                await self.start_worker()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """The orchestrator's base URL."""
        return f"http://{self.options.host}:{self._port}"

    @property
    def client_token(self) -> str:
        """The token for `X-Client-Token`."""
        return self.options.client_token

    @property
    def namespace(self) -> str:
        """The runner's name: its containers, images and networks carry it as a label."""
        return self.options.namespace

    @property
    def network(self) -> str:
        """The name that the workers get as DOCKER_NETWORK."""
        return self.options.network or f"bot-runner-{self.options.namespace}"

    @property
    def orchestrator(self) -> ManagedProcess:
        """The orchestrator's process."""
        assert self._orchestrator is not None, "the stack was not started"
        return self._orchestrator

    @property
    def client_environment(self) -> dict[str, str]:
        """What the command `bot-runner` needs to talk to this stack."""
        return {"BOT_RUNNER_URL": self.url, "BOT_RUNNER_TOKEN": self.client_token}

    async def start_orchestrator(self) -> None:
        """Start the orchestrator, or start it again after it ended, and wait until it answers."""
        if self._orchestrator is None:
            self._orchestrator = self._process(
                "The orchestrator",
                [repository.orchestrator_command()],
                environment=self._orchestrator_environment(),
                log="orchestrator.log",
            )
        self._orchestrator.start()
        await self._orchestrator.wait_until(self._orchestrator_answers, seconds=self.options.ready_seconds)

    async def start_worker(self, env: Mapping[str, str] | None = None) -> ManagedProcess:
        """Start one more worker, with settings of its own, and wait until it serves tasks or stands by.

        Only one of a namespace serves tasks at a time; the orchestrator does not know the others.
        """
        number = len(self.workers) + 1
        worker_id = f"{self.namespace}-worker-{number}"
        environment = self.worker_environment(worker_id) | dict(env or {})
        worker = self._process(
            "The worker" if number == 1 else f"Worker {number}",
            [repository.command("bot-runner-worker"), "run"],
            environment=environment,
            log=f"worker-{number}.log",
        )
        self.workers.append(worker)
        worker.start()

        async def up() -> bool:
            standby = "standby: " in worker.log.read_text(errors="replace")
            return standby or environment["WORKER_ID"] in await self.registered_workers()

        await worker.wait_until(up, seconds=self.options.ready_seconds)
        return worker

    async def stop(self) -> None:
        """End all processes and remove the temporary folder. May be called more than once."""
        async with contextlib.AsyncExitStack() as endings:
            # Called in reverse, each one even if another fails or is cancelled.
            if self._temporary is not None:
                endings.callback(shutil.rmtree, self._temporary, ignore_errors=True)
            for process in (self._orchestrator, *self.workers):
                if process is not None:
                    endings.push_async_callback(process.stop, grace_seconds=self.options.stop_seconds)

    async def registered_workers(self) -> set[str]:
        """The ids of the workers that the orchestrator can give tasks to; empty while it does not answer."""
        headers = {"X-Client-Token": self.client_token}
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with (
                aiohttp.ClientSession(timeout=_PROBE_TIME_LIMIT, headers=headers) as session,
                session.get(f"{self.url}/api/workers") as response,
            ):
                if response.status == 200:
                    return {worker["worker_id"] for worker in await response.json()}
        return set()

    def log_tail(self, lines: int = 10) -> str:
        """The last lines of each process's log, one process after the other."""
        processes = [process for process in (self._orchestrator, *self.workers) if process is not None]
        return "\n".join(f"{process.name}:\n{process.log_tail(lines)}" for process in processes)

    def worker_environment(self, worker_id: str = "operator") -> dict[str, str]:
        """The environment of a worker process, also for `bot-runner-worker` commands on this runner."""
        return {
            **os.environ,
            "ORCHESTRATOR_URL": self.url,
            "WORKER_TOKEN": self.options.worker_token,
            "WORKER_ID": worker_id,
            "RUNNER_NAMESPACE": self.namespace,
            "DOCKER_NETWORK": self.network,
            # The bots of a test are its own, and no rules are in place for them. See up.py.
            "ISOLATION_REQUIRED": "off",
            "ISOLATION_PROBE": "off",
            **self.options.env,
            **self.options.worker_env,
        }

    def _orchestrator_environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "API_HOST": self.options.host,
            "API_PORT": str(self._port),
            "STORAGE": self.options.storage,
            "CLIENT_TOKEN": self.client_token,
            "GLOBAL_WORKER_TOKEN": self.options.worker_token,
            **self.options.env,
            **self.options.orchestrator_env,
        }

    def _process(
        self, name: str, command: Sequence[str | Path], *, environment: Mapping[str, str], log: str
    ) -> ManagedProcess:
        if self._temporary is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="bot-runner-stack-"))
        log_dir = self.options.log_dir or self._temporary
        log_dir.mkdir(parents=True, exist_ok=True)
        (log_dir / log).unlink(missing_ok=True)  # an earlier stack's
        cwd = self.options.cwd or self._temporary
        return ManagedProcess(name, command, environment=environment, log=log_dir / log, cwd=cwd)

    async def _orchestrator_answers(self) -> bool:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with (
                aiohttp.ClientSession(timeout=_PROBE_TIME_LIMIT) as session,
                session.get(f"{self.url}/_public/status") as response,
            ):
                return response.status == 200
        return False
