"""Bodies of requests: one client's leave room for those of others, and none is too much for what reads it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.orchestrator.conftest import START
from tests.orchestrator.waiting import until

from bot_runner_orchestrator import bodies
from bot_runner_orchestrator.bodies import BodiesUnderWay, json_problem

MIB = 1024 * 1024
JOBS = "/api/jobs/bot_runner"


def nested(levels: int) -> bytes:
    return b'{"initial_data": ' + b"[" * levels + b"]" * levels + b"}"


@contextlib.asynccontextmanager
async def dripping(orchestrator: Any, client: str, size: int) -> AsyncIterator[None]:
    """Uploads of which the last bytes do not come."""
    _, writer = await asyncio.open_connection("127.0.0.1", orchestrator.engine.port)
    headers = {"Host": "x", "X-Client-Token": f"token-of-{client}", "Content-Length": str(size)}
    lines = [f"POST {JOBS} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write("\r\n".join(lines).encode() + b'\r\n\r\n{"initial_data": ')
    await writer.drain()
    yield
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def upload(orchestrator: Any, client: str = "alice", size: int = MIB) -> tuple[int, Any, str]:
    """Status, answer, and how long to wait."""
    async with orchestrator.http.post(
        orchestrator.url + JOBS,
        headers={"X-Client-Token": f"token-of-{client}", "Accept-Encoding": "gzip"},
        json={"initial_data": {**START, "archive": "A" * size}},
    ) as response:
        return response.status, await response.json(), response.headers.get("Retry-After", "")


async def test_of_too_many_at_once_the_last_are_told_to_come_again(make_orchestrator) -> None:
    orchestrator = await make_orchestrator(max_request_mb=2, max_requests_mb=8)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(dripping(orchestrator, "alice", 2 * MIB))

        async def is_full() -> bool:
            return (await upload(orchestrator))[0] == 503

        await until(is_full)
        status, answer, wait = await upload(orchestrator)
        assert (status, answer["error"]["code"]) == (503, "TOO_MANY_REQUESTS")
        assert set(answer["error"]) == {"code", "message", "hint", "details", "stage"}
        assert answer["error"]["details"] == {"retry_after_seconds": int(wait)}

        # Neither others nor what is no upload are touched by it.
        assert (await upload(orchestrator, "bob"))[0] == 202
        assert (await orchestrator.request("POST", JOBS, json={"initial_data": START}))[0] == 202

    async def has_room() -> bool:
        return (await upload(orchestrator))[0] == 202

    await until(has_room)


async def test_a_body_that_never_comes_gives_its_room_back(
    make_orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "_SECONDS", 0.5)
    orchestrator = await make_orchestrator(max_request_mb=1, max_requests_mb=1)
    async with dripping(orchestrator, "alice", MIB):

        async def is_full() -> bool:
            return (await upload(orchestrator, size=MIB // 2))[0] == 503

        await until(is_full)

        async def has_room() -> bool:
            return (await upload(orchestrator, size=MIB // 2))[0] == 202

        await until(has_room)


async def test_jobs_that_are_not_over_hold_no_more_than_that_of_one_user(
    make_orchestrator, make_worker
) -> None:
    """Without a worker, a job waits; before, each kept what it was sent until its end."""
    orchestrator = await make_orchestrator(max_requests_mb=2, max_request_mb=1, worker_wait_seconds=30)
    large = {**START, "archive": "A" * 900_000}
    held = [await orchestrator.post(large) for _ in range(2)]
    for data in (large, {**large, "user_id": "alice"}):
        error = await orchestrator.error(data)
        assert (error["code"], bool(error["hint"])) == ("TOO_MANY_REQUESTS", True)
    # Others, other users of one client, and small requests have room.
    waiting = [await orchestrator.post(large, "bob"), await orchestrator.post(START)]
    waiting += [await orchestrator.post({**large, "user_id": user}, "front") for user in ("carol", "dan")]

    await make_worker(orchestrator)
    for job_id in held:
        assert (await orchestrator.end_of(job_id))["status"] == "finished"
    assert (await orchestrator.run(large))["status"] == "finished"
    assert (await orchestrator.end_of(waiting[0], "bob"))["status"] == "finished"


def test_all_together_have_a_limit_too() -> None:
    under_way = BodiesUnderWay(in_all=4 * MIB, largest=MIB)
    with contextlib.ExitStack() as stack:
        fits = [stack.enter_context(under_way.counted(sender, MIB)) for sender in "aaabbbc"]
    assert fits == [True, True, False, True, True, False, False]
    with under_way.counted("c", MIB) as there_is_room:
        assert there_is_room


def test_the_largest_always_fits_alone() -> None:
    with BodiesUnderWay(in_all=1, largest=64 * MIB).counted("a", 64 * MIB) as there_is_room:
        assert there_is_room


@pytest.mark.parametrize("path", [JOBS, "/_worker/workers/register", "/_worker/tasks/result"])
async def test_hardly_anything_of_a_strangers_body_is_read(orchestrator, path: str) -> None:
    """Before, each of them could have 64 MB read, and kept in memory."""
    async with orchestrator.http.post(
        orchestrator.url + path,
        data=b" " * 5 * MIB,
        headers={"X-Worker-Token": "guessed", "X-Worker-ID": "w"},
    ) as response:
        assert response.status in (401, 403, 413)


async def test_a_request_over_the_limit_is_told_so(make_orchestrator) -> None:
    orchestrator = await make_orchestrator(max_request_mb=1)
    status, answer, _ = await upload(orchestrator, size=2 * MIB)
    assert (status, answer["error"]["code"]) == (413, "REQUEST_TOO_LARGE")


DEEP = {
    "900-arrays": nested(900),
    "5000-arrays": nested(5000),
    "31-arrays": nested(31),
    "900-objects": b'{"initial_data": ' + b'{"a":' * 900 + b"1" + b"}" * 901,
    "a-million-arrays": b'{"initial_data": [' + b"[]," * 1_000_000 + b"[]]}",
    "a-million-numbers": b'{"initial_data": [' + b"1," * 1_000_000 + b"1]}",
    "900-arrays-that-do-not-end": b'{"initial_data": ' + b"[" * 900,
}


@pytest.mark.parametrize("header", ["X-Client-Token", "X-Avtomatika-Token"])
@pytest.mark.parametrize("body", DEEP.values(), ids=DEEP)
async def test_json_that_is_too_deep_or_wide_is_400(orchestrator, header: str, body: bytes) -> None:
    headers = {header: "token-of-alice"}
    async with orchestrator.http.post(orchestrator.url + JOBS, headers=headers, data=body) as response:
        assert response.status == 400, await response.text()
        error = (await response.json())["error"]
    assert isinstance(error, str) or error["code"] == "INVALID_FIELD"


@pytest.mark.parametrize("path", ["workers/register", "tasks/result", "events", "auth/token/refresh"])
@pytest.mark.parametrize("body", DEEP.values(), ids=DEEP)
async def test_of_strangers_as_well(orchestrator, path: str, body: bytes) -> None:
    headers = {"X-Worker-ID": "w", "X-Worker-Token": "guessed"}
    url = f"{orchestrator.url}/_worker/{path}"
    async with orchestrator.http.post(url, headers=headers, data=body) as response:
        assert 400 <= response.status < 500, await response.text()


def test_what_stands_in_texts_is_no_structure() -> None:
    code = json.dumps({"initial_data": {"code": "[" * 500 + '"\\' + "{,[" * 100_000}}).encode()
    assert json_problem(code) is None
    assert json_problem(nested(19)) is None
    assert json_problem(nested(20)) is not None


@pytest.mark.parametrize("text", [b'"' + b'\\"' * 2 * MIB, b'"' * 2 * MIB + b"," * 50, b"[" * 2 * MIB])
def test_no_text_takes_long(text: bytes) -> None:
    json_problem(text + b",{" * 20)
