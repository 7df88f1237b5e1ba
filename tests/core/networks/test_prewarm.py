"""Prewarmed networks on the real Engine: starts find them ready, and none is ever left over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.conftest import MakeRunner, RunnerUnderTest
from tests.core.examples import BOT, inspect
from tests.core.images.building import FROM, Builder

from bot_runner_worker.engine import Engine, EngineError, containers, networks
from bot_runner_worker.model.errors import Unavailable
from bot_runner_worker.model.identity import INSTANCE, NAMESPACE, ROLE
from bot_runner_worker.networks import prewarm
from bot_runner_worker.networks.prewarm import PrewarmedNetworks
from bot_runner_worker.runner import Runner
from bot_runner_worker.testing.waiting import stays, until

COUNT = 2


@pytest.fixture(autouse=True)
def made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing to wait for between a start and the next network."""
    monkeypatch.setattr(prewarm, "QUIET_SECONDS", 0.0)


async def ready(runner: RunnerUnderTest) -> list[str]:
    """Names of the prewarmed networks that have no container."""
    mine = {NAMESPACE: runner.settings.runner_namespace, ROLE: "network"}
    used = await runner.runner.runtime._cleanup._used_networks()
    found = await networks.list_by_labels(runner.engine, mine)
    return [each["Name"] for each in found if INSTANCE in each["Labels"] and each["Name"] not in used]


async def until_ready(runner: RunnerUnderTest, count: int) -> list[str]:
    found: list[str] = []

    async def right() -> bool:
        nonlocal found
        found = await ready(runner)
        return len(found) == count

    await until(right, 30, lambda: f"{count} networks lie ready: {found}")
    return found


async def network_of(runner: RunnerUnderTest, bot_id: str = "bot") -> str:
    container = await inspect(runner, bot_id=bot_id)
    (name,) = container["NetworkSettings"]["Networks"]
    assert name == container["HostConfig"]["NetworkMode"]
    return str(name)


@pytest.fixture
async def runner(make_runner: MakeRunner) -> AsyncIterator[RunnerUnderTest]:
    """A runner with networks that lie ready."""
    made = await make_runner(networks_ahead=COUNT)
    making = asyncio.create_task(made.runner.networks_ahead.run())
    await until_ready(made, COUNT)
    yield made
    making.cancel()
    await asyncio.wait([making])


@pytest.mark.engine
async def test_a_start_takes_one_and_another_is_made(runner: RunnerUnderTest) -> None:
    before = await ready(runner)
    await runner.start()
    taken = await network_of(runner)
    assert taken in before
    assert taken not in await until_ready(runner, COUNT)


@pytest.mark.engine
async def test_a_build_takes_one_and_gives_none_back(runner: RunnerUnderTest) -> None:
    before = await ready(runner)
    async with building(runner) as taken:
        assert taken in before
        # No container says yet that it is taken.
        assert taken in await until_ready(runner, COUNT + 1)
    assert await networks.inspect(runner.engine, taken) is None
    assert len(await runner.leftovers("networks")) == COUNT


@pytest.mark.slow
async def test_one_that_was_pruned_is_not_what_a_build_gets(runner: RunnerUnderTest) -> None:
    for name in await ready(runner):
        await networks.remove(runner.engine, name)
    async with building(runner) as taken:
        assert await networks.inspect(runner.engine, taken) is not None


@pytest.mark.slow
@pytest.mark.parametrize("how", ["fails", "is cancelled", "is cancelled while its network is made"])
async def test_whatever_a_build_comes_to_its_network_goes(make_runner: MakeRunner, how: str) -> None:
    runner = await make_runner(networks_ahead=0)
    builder = Builder(runner)
    if how == "fails":
        await builder.failure(FROM + "RUN false\n")
        return
    begun = asyncio.create_task(builder.build(FROM + "RUN sleep 1000\n"))
    if how == "is cancelled":
        await until(builder.containers)
    else:
        await until(lambda: runner.leftovers("networks"))
    begun.cancel()
    await asyncio.wait([begun])
    assert await builder.containers() == []
    assert await runner.leftovers("networks") == []


@pytest.mark.slow
async def test_a_build_that_finds_no_free_network_says_so_and_leaves_nothing(make_runner: MakeRunner) -> None:
    runner = await make_runner(network_pool="10.230.9.0/29")
    builder = Builder(runner)
    await runner.start()
    with pytest.raises(Unavailable) as caught:
        await builder.build(FROM + "RUN true\n")
    assert caught.value.code == "NETWORK_POOL_EMPTY"
    assert len(await runner.leftovers("networks")) == 1  # the bot's
    (record,) = await runner.runner.runtime.list_bots()
    await runner.runner.runtime.remove(record)
    assert (await builder.build(FROM + "RUN true\n")).id


@pytest.mark.slow
async def test_builds_take_no_more_networks_than_there_may_be_builds(make_runner: MakeRunner) -> None:
    runner = await make_runner(max_concurrent_builds=2)
    builder = Builder(runner)
    most = 0

    async def look() -> None:
        nonlocal most
        while True:
            found = await containers.list_by_labels(
                runner.engine, {NAMESPACE: runner.settings.runner_namespace}
            )
            most = max(most, len({row["HostConfig"]["NetworkMode"] for row in found}))
            await asyncio.sleep(0.05)

    looking = asyncio.create_task(look())
    steps = [FROM + f"RUN sleep 1 # {number}\n" for number in range(4)]
    await asyncio.gather(*(builder.build(each, tenant=each[-2]) for each in steps))
    looking.cancel()
    assert most == 2
    assert await runner.leftovers("networks") == []


