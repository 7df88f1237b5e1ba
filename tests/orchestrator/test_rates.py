"""Too many requests: who is refused, until when, and what the client is told."""

import asyncio

from tests.orchestrator.conftest import make_settings

from bot_runner_orchestrator.clients import load_clients

RATE_LIMITED = {"code", "message", "hint", "details", "stage"}


async def requests(orchestrator, count: int, client: str = "slow", path: str = "/api/workers") -> list[int]:
    return [(await orchestrator.request("GET", path, client))[0] for _ in range(count)]


async def test_a_client_over_its_rate_is_told_when_to_come_again(make_orchestrator, storage_settings) -> None:
    orchestrator = await make_orchestrator(**storage_settings)
    assert await requests(orchestrator, 3) == [200, 200, 429]

    headers = {"X-Client-Token": "token-of-slow", "Accept-Encoding": "gzip"}
    async with orchestrator.http.get(orchestrator.url + "/api/workers", headers=headers) as response:
        error = (await response.json())["error"]
        assert response.status == 429
        wait = int(response.headers["Retry-After"])
    assert set(error) == RATE_LIMITED
    assert error["code"] == "RATE_LIMITED"
    assert error["details"] == {"limit": 2, "period_seconds": 60, "retry_after_seconds": wait}
    assert str(wait) in error["hint"]
    assert 0 < wait <= 60


async def test_a_rate_is_each_clients_own(orchestrator) -> None:
    await requests(orchestrator, 3)
    assert await requests(orchestrator, 3, "alice") == [200, 200, 200]
    assert await requests(orchestrator, 1, "stranger") == [401]


async def test_an_address_over_the_general_limit_is_told_when_to_come_again(make_orchestrator) -> None:
    orchestrator = await make_orchestrator(rate_limit_limit=2, rate_limit_period=30)
    assert await requests(orchestrator, 3, "alice") == [200, 200, 429]
    headers = {"X-Client-Token": "token-of-alice"}
    async with orchestrator.http.get(orchestrator.url + "/api/workers", headers=headers) as response:
        error = (await response.json())["error"]
        assert int(response.headers["Retry-After"]) == error["details"]["retry_after_seconds"] <= 30
    assert error["code"] == "RATE_LIMITED"
    assert error["details"]["limit"] == 2


async def test_a_client_whose_quota_is_used_up_is_told_so(orchestrator) -> None:
    assert await requests(orchestrator, 2, "few") == [200, 200]
    status, answer = await orchestrator.request("GET", "/api/workers", "few")
    assert (status, answer["error"]["code"]) == (429, "CLIENT_QUOTA_EXCEEDED")
    # By this word the command bot-runner tells the two apart.
    assert "quota" in answer["error"]["message"]


async def test_steady_requests_below_the_limit_are_never_refused(make_orchestrator, storage_settings) -> None:
    """A worker's heartbeats and a front end's requests never pause for a whole period."""
    orchestrator = await make_orchestrator(rate_limit_limit=6, rate_limit_period=1, **storage_settings)
    for _ in range(8):
        assert await requests(orchestrator, 1, "alice") == [200]
        await asyncio.sleep(0.2)


def test_a_client_without_a_rate_has_the_usual_one(write) -> None:
    rows = {"a": "", "b": "requests_per_minute = 5", "c": "requests_per_minute = 0"}
    text = "".join(f'[{name}]\ntoken = "token-of-{name}"\n{row}\n' for name, row in rows.items())
    settings = make_settings(client_requests_per_minute=2, clients_config_path=write(text))
    rates = {client.name: client.requests_per_minute for client in load_clients(settings)}
    assert rates == {"a": 2, "b": 5, "c": 0, "CLIENT_TOKEN": 2}
    assert all(client.requests_per_minute for client in load_clients(make_settings())), (
        "the default is a limit"
    )
    off = make_settings(client_requests_per_minute=0)
    assert not any(client.requests_per_minute for client in load_clients(off))
