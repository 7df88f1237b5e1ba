"""One worker at a time looks after the bots, and never none for long."""

import asyncio

import pytest
from tests.core.coordination.conftest import Workers, kill

from bot_runner_worker.testing.waiting import until

pytestmark = pytest.mark.slow


async def test_one_worker_leads_until_it_ends(workers: Workers) -> None:
    many = [workers.worker() for _ in range(4)]
    for _ in range(3):
        led = await asyncio.gather(*(each.leadership.held() for each in many))
        assert sorted(led) == [False, False, False, True]
    first = many[led.index(True)]
    await first.close()
    rest = [each for each in many if each is not first]
    led = await asyncio.gather(*(each.leadership.held() for each in rest))
    assert sorted(led) == [False, False, True]


async def test_who_leads_hears_so_however_many_ask(workers: Workers) -> None:
    worker = workers.worker()
    assert await asyncio.gather(*(worker.leadership.held() for _ in range(10))) == [True] * 10


async def test_another_worker_leads_after_a_kill(workers: Workers, short_presence: float) -> None:
    killed, other = workers.worker(), workers.worker()
    assert await killed.leadership.held()
    kill(killed.claims)
    assert not await other.leadership.held()
    await until(other.leadership.held, 20 * short_presence)


async def test_a_worker_that_starts_again_leads_at_once(workers: Workers) -> None:
    killed = workers.worker("worker-1")
    assert await killed.leadership.held()
    kill(killed.claims)
    assert await workers.worker("worker-1").leadership.held()


async def test_leadership_can_be_given_to_another(workers: Workers) -> None:
    first, second = workers.worker(), workers.worker()
    assert await first.leadership.held()
    first.leadership.release()
    await first.settled()
    assert await second.leadership.held()
    assert not await first.leadership.held()
