"""The attacks on the orchestrator's memory, on the process itself."""

import asyncio
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.orchestrator.conftest import START, ScriptedWorker
from tests.orchestrator.test_process import OverHttp, start_process

__all__ = ["start_process"]

pytestmark = pytest.mark.slow

JOBS = "/api/jobs/bot_runner"


def peak_mib(process: Any) -> int:
    """The most memory that the process has had."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) // 1024


async def test_eight_large_bodies_at_once_cost_no_more_than_two(start_process: Any) -> None:
    """Before, eight of 60 MB took 831 MB."""
    process = start_process(WORKER_WAIT_SECONDS="0")
    before = peak_mib(process)
    body = b'{"initial_data": {"action": "list", "archive": "' + b"A" * 60_000_000 + b'"}}'
    async with aiohttp.ClientSession(process.url, headers={"X-Client-Token": "token-of-alice"}) as http:

        async def upload() -> int:
            async with http.post(JOBS, data=body) as answer:
                return answer.status

        statuses = sorted(await asyncio.gather(*(upload() for _ in range(8))))
    assert set(statuses) <= {202, 503}
    assert 503 in statuses
    assert peak_mib(process) - before < 450


async def test_many_results_with_logs_are_not_kept(start_process: Any) -> None:
    """Before, 150 of them were kept for a day: 77 MB."""
    process = start_process()
    async with aiohttp.ClientSession() as http:
        orchestrator = OverHttp(process.url, http)
        answer = {"status": "success", "data": {"status": "ok", "logs": "x" * 500_000}}
        worker = ScriptedWorker(orchestrator, "worker-1", lambda _: answer)
        await worker.register()
        worker.go()
        logs = {"action": "logs", "bot_id": "echo"}
        for _ in range(50):
            await orchestrator.run(logs)
        before = peak_mib(process)
        for _ in range(250):
            await orchestrator.run(logs)
        await worker.stop()
    assert peak_mib(process) - before < 50


async def test_a_body_of_small_values_is_refused_before_it_is_read(start_process: Any) -> None:
    """Twenty million empty arrays take twenty times their size once they are read."""
    process = start_process()
    before = peak_mib(process)
    body = b'{"initial_data": [' + b"[]," * 20_000_000 + b"[]]}"
    async with aiohttp.ClientSession(process.url, headers={"X-Client-Token": "token-of-alice"}) as http:
        async with http.post(JOBS, data=body) as answer:
            assert answer.status == 400
        async with http.post(JOBS, json={"initial_data": START}) as answer:
            assert answer.status == 202
    assert peak_mib(process) - before < 300