@pytest.mark.slow
async def test_no_two_bots_share_one(runner: RunnerUnderTest) -> None:
    names = [f"bot-{number}" for number in range(3)]
    await asyncio.gather(*(runner.start(bot_id=name) for name in names))
    assert len({await network_of(runner, name) for name in names}) == len(names)


@pytest.mark.slow
async def test_a_replacement_and_a_new_start_stay_in_the_bots_network(runner: RunnerUnderTest) -> None:
    await runner.start()
    taken = await network_of(runner)
    await runner.start(code="import time; time.sleep(99)", deployment_mode="simple", replace=True)
    assert await network_of(runner) == taken
    await runner.task("stop_bot", **BOT)
    await runner.start()
    assert await network_of(runner) == taken


@pytest.mark.slow
async def test_it_goes_with_its_bot(runner: RunnerUnderTest) -> None:
    await runner.start()
    taken = await network_of(runner)
    (record,) = await runner.runner.runtime.list_bots()
    await runner.runner.runtime.remove(record)
    assert await networks.inspect(runner.engine, taken) is None


@pytest.mark.slow
async def test_a_start_that_fails_leaves_none_behind(
    runner: RunnerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(containers, "start", _refuse)
        assert (await runner.start()).ending == "rejected"
    await until_ready(runner, COUNT)
    assert len(await runner.leftovers("networks")) == COUNT


@pytest.mark.slow
async def test_one_that_was_removed_behind_our_back_is_made_anew(runner: RunnerUnderTest) -> None:
    for name in await ready(runner):
        await networks.remove(runner.engine, name)
    assert (await runner.start()).data["status"] == "started"
    assert await networks.inspect(runner.engine, await network_of(runner)) is not None


@pytest.mark.slow
async def test_the_sweep_leaves_what_lies_ready(runner: RunnerUnderTest) -> None:
    await runner.start()
    await until_ready(runner, COUNT)
    assert await runner.runner.runtime.sweep(_nobody) == (0, set())
    assert len(await ready(runner)) == COUNT


@pytest.mark.slow
async def test_the_sweep_takes_what_a_former_worker_had_ready(
    runner: RunnerUnderTest, make_runner: MakeRunner
) -> None:
    await runner.start()
    await until_ready(runner, COUNT)
    next_one = await make_runner(runner_namespace=runner.settings.runner_namespace, worker_id="next")
    assert await next_one.runner.runtime.sweep(_nobody) == (COUNT, set())
    assert await ready(runner) == []
    assert await networks.inspect(runner.engine, await network_of(runner)) is not None


@pytest.mark.slow
async def test_the_sweep_takes_the_network_of_a_build_whose_worker_was_killed(
    make_runner: MakeRunner,
) -> None:
    runner = await make_runner(networks_ahead=0)
    async with building(runner) as taken:
        assert await runner.runner.runtime.sweep(_nobody) == (0, set())
        assert await networks.inspect(runner.engine, taken) is not None
        next_one = await make_runner(runner_namespace=runner.settings.runner_namespace, worker_id="next")
        assert await next_one.runner.runtime.sweep(_nobody) == (1, set())
        assert await networks.inspect(runner.engine, taken) is None


@pytest.mark.engine
async def test_the_sweep_takes_the_network_that_all_builds_of_former_versions_shared(
    make_runner: MakeRunner,
) -> None:
    runner = await make_runner()
    labels = {NAMESPACE: runner.settings.runner_namespace, ROLE: "network"}
    name = f"{runner.settings.docker_network}-build"
    await networks.create_bridge(runner.engine, name, labels=labels, options={}, subnet="10.230.9.64/26")
    assert await runner.runner.runtime.sweep(_nobody) == (1, set())
    assert await networks.inspect(runner.engine, name) is None


@pytest.mark.slow
async def test_a_worker_that_ends_leaves_none(make_runner: MakeRunner) -> None:
    made = await make_runner()
    async with Runner(made.settings.model_copy(update={"worker_id": "ends", "networks_ahead": 1})) as ending:
        making = asyncio.create_task(ending.networks_ahead.run())
        await until_ready(made, 1)
        making.cancel()
        await asyncio.wait([making])
    assert await ready(made) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pool", "mode", "count"),
    [("10.230.8.0/24", "own", 4), ("10.230.8.0/28", "own", 0), ("10.230.8.0/24", "shared", 0)],
)
async def test_they_leave_most_of_the_pool_to_the_bots(
    make_runner: MakeRunner, pool: str, mode: str, count: int
) -> None:
    runner = await make_runner(network_pool=pool, network_mode=mode, networks_ahead=100)
    prewarmed = PrewarmedNetworks(runner.engine, runner.settings)
    making = asyncio.create_task(prewarmed.run())
    await until_ready(runner, count)

    async def no_more() -> bool:
        return len(await ready(runner)) == count

    await stays(no_more, 0.3)
    making.cancel()
    await asyncio.wait([making])
    await prewarmed.close()


@asynccontextmanager
async def building(runner: RunnerUnderTest) -> AsyncIterator[str]:
    """A build goes on meanwhile; yields the name of its network, which is gone afterwards."""
    async with runner.runner.networks_ahead.taken() as name:
        yield name
    await runner.runner.networks_ahead.wait_closed()


async def _refuse(engine: Engine, container: str) -> None:
    raise EngineError(400, "OCI runtime create failed")


def _nobody() -> bool:
    return False
