"""Claims on the real Engine: one holder at a time, and nothing for ever."""

import asyncio
from collections.abc import Mapping

import pytest
from tests.core.coordination.conftest import Workers, kill

from bot_runner_worker.coordination import Coordination, liveness
from bot_runner_worker.coordination.claim import Claim, Kind
from bot_runner_worker.engine import Engine, volumes
from bot_runner_worker.model.errors import Code, Unavailable
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.testing.waiting import SCALE, until

pytestmark = pytest.mark.slow

BOT = BotKey("alice", "bot")


async def take(worker: Coordination, **kwargs: object) -> Claim:
    """Take the claim on the bot."""
    claims = worker.claims
    return await claims.take(claims.names.bot(BOT), Kind.WORK, BOT.labels(claims.namespace), **kwargs)  # type: ignore[arg-type] # passed on as it is


async def try_take(worker: Coordination) -> Claim:
    claims = worker.claims
    return await claims.try_take(claims.names.bot(BOT), Kind.WORK, BOT.labels(claims.namespace))


async def test_one_of_many_gets_it(workers: Workers) -> None:
    many = [workers.worker() for _ in range(10)]
    found = await asyncio.gather(*(try_take(each) for each in many))
    (winner,) = [claim for claim in found if claim.mine]
    assert {claim.token for claim in found} == {winner.token}
    assert {claim.bot for claim in found} == {BOT}


async def test_many_that_wait_get_it_one_after_another(workers: Workers) -> None:
    inside = most = done = 0

    async def work(worker: Coordination) -> None:
        nonlocal inside, most, done
        claim = await take(worker)
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.02)
        inside -= 1
        done += 1
        worker.claims.release(claim)

    many = [workers.worker() for _ in range(8)]
    await asyncio.gather(*(work(each) for each in many))
    assert (most, done) == (1, 8)


async def test_a_worker_that_is_closed_leaves_nothing(workers: Workers) -> None:
    worker = workers.worker()
    await take(worker)
    await worker.leadership.held()
    assert len(await workers.volumes()) == 3
    await worker.close()
    assert await workers.volumes() == []


async def test_a_worker_that_is_closed_in_the_middle_of_its_work_leaves_nothing(workers: Workers) -> None:
    """Tasks that go on for a moment after the end are told so."""
    worker = workers.worker()

    async def work() -> None:
        while True:
            worker.claims.release(await take(worker))

    working = asyncio.create_task(work())
    await until(workers.volumes)
    await worker.close()
    with pytest.raises(Unavailable, match="shutting down"):
        await working
    await worker.settled()
    assert await workers.volumes() == []


async def test_looking_leaves_nothing(workers: Workers) -> None:
    await workers.worker().claims.look()
    assert await workers.volumes() == []


async def test_a_claim_that_is_given_back_while_the_engine_lists_it_is_nobodys_and_not_removed_twice(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = workers.worker()
    claim = await take(worker)
    listed, made = volumes.list_by_labels, volumes.create
    created: list[str] = []

    async def slow_list(engine: Engine, labels: Mapping[str, str]) -> dict[str, dict[str, str]]:
        found = await listed(engine, labels)
        worker.claims.release(claim)
        await worker.settled()
        return found

    async def create(engine: Engine, name: str, labels: Mapping[str, str]) -> dict[str, str]:
        created.append(name)
        return await made(engine, name, labels)

    monkeypatch.setattr(volumes, "list_by_labels", slow_list)
    monkeypatch.setattr(volumes, "create", create)
    assert (await worker.claims.look()).claims == []
    # Each removal of a void claim begins with a claim on that.
    assert created == []


async def test_a_living_workers_claim_lasts(workers: Workers, short_presence: float) -> None:
    holder, other = workers.worker(), workers.worker()
    claim = await take(holder)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2 * short_presence):
            await take(other)
    assert [each.token for each in (await other.claims.look()).claims] == [claim.token]


async def test_a_killed_workers_claim_is_void_after_a_while(workers: Workers, short_presence: float) -> None:
    killed, other = workers.worker(), workers.worker()
    await take(killed)
    kill(killed.claims)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(short_presence / 2):
            await take(other)
    async with asyncio.timeout(20 * short_presence * SCALE):
        assert (await take(other)).mine


async def test_a_void_claim_goes_to_exactly_one(workers: Workers, short_presence: float) -> None:
    """All find out at about the same time, and each would remove it."""
    killed = workers.worker()
    await take(killed)
    kill(killed.claims)
    inside = most = 0

    async def work(worker: Coordination) -> None:
        nonlocal inside, most
        claim = await take(worker)
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.1)
        inside -= 1
        worker.claims.release(claim)

    async with asyncio.timeout(20 * short_presence * SCALE):
        await asyncio.gather(*(work(workers.worker()) for _ in range(8)))
    assert most == 1


async def test_who_finds_out_late_removes_nothing_of_who_has_it_now(workers: Workers) -> None:
    killed, quick, late = (workers.worker() for _ in range(3))
    claim = await take(killed)
    kill(killed.claims)
    for each in (quick, late):
        each.claims._census.condemn(claim.instance)
    taken = await take(quick)
    await late.claims.remove_if_void(claim)
    await late.settled()
    assert [each.token for each in (await late.claims.look()).claims] == [taken.token]


