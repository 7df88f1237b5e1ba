"""One worker of a namespace is active at any time: on volumes in memory, and on the real Engine."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from itertools import pairwise
from uuid import uuid4

import pytest
from tests.conftest import ENGINE

from bot_runner_worker import lease as module
from bot_runner_worker.engine import Engine, EngineError, volumes
from bot_runner_worker.lease import Lease, LeaseError
from bot_runner_worker.model.errors import Code, Unavailable
from bot_runner_worker.model.identity import CACHE_ROLE, NAMESPACE, ROLE
from bot_runner_worker.settings import Settings
from bot_runner_worker.testing.waiting import SCALE, stays, until

TIMES = {"LOOK": 0.01, "FREE": 0.02, "RENEW": 0.05, "VALID": 0.15, "EXPIRED": 0.3, "SETTLE": 0.03}
"""The lease's times, so short that a test can wait for them."""


class MemoryVolumes:
    """Stands for the Engine's volumes, and can be away or full."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, str]] = {}
        self.away = False
        self.full = False

    async def create(self, _engine: Engine, name: str, labels: Mapping[str, str]) -> dict[str, str]:
        """Create a volume, unless the name is taken."""
        await self._call()
        if self.full:
            raise EngineError(500, "no space left on device")
        return self.found.setdefault(name, dict(labels))

    async def list_by_labels(
        self, _engine: Engine, labels: Mapping[str, str]
    ) -> Mapping[str, Mapping[str, str]]:
        """Names and labels of all volumes that carry these labels."""
        await self._call()
        return {name: carried for name, carried in self.found.items() if labels.items() <= carried.items()}

    async def remove(self, _engine: Engine, name: str) -> None:
        """Remove a volume."""
        await self._call()
        self.found.pop(name, None)

    async def _call(self) -> None:
        await asyncio.sleep(random.uniform(0, 0.001))
        if self.away:
            raise Unavailable(Code.ENGINE_UNAVAILABLE, "away")


def short_times(monkeypatch: pytest.MonkeyPatch, factor: float = SCALE) -> None:
    """Shorten the lease's times, and let no process be seen to have ended, as between containers."""
    for name, seconds in TIMES.items():
        monkeypatch.setattr(module, name, seconds * factor)
    monkeypatch.setattr(module, "_has_ended", lambda _labels: None)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> MemoryVolumes:
    """An Engine's volumes in memory, for leases with short times."""
    short_times(monkeypatch)
    made = MemoryVolumes()
    monkeypatch.setattr(module, "volumes", made)
    return made


MakeLease = Callable[[], Lease]


@pytest.fixture
async def make_lease() -> AsyncIterator[MakeLease]:
    """Make leases of one namespace, one for each worker; all are released at the end."""
    namespace = f"test-{uuid4().hex[:12]}"
    made: list[Lease] = []

    def make() -> Lease:
        worker_id = f"worker-{len(made) + 1}"
        settings = Settings.load(
            worker_token="x", docker_host=ENGINE, runner_namespace=namespace, worker_id=worker_id
        )
        made.append(Lease(settings))
        return made[-1]

    yield make
    for each in made:
        await each.release()


def stand_still(lease: Lease) -> None:
    """Let a holder send no more heartbeats, as one that is killed or suspended."""
    assert lease._keeping is not None
    lease._keeping.cancel()


async def standby(lease: Lease) -> "asyncio.Task[None]":
    """A worker that stands by."""
    waiting = asyncio.create_task(lease.acquire())
    await until(lambda: lease.holder, what="it has seen the holder")
    return waiting


async def test_of_two_that_start_at_once_one_is_active(memory: MemoryVolumes, make_lease: MakeLease) -> None:
    leases = [make_lease() for _ in range(4)]
    waiting = [asyncio.create_task(each.acquire()) for each in leases]
    await until(lambda: any(each.held for each in leases))
    await stays(lambda: sum(each.held for each in leases) == 1, 5 * TIMES["EXPIRED"])
    (active,) = [each for each in leases if each.held]
    assert {each.holder for each in leases} == {active.holder}
    for each in waiting:
        each.cancel()
    await active.permit()


