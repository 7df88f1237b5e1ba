"""Images of packages: installed once for all tenants, none of whom can change what another one gets."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.conftest import MakeRunner, RunnerUnderTest
from tests.core.images.building import FROM, Builder
from tests.package_index import PackageIndex, package_index

from bot_runner_worker.engine import Engine, EngineError, containers, volumes
from bot_runner_worker.engine import images as engine_images
from bot_runner_worker.images.packages import commands
from bot_runner_worker.images.packages import volumes as package_volumes
from bot_runner_worker.images.packages.container import InstallContainers
from bot_runner_worker.model.identity import CACHE_ROLE, NAMESPACE, ROLE
from bot_runner_worker.model.image import Image
from bot_runner_worker.testing.waiting import until

TAMPER = f"""
import os
for root in ("{commands.CACHE_FOLDER}", "{commands.UV_FOLDER}"):
    for folder, _, names in os.walk(root):
        for name in {{"victim.py", "uv"}} & set(names):
            try:
                with open(os.path.join(folder, name), "a") as file:
                    file.write("\\nWORD = 'tampered'\\n")
            except OSError:
                pass
"""
"""What a tenant's source distribution may try: to change whatever other tenants' installations read."""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PackageIndex]:
    """An index with uv and a few packages."""
    folder: Path = tmp_path_factory.mktemp("index")
    with package_index(folder) as made:
        made.add_uv()
        made.add_wheel("victim", {"victim.py": "WORD = 'as published'\n"})
        made.add_wheel("other", {"other.py": "WORD = 1\n"})
        made.add_wheel("growing", {"growing.py": "WORD = 'old'\n"})
        made.add_wheel("path_file", {"path_file.pth": "import os; open('/ran-at-start', 'w')\n"})
        made.add_source("evil", TAMPER)
        made.add_source("endless", "while True: print('x' * 1000)")
        made.add_source("broken", "raise SystemExit('the compiler said no')")
        # Made in no time; the Engine would fill them when it makes an image of the packages.
        made.add_source("holes", "for n in range(6): open(f'/x{n}', 'wb').truncate(1_000_000_000)")
        yield made


@pytest.fixture
async def runner(make_runner: MakeRunner, index: PackageIndex) -> RunnerUnderTest:
    """A runner that uses this index."""
    return await make_runner(package_index_url=index.url, ca_bundle=index.ca)


async def start(runner: RunnerUnderTest, *requirements: str, user_id: str = "alice", code: str = "") -> Any:
    """Start a bot that prints something, and return the outcome."""
    code = (code or "print('up', flush=True)") + "\nimport time\ntime.sleep(999)"
    return await runner.start(
        user_id, deployment_mode="simple", code=code, requirements=list(requirements), replace=True
    )


def downloads(index: PackageIndex) -> int:
    """How often the wheel of the package ``victim`` was asked for."""
    return sum(path.endswith("/victim-1.0-py3-none-any.whl") for path in index.requests)


async def said(runner: RunnerUnderTest, user_id: str) -> str:
    """What the bot prints first."""

    async def logs() -> str:
        return str((await runner.task("get_logs", user_id=user_id, bot_id="bot")).data["logs"]).strip()

    return str(await until(logs, what="the bot's first words"))


async def image_of(runner: RunnerUnderTest, user_id: str = "alice") -> Image:
    """The image of a tenant's bot."""
    data = (await runner.task("check_status", user_id=user_id, bot_id="bot")).data
    container = await containers.inspect(runner.engine, data["container_id"])
    assert container is not None
    image = await engine_images.inspect(runner.engine, container["Image"])
    assert image is not None
    return image


async def has(runner: RunnerUnderTest, image: Image, path: str) -> bool:
    """Whether an image has a file, without running anything of it."""
    probe = await containers.create(runner.engine, None, {"Image": image.id, "Cmd": ["true"]})
    try:
        async with runner.engine.request("GET", f"containers/{probe}/archive", params={"path": path}):
            return True
    except EngineError as error:
        if error.not_found:
            return False
        raise
    finally:
        await containers.remove(runner.engine, probe)


