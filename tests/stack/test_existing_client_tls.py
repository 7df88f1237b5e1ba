"""The published client of the older API, our own client and a real worker with an orchestrator behind TLS."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.conftest import IDLE_BOT
from tests.corpus.certificates import Authority
from tests.stack.conftest import sweep
from tests.stack.test_existing_client import ExistingClient

from bot_runner_stack.embedded import EmbeddedStack, StackOptions

pytestmark = pytest.mark.slow

WORKERS_TOKEN = "token-of-this-worker-alone"


class SecureStack(EmbeddedStack):
    """The embedded stack with an orchestrator that speaks HTTPS.

    Args:
        folder: Has ``ca.crt``, which everybody trusts.
        options: As always.
    """

    def __init__(self, folder: Path, options: StackOptions) -> None:
        super().__init__(options)
        self._trust = ssl.create_default_context(cafile=folder / "ca.crt")

    @property
    def url(self) -> str:
        """The orchestrator's base URL."""
        return super().url.replace("http://", "https://")

    async def registered_workers(self) -> set[str]:
        """The ids of the workers that the orchestrator can give tasks to."""
        headers = {"X-Client-Token": self.client_token}
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with (
                aiohttp.ClientSession(headers=headers) as session,
                session.get(f"{self.url}/api/workers", ssl=self._trust) as response,
            ):
                return {worker["worker_id"] for worker in await response.json()}
        return set()

    async def _orchestrator_answers(self) -> bool:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{self.url}/_public/status", ssl=self._trust) as response,
            ):
                return response.status == 200
        return False


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[SecureStack]:
    """A stack with TLS, and a worker with a token of its own; no token is shared by all workers."""
    Authority(tmp_path).server_context("127.0.0.1")
    pem = str(tmp_path / "127.0.0.1.pem")  # both the key and the certificate
    (tmp_path / "workers.toml").write_text(f'["*-worker-1"]\ntoken = "{WORKERS_TOKEN}"\n')
    options = StackOptions(
        worker_token=WORKERS_TOKEN,
        worker_env={"TLS_CA_PATH": str(tmp_path / "ca.crt"), "STOP_GRACE_SECONDS": "1"},
        orchestrator_env={
            "TLS_ENABLED": "true",
            "TLS_CERT_PATH": pem,
            "TLS_KEY_PATH": pem,
            "GLOBAL_WORKER_TOKEN": "",
            "WORKERS_CONFIG_PATH": str(tmp_path / "workers.toml"),
        },
        log_dir=tmp_path,
    )
    async with SecureStack(tmp_path, options) as running:
        try:
            yield running
        finally:
            await sweep(running)


async def test_everybody_works_over_https(stack: SecureStack, tmp_path: Path) -> None:
    user = ExistingClient(stack, stack.client_token, REQUESTS_CA_BUNDLE=str(tmp_path / "ca.crt"))
    (tmp_path / "bot.py").write_text(IDLE_BOT)
    shown = await user.run("start", "bot", "--simple", str(tmp_path / "bot.py"))
    assert "успешно запущен" in shown
    await user.shows("logs", "bot", text="ready")

    ours = await asyncio.create_subprocess_exec(
        *(".venv/bin/bot-runner", "stop", "bot"),
        env=stack.worker_environment()
        | stack.client_environment
        | {"SSL_CERT_FILE": str(tmp_path / "ca.crt")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(ours.communicate(), 120)
    assert ours.returncode == 0, output.decode()

    stranger = ExistingClient(stack, stack.client_token)
    assert "Не удалось подключиться" in await stranger.run("list", exit_code=1)