async def test_a_released_lease_goes_to_the_standby_and_leaves_nothing(
    memory: MemoryVolumes, make_lease: MakeLease
) -> None:
    first, second = make_lease(), make_lease()
    await first.acquire()
    waiting = await standby(second)
    assert second.holder == "worker-1"
    await first.release()
    with pytest.raises(Unavailable):
        await first.permit()
    await asyncio.wait_for(waiting, TIMES["EXPIRED"] / 2 * SCALE)
    assert (first.held, second.held, second.holder) == (False, True, "worker-2")
    await second.release()
    assert memory.found == {}


async def test_a_standby_takes_over_from_one_that_stands_still_which_loses_it(
    memory: MemoryVolumes, make_lease: MakeLease
) -> None:
    first, second = make_lease(), make_lease()
    lost = asyncio.Event()
    first.on_loss = lost.set
    await first.acquire()
    waiting = await standby(second)
    await stays(lambda: not second.held, TIMES["EXPIRED"])
    stand_still(first)
    await asyncio.wait_for(waiting, 30 * SCALE)
    with pytest.raises(Unavailable) as refused:
        await first.permit()
    assert refused.value.code == Code.WORKER_STOPPING
    assert (first.lost, first.held, first.holder, lost.is_set()) == (True, False, "worker-2", True)
    await second.permit()


async def test_the_holder_of_a_lease_that_went_through_other_hands_has_lost_it(
    memory: MemoryVolumes, make_lease: MakeLease
) -> None:
    first, second = make_lease(), make_lease()
    await first.acquire()
    stand_still(first)
    await asyncio.wait_for(second.acquire(), 30 * SCALE)
    await second.release()
    with pytest.raises(Unavailable):
        await first.permit()
    assert first.lost


async def test_one_that_stood_still_goes_on_if_nobody_took_over(
    memory: MemoryVolumes, make_lease: MakeLease
) -> None:
    lease = make_lease()
    await lease.acquire()
    stand_still(lease)
    await asyncio.sleep(2 * TIMES["VALID"] * SCALE)
    await asyncio.gather(*(lease.permit() for _ in range(10)))
    assert lease.held


async def test_while_the_engine_is_away_nobody_works_and_nobody_takes_over(
    memory: MemoryVolumes, make_lease: MakeLease
) -> None:
    first, second = make_lease(), make_lease()
    await first.acquire()
    waiting = await standby(second)
    memory.away = True
    await asyncio.sleep(2 * TIMES["EXPIRED"] * SCALE)
    with pytest.raises(Unavailable) as refused:
        await first.permit()
    assert refused.value.code == Code.ENGINE_UNAVAILABLE
    memory.away = False
    await stays(lambda: first.held and not second.held, 2 * TIMES["EXPIRED"])
    await first.permit()
    waiting.cancel()


async def test_a_holder_whose_volumes_are_cleaned_up_makes_new_ones(
    memory: MemoryVolumes, make_lease: MakeLease
) -> None:
    first, second = make_lease(), make_lease()
    await first.acquire()
    waiting = await standby(second)
    for _ in range(5):
        memory.found.clear()
        await until(lambda: memory.found)
        await asyncio.sleep(TIMES["LOOK"])
    assert (first.held, second.held) == (True, False)
    waiting.cancel()


async def test_a_holder_works_on_while_the_disk_is_full_and_two_never_do(
    memory: MemoryVolumes, make_lease: MakeLease
) -> None:
    first, second = make_lease(), make_lease()
    await first.acquire()
    waiting = await standby(second)
    memory.full = True
    for _ in range(20):
        await asyncio.sleep(TIMES["EXPIRED"] / 10 * SCALE)
        await first.permit()
    memory.full = False
    stand_still(first)
    await asyncio.wait_for(waiting, 30 * SCALE)
    assert _sure([first, second]) == 1
    with pytest.raises(Unavailable):
        await first.permit()


