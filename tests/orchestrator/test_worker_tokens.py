"""Workers with a token of their own, from the operator's file."""

import pytest
from pydantic import SecretStr
from tests.orchestrator.conftest import everything_in_redis

from bot_runner_orchestrator.errors import SetupError
from bot_runner_orchestrator.worker_tokens import WorkerTokens, load_worker_tokens

FILE = """
[own]
token = "token-of-own"

["gpu-*"]
token = "token-of-gpus"
"""


@pytest.fixture
async def orchestrator(make_orchestrator, write):  # type: ignore[no-untyped-def]
    return await make_orchestrator(worker_tokens=load_worker_tokens(write(FILE)))


@pytest.mark.parametrize(
    ("worker_id", "token"), [("own", "token-of-own"), ("gpu-7", "token-of-gpus"), ("other", None)]
)
async def test_a_worker_with_its_token_works(orchestrator, make_worker, worker_id, token) -> None:
    await make_worker(orchestrator, worker_id=worker_id, **({"token": token} if token else {}))
    assert (await orchestrator.run())["status"] == "finished"


@pytest.mark.parametrize(
    ("worker_id", "token"),
    [
        ("own", "worker-token-of-the-tests"),  # the one that all others share
        ("gpu-7", "worker-token-of-the-tests"),
        ("own", "token-of-gpus"),
        ("gpu-7", "token-of-own"),
        ("other", "token-of-own"),
        ("other", ""),
    ],
)
async def test_a_worker_with_another_token_is_shut_out(orchestrator, make_worker, worker_id, token) -> None:
    with pytest.raises(AssertionError, match="403"):
        await make_worker(orchestrator, worker_id=worker_id, token=token or "x", go=False)
    url = f"{orchestrator.url}/_worker/workers/{worker_id}/tasks/next"
    headers = {"X-Worker-Token": token, "X-Worker-ID": worker_id}
    async with orchestrator.http.get(url, headers=headers) as response:
        assert response.status == 403


async def test_a_worker_cannot_speak_for_another(orchestrator, make_worker) -> None:
    own = await make_worker(orchestrator, worker_id="own", token="token-of-own", go=False)
    status, _ = await own.send("PATCH", "/_worker/workers/gpu-7", {"status": "idle"})
    assert status == 403


async def test_without_a_shared_token_only_named_workers_work(make_orchestrator, make_worker, write) -> None:
    tokens = load_worker_tokens(write(FILE))
    orchestrator = await make_orchestrator(worker_tokens=tokens, GLOBAL_WORKER_TOKEN=None)
    await make_worker(orchestrator, worker_id="own", token="token-of-own", go=False)
    for token in ("worker-token-of-the-tests", "secure-worker-token", "x"):
        with pytest.raises(AssertionError, match="403"):
            await make_worker(orchestrator, worker_id="other", token=token, go=False)


async def test_short_lived_tokens_are_not_issued(orchestrator, make_worker) -> None:
    own = await make_worker(orchestrator, worker_id="own", token="token-of-own", go=False)
    for path in ("/_worker/auth/token", "/_worker/auth/token/refresh"):
        url = orchestrator.url + path
        async with orchestrator.http.post(url, headers=own.headers, json={"refresh_token": "x"}) as response:
            assert response.status == 404


async def test_no_token_is_in_redis(make_orchestrator, make_worker, redis_settings, write) -> None:
    tokens = load_worker_tokens(write(FILE))
    orchestrator = await make_orchestrator(worker_tokens=tokens, **redis_settings)
    worker = await make_worker(orchestrator, worker_id="own", token="token-of-own", go=False)
    job_id = await orchestrator.post()
    assert await worker.poll()
    # The job is under way: its params are there, and no header of the request that brought them.
    found = everything_in_redis(redis_settings["redis_port"])
    assert job_id.encode() in found
    assert b"print()" in found
    for token in (b"token-of-own", b"token-of-gpus", b"token-of-alice", b"worker-token-of-the-tests"):
        assert token not in found


def test_an_exact_name_goes_before_a_pattern() -> None:
    tokens = WorkerTokens(
        {"gpu-*": SecretStr("all"), "gpu-1": SecretStr("one"), "pattern:cpu-?": SecretStr("c")}
    )
    found = [tokens.find(name) for name in ("gpu-1", "gpu-2", "cpu-1", "cpu-10", "GPU-2")]
    assert found == ["one", "all", "c", None, None]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[own]\n", "[own] token: Field required"),
        ('[own]\ntoken = ""\n', "[own] token:"),
        ('[own]\ntoken = "secret-t"\ntype = "x"\n', "[own] type:"),
        ('[gpu.1]\ntoken = "secret-t"\n', "[gpu] token: Field required"),
        ("", "has no worker"),
    ],
)
def test_wrong_files_are_explained_without_their_tokens(write, text: str, complaint: str) -> None:
    with pytest.raises(SetupError) as raised:
        load_worker_tokens(write(text))
    assert complaint in str(raised.value)
    assert "secret-t" not in str(raised.value)