async def test_who_is_slow_to_remove_it_removes_nothing_of_who_has_it_now(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed, quick, slow = (workers.worker() for _ in range(3))
    claim = await take(killed)
    kill(killed.claims)
    for each in (quick, slow):
        each.claims._census.condemn(claim.instance)
    real = volumes.labels_of
    taking: asyncio.Task[Claim] | None = None

    async def labels_of(engine: Engine, name: str) -> dict[str, str] | None:
        nonlocal taking
        found = await real(engine, name)
        if taking is None:
            taking = asyncio.create_task(take(quick))
            await asyncio.wait([taking], timeout=1)
        return found

    monkeypatch.setattr(volumes, "labels_of", labels_of)
    await slow.claims.remove_if_void(claim)
    assert taking is not None
    taken = await taking
    await slow.settled()
    assert [each.token for each in (await slow.claims.look()).claims] == [taken.token]


async def test_who_was_about_to_remove_it_and_died_is_no_obstacle(
    workers: Workers, short_presence: float
) -> None:
    killed, breaker, other = (workers.worker() for _ in range(3))
    claim = await take(killed)
    claims = breaker.claims
    await claims.try_take(claims.names.void(claim.token), Kind.VOID)
    kill(killed.claims)
    kill(breaker.claims)
    async with asyncio.timeout(20 * short_presence * SCALE):
        assert (await take(other)).mine


async def test_a_worker_that_starts_again_takes_its_claims_back_at_once(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Under another id it would have to wait as long.
    monkeypatch.setattr(liveness, "PRESENCE_SECONDS", 600.0)
    killed = workers.worker("worker-1")
    await take(killed)
    kill(killed.claims)
    async with asyncio.timeout(60 * SCALE):
        assert (await take(workers.worker("worker-1"))).mine


async def test_all_that_dead_workers_leave_is_swept(workers: Workers, short_presence: float) -> None:
    killed, other = workers.worker(), workers.worker()
    claim = await take(killed)
    await killed.leadership.held()
    async with killed.stop_requests.asking() as asking:
        await asking.end(Claim(claim.name, Kind.START, "long-gone", ""))
        kill(killed.claims)
        asking.tokens.clear()  # killed before it could withdraw
    await until(other.leadership.held, 60)

    async def only_the_others() -> bool:
        return len(await workers.volumes()) == 2

    await until(only_the_others, 60)
    await other.close()
    assert await workers.volumes() == []


@pytest.mark.parametrize("ticks", range(0, 12, 2))
async def test_a_worker_that_gives_up_waiting_leaves_nothing(workers: Workers, ticks: int) -> None:
    worker = workers.worker()
    await worker.leadership.held()
    task = asyncio.create_task(take(worker))
    for _ in range(ticks):
        await asyncio.sleep(0)
    if task.cancel():
        with pytest.raises(asyncio.CancelledError):
            await task
    else:  # the Engine was quicker
        worker.claims.release(await task)
    await worker.settled()
    assert not [name for name in await workers.volumes() if "-bot-" in name]
    assert (await take(worker)).mine


async def test_a_claim_that_cannot_be_given_back_is_given_back_later(
    workers: Workers, short_presence: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = workers.worker()
    claim = await take(worker)
    real = volumes.remove
    away = True

    async def remove(engine: Engine, name: str) -> None:
        if away:
            raise Unavailable(Code.ENGINE_UNAVAILABLE, "away")
        await real(engine, name)

    monkeypatch.setattr(volumes, "remove", remove)
    worker.claims.release(claim)
    await worker.settled()
    assert claim.name in await workers.volumes()
    away = False

    async def gone() -> bool:
        return claim.name not in await workers.volumes()

    await until(gone, 60)


async def test_a_worker_takes_its_own_claim_again_that_could_not_be_given_back(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Too long for the background to be of help.
    monkeypatch.setattr(liveness, "PRESENCE_SECONDS", 600.0)
    worker = workers.worker()
    claim = await take(worker)

    async def remove(engine: Engine, name: str) -> None:
        raise Unavailable(Code.ENGINE_UNAVAILABLE, "away")

    with monkeypatch.context() as patch:
        patch.setattr(volumes, "remove", remove)
        worker.claims.release(claim)
        await worker.settled()
    async with asyncio.timeout(60 * SCALE):
        again = await take(worker)
    assert again.mine
    assert again.token != claim.token


async def test_a_worker_that_stood_still_hears_of_its_loss_and_takes_nothing_from_others(
    workers: Workers, short_presence: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper, other = workers.worker(), workers.worker()
    claim = await take(sleeper)
    renew = sleeper.claims._presence.renew

    async def stands_still() -> None:
        raise Unavailable(Code.ENGINE_UNAVAILABLE, "asleep")

    monkeypatch.setattr(sleeper.claims._presence, "renew", stands_still)
    taken = await take(other)
    # It may end its work before it finds out: that must not touch what is another's now.
    sleeper.claims.release(claim)
    await sleeper.settled()
    assert [each.token for each in (await other.claims.look()).claims] == [taken.token]

    lost = asyncio.Event()
    mine = await sleeper.claims.try_take(sleeper.claims.names.quota("alice"), Kind.QUOTA, on_loss=lost.set)
    assert mine.mine
    monkeypatch.setattr(sleeper.claims._presence, "renew", renew)
    await volumes.remove(workers.engine, mine.name)
    async with asyncio.timeout(60 * SCALE):
        await lost.wait()


async def test_a_volume_of_somebody_elses_is_not_touched(workers: Workers) -> None:
    worker = workers.worker()
    name = worker.claims.names.bot(BOT)
    await volumes.create(workers.engine, name, {"owner": "somebody"})
    try:
        with pytest.raises(Unavailable, match="has a name that the worker needs"):
            await take(worker)
        assert await volumes.labels_of(workers.engine, name) == {"owner": "somebody"}
    finally:
        await volumes.remove(workers.engine, name)