async def test_who_does_not_wait_is_refused_by_the_living_and_takes_over_from_the_dead(
    memory: MemoryVolumes, make_lease: MakeLease
) -> None:
    first, second = make_lease(), make_lease()
    await first.acquire()
    with pytest.raises(LeaseError, match="worker-1 is active") as refused:
        await second.acquire(wait=False)
    assert "orchestrator" in refused.value.hint
    stand_still(first)
    await asyncio.wait_for(second.acquire(wait=False), 30 * SCALE)
    assert second.held


async def test_what_earlier_releases_kept_on_the_engine_is_removed(
    memory: MemoryVolumes, make_lease: MakeLease
) -> None:
    lease = make_lease()
    for role in ("claim", "presence", "stop-request", CACHE_ROLE):
        memory.found[role] = {NAMESPACE: lease.namespace, ROLE: role}
        memory.found[f"other-{role}"] = {NAMESPACE: "other", ROLE: role}
    await lease.acquire()
    kept = {name for name, labels in memory.found.items() if labels[ROLE] != module.LEASE_ROLE}
    assert kept == {CACHE_ROLE, "other-claim", "other-presence", "other-stop-request", f"other-{CACHE_ROLE}"}


async def test_whatever_stands_still_or_fails_two_are_never_sure(
    memory: MemoryVolumes, make_lease: MakeLease, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that end, are suspended in the middle of anything, and an Engine that is away now and then."""
    chance = random.Random(7)
    leases: list[Lease] = []
    suspended: set[Lease] = set()
    active: set[str] = set()

    async def a_worker() -> None:
        while True:
            lease = make_lease()
            leases.append(lease)
            waiting = asyncio.create_task(lease.acquire())
            await asyncio.wait([waiting])
            if chance.random() < 0.5:
                stand_still(lease)
                suspended.add(lease)
            for _ in range(chance.randrange(20)):
                await asyncio.sleep(0.02)
                try:
                    await lease.permit()
                except Unavailable:
                    continue
                active.add(lease._instance)
            await lease.release()

    async def an_engine() -> None:
        while True:
            await asyncio.sleep(chance.uniform(0.1, 0.5))
            memory.away = True
            await asyncio.sleep(chance.uniform(0, 0.15))
            memory.away = False

    tasks = [asyncio.create_task(each) for each in (a_worker(), a_worker(), a_worker(), an_engine())]
    await stays(lambda: _sure(leases) <= 1, 4)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    memory.away = False
    assert len(active) >= 5, "hardly anybody was active"


def _sure(leases: list[Lease]) -> int:
    """How many may change something on the Engine at this moment without asking first."""
    return sum(each._valid_until > module.now() for each in leases)


@pytest.mark.slow
async def test_50_hand_overs_for_which_both_try(
    make_lease: MakeLease, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A volume that only one can have made shows on the Engine that the other is not at work."""
    short_times(monkeypatch, 10 * SCALE)
    held: list[str] = []
    at_work: set[str] = set()

    async def a_worker(engine: Engine, name: str) -> None:
        while len(held) < 50:
            async with make_lease() as lease:
                await lease.acquire()
                marker = f"{lease.namespace}-marker"
                at_work.add(name)
                assert at_work == {name}
                made = await volumes.create(engine, marker, {NAMESPACE: lease.namespace, "by": name})
                assert made["by"] == name
                held.append(name)
                await lease.permit()
                await volumes.remove(engine, marker)
                at_work.remove(name)
            # So that it tries at about the moment at which the standby finds the lease free.
            await asyncio.sleep(module.FREE * random.uniform(1, 2))

    async with Engine(ENGINE) as engine, asyncio.TaskGroup() as group:
        for name in ("one", "two"):
            group.create_task(a_worker(engine, name))
    assert {"one", "two"} == set(held)
    changes = sum(a != b for a, b in pairwise(held))
    assert changes >= 10, "it hardly went from one to the other"


@pytest.mark.engine
async def test_a_lease_on_the_engine_leaves_no_volume(make_lease: MakeLease) -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(make_lease())
        await first.acquire()
        second = make_lease()
        with pytest.raises(LeaseError):
            await second.acquire(wait=False)
    async with Engine(ENGINE) as engine:
        assert await volumes.list_by_labels(engine, {NAMESPACE: first.namespace}) == {}