@pytest.mark.engine
async def test_packages_are_installed_once_for_all_who_ask_for_the_same(
    runner: RunnerUnderTest, index: PackageIndex
) -> None:
    await start(runner, "other")  # so that uv is there
    before = downloads(index)
    word = "import victim; print(victim.WORD, flush=True)"
    tenants = [f"user-{number}" for number in range(4)]
    outcomes = await asyncio.gather(
        *(start(runner, "victim", "other", user_id=each, code=word) for each in tenants)
    )
    assert {each.data["status"] for each in outcomes} == {"started"}, [each.data for each in outcomes]
    assert len({(await image_of(runner, each)).content for each in tenants}) == 1
    assert {await said(runner, each) for each in tenants} == {"as published"}
    # Once for its metadata, where the index cannot send a part of a file, and once to install it.
    assert downloads(index) - before <= 2
    # Another set of packages is another image, made of the same cached wheels.
    asked = list(index.requests)
    later = await start(runner, "victim", user_id="later")
    assert later.data["status"] == "started", later.data
    # Nor is the index asked again for what it has: it says nothing of how long that is good.
    assert index.requests == asked


@pytest.mark.engine
async def test_each_installation_is_alone_on_its_network(
    runner: RunnerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can stand between it and the index, from where it fills the cache that all tenants share."""
    mine = {NAMESPACE: runner.settings.runner_namespace}
    found: list[str] = []
    begin = containers.start

    async def look(engine: Engine, container: str) -> None:
        rows = await containers.list_by_labels(engine, mine)
        networks = {row["Names"][0].removeprefix("/"): row["HostConfig"]["NetworkMode"] for row in rows}
        if "-work-" in container and networks[container] != "none":
            assert list(networks.values()).count(networks[container]) == 1, networks
            found.append(networks[container])
        await begin(engine, container)

    monkeypatch.setattr(containers, "start", look)
    wanted = [["victim"], ["other"], ["victim", "other"]]
    await asyncio.gather(*(start(runner, *each, user_id=each[-1] + each[0]) for each in wanted))
    await runner.runner.images.packages.wait_closed()
    assert len(set(found)) == len(found) == len(wanted) + 2  # the CA bundle, and uv itself
    left = await runner.leftovers("networks")
    assert not any(name in each for each in left for name in found), left


@pytest.fixture
def plain_index(tmp_path: Path) -> Iterator[PackageIndex]:
    """An index without TLS."""
    with package_index(tmp_path, tls=False) as made:
        made.add_uv()
        made.add_wheel("victim", {"victim.py": "WORD = 'as published'\n"})
        yield made


@pytest.mark.engine
async def test_over_plain_http_nothing_is_kept_for_others(
    make_runner: MakeRunner, plain_index: PackageIndex
) -> None:
    url = plain_index.url
    # Or pip would take nothing from there.
    trusting = f"{FROM}ENV PIP_TRUSTED_HOST={urlsplit(url).hostname}\n"
    base = await Builder(await make_runner()).build(trusting)
    runner = await make_runner(base_image=base.id, package_index_url=url)
    await runner.runner.images.prepare()
    started = await start(runner, "victim", code="import victim; print(victim.WORD, flush=True)")
    assert started.data["status"] == "started", started.data
    assert await said(runner, "alice") == "as published"
    mine = {NAMESPACE: runner.settings.runner_namespace, ROLE: CACHE_ROLE}
    assert await volumes.list_by_labels(runner.engine, mine) == {}
    assert not any("/uv" in path for path in plain_index.requests)


@pytest.mark.parametrize(
    ("variables", "plain"),
    [
        ({}, False),
        ({"UV_DEFAULT_INDEX": "https://index/simple", "HTTP_PROXY": "http://proxy"}, False),
        ({"UV_DEFAULT_INDEX": "http://index/simple"}, True),
        ({"PIP_INDEX_URL": "HTTP://index/simple"}, True),
        ({"UV_INDEX": "https://one/simple own=http://two/simple"}, True),
        ({"UV_FIND_LINKS": "http://files/"}, True),
    ],
)
def test_what_is_over_plain_http(variables: dict[str, str], plain: bool) -> None:
    assert package_volumes.over_plain_http(variables) == plain


@pytest.mark.slow
async def test_what_has_just_been_published_is_found(runner: RunnerUnderTest, index: PackageIndex) -> None:
    await start(runner, "growing")
    index.add_wheel("growing", {"growing.py": "WORD = 'new'\n"}, version="2.0")
    word = "import growing; print(growing.WORD, flush=True)"
    outcome = await start(runner, "growing==2.0", code=word)
    assert outcome.error is None, outcome.error
    assert await said(runner, "alice") == "new"


@pytest.mark.slow
async def test_bytecode_follows_and_makes_no_other_bot_of_it(runner: RunnerUnderTest) -> None:
    first = await start(runner, "victim")
    plain = await image_of(runner)
    await runner.runner.images.packages.wait_closed()
    again = await start(runner, "victim")
    assert (again.data["status"], again.data["container_id"]) == (
        "already_running",
        first.data["container_id"],
    )
    await start(runner, "victim", user_id="bob", code="import victim; print(victim.__cached__, flush=True)")
    compiled = await image_of(runner, "bob")
    assert compiled.id != plain.id
    cached = await said(runner, "bob")
    assert cached.endswith(".pyc")
    assert await has(runner, compiled, cached)
    assert not await has(runner, plain, cached)


@pytest.mark.engine
async def test_a_source_distribution_changes_nothing_for_others(runner: RunnerUnderTest) -> None:
    word = "import victim; print(victim.WORD, flush=True)"
    await start(runner, "victim", user_id="before", code=word)
    evil = await start(runner, "evil", user_id="mallory")
    assert evil.data["status"] == "started", evil.data
    await start(runner, "victim", "other", user_id="after", code=word)
    assert await said(runner, "before") == await said(runner, "after") == "as published"


@pytest.mark.slow
async def test_it_would_change_the_cache_if_it_had_it(
    runner: RunnerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above can fail."""
    word = "import victim; print(victim.WORD, flush=True)"
    await start(runner, "victim", user_id="before", code=word)
    careless = tuple(each for each in commands.WHEELS_ONLY if each not in ("--only-binary", ":all:"))
    with monkeypatch.context() as patched:
        patched.setattr(commands, "WHEELS_ONLY", careless)
        await start(runner, "evil", user_id="mallory")
    after = await start(runner, "victim", "other", user_id="after", code=word)
    assert after.ending != "success" or await said(runner, "after") == "tampered"


@pytest.mark.slow
async def test_nothing_of_a_package_runs_while_it_is_installed(runner: RunnerUnderTest) -> None:
    # The bot itself must not start Python's site either, or it would leave the mark.
    assert (await start(runner, "path-file")).data["status"] == "started"
    await runner.runner.images.packages.wait_closed()
    bob = await start(runner, "path-file", user_id="bob")
    assert bob.data["status"] == "started"
    for tenant in ("alice", "bob"):
        assert not await has(runner, await image_of(runner, tenant), "/ran-at-start")


@pytest.mark.parametrize(
    ("requirement", "code", "words"),
    [
        pytest.param("no-such-package", "BUILD_FAILED", "no-such-package", marks=pytest.mark.slow),
        pytest.param("victim>=2", "BUILD_FAILED", "victim", marks=pytest.mark.slow),
        pytest.param("broken", "BUILD_FAILED", "the compiler said no", marks=pytest.mark.engine),
        pytest.param("endless", "BUILD_FAILED", "out of memory", marks=pytest.mark.slow),
        pytest.param("holes", "BUILD_LIMIT_EXCEEDED", "MAX_IMAGE_SIZE", marks=pytest.mark.slow),
    ],
)
async def test_what_cannot_be_installed_says_why_and_leaves_nothing(
    make_runner: MakeRunner, index: PackageIndex, requirement: str, code: str, words: str
) -> None:
    runner = await make_runner(package_index_url=index.url, ca_bundle=index.ca, build_memory_limit="128m")
    refused = await start(runner, requirement)
    error = refused.data["error"]
    assert (refused.ending, error["code"]) == ("rejected", code), error
    assert words in str(error)
    assert error["hint"]
    await runner.runner.images.packages.wait_closed()
    assert await runner.leftovers("containers/json", "networks") == []
    tags = [each for each in await runner.leftovers("images/json") if "packages" in each]
    assert tags == []


@pytest.mark.slow
async def test_a_start_that_is_cancelled_leaves_no_container(
    runner: RunnerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    await start(runner, "other")
    # Or its bytecode would be compiled by what is patched.
    await runner.runner.images.packages.wait_closed()
    for step in ("_run", "_watch"):
        begun = asyncio.Event()

        async def hang(self: InstallContainers, *args: Any, begun: asyncio.Event = begun) -> Any:
            begun.set()
            await asyncio.sleep(3600)

        with monkeypatch.context() as patched:
            patched.setattr(InstallContainers, step, hang)
            starting = asyncio.create_task(start(runner, "victim", user_id="bob"))

            def is_at_the_step(starting: Any = starting, begun: asyncio.Event = begun) -> bool:
                assert not starting.done(), starting.result()
                return begun.is_set()

            await until(is_at_the_step, 120, step)
            starting.cancel()
            await asyncio.wait([starting])
    await runner.runner.images.packages.wait_closed()
    assert len(await runner.containers()) == 1  # the first bot's


@pytest.mark.slow
async def test_a_volume_that_was_removed_is_made_again(runner: RunnerUnderTest) -> None:
    await start(runner, "other")
    await runner.runner.images.packages.wait_closed()
    mine = {"io.avtomatika.bot-runner.role": "cache"}
    mine["io.avtomatika.bot-runner.namespace"] = runner.settings.runner_namespace
    for name in await volumes.list_by_labels(runner.engine, mine):
        await volumes.remove(runner.engine, name)
    assert (await start(runner, "victim", user_id="bob")).data["status"] == "started"


@pytest.mark.slow
async def test_without_uv_pip_does_it(
    make_runner: MakeRunner, index: PackageIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "UV_VERSION", "0.0.0.dev0")
    runner = await make_runner(package_index_url=index.url, ca_bundle=index.ca)
    await start(runner, "victim", code="import victim; print(victim.WORD, flush=True)")
    assert await said(runner, "alice") == "as published"


@pytest.mark.slow
async def test_where_uv_cannot_reach_the_index_pip_does_it(
    make_runner: MakeRunner, index: PackageIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the stricter one about certificates."""
    runner = await make_runner(package_index_url=index.url, ca_bundle=index.ca)
    nowhere = ("--default-index", "https://127.0.0.1:9/simple")
    monkeypatch.setattr(commands, "WHEELS_ONLY", (*commands.WHEELS_ONLY, *nowhere))
    await start(runner, "victim", code="import victim; print(victim.WORD, flush=True)")
    assert await said(runner, "alice") == "as published"


@pytest.mark.slow
async def test_a_cache_that_has_grown_too_large_is_emptied(
    make_runner: MakeRunner, index: PackageIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package_volumes, "MEASURED_EVERY", 1)
    runner = await make_runner(package_index_url=index.url, ca_bundle=index.ca, package_cache_size="1k")
    await start(runner, "victim")
    await runner.runner.images.packages.wait_closed()
    asked = downloads(index)
    await start(runner, "victim", "other", user_id="bob")
    assert downloads(index) > asked


@pytest.mark.slow
async def test_what_is_made_when_no_start_waits_is_not_swept_away(
    make_runner: MakeRunner, index: PackageIndex, caplog: pytest.LogCaptureFixture
) -> None:
    runner = await make_runner(package_index_url=index.url, ca_bundle=index.ca)
    images = runner.runner.images

    async def work() -> None:
        await images.prepare()
        await start(runner, "victim")
        await images.packages.wait_closed()

    working = asyncio.create_task(work())
    with caplog.at_level(logging.WARNING):
        while not working.done():
            await runner.runner.runtime.sweep(runner.runner.admission.at_work)
        await working
    assert caplog.records == []
