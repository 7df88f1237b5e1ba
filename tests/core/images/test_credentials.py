"""The operator's passwords for proxies and package index: used to install, and shown to no tenant's code."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import BASE_IMAGE, MakeRunner, RunnerUnderTest
from tests.core.examples import inspect, logs_with
from tests.package_index import PackageIndex, package_index

from bot_runner_worker.images.packages import commands
from bot_runner_worker.model.addresses import without_credentials
from bot_runner_worker.settings import Settings
from bot_runner_worker.testing.memory_runner import MemoryRunner, memory_settings

PASSWORD = "sentinel-index-password"
PROXY = "http://operator:sentinel-proxy-password@proxy.example:3128"
SEEN = "import os, word; print(word.WORD, os.environ['PIP_INDEX_URL'], flush=True)\nwhile True: input()"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PackageIndex]:
    """An index with uv and a few packages, behind a password."""
    with package_index(tmp_path) as made:
        made.add_uv()
        made.add("word", {"word": "WORD = 'installed'\n"})
        made.add_source("nosy", "import os; raise SystemExit(str(dict(os.environ)))")
        made.credentials = f"operator:{PASSWORD}"
        yield made


async def with_index(make_runner: MakeRunner, index: PackageIndex, shared: str) -> RunnerUnderTest:
    """A runner that knows the index's password."""
    url = index.url.replace("://", f"://{index.credentials}@")
    return await make_runner(package_index_url=url, ca_bundle=index.ca, share_credentials=shared)


@pytest.mark.engine
async def test_wheels_are_installed_with_a_password_that_no_bot_sees(
    make_runner: MakeRunner, index: PackageIndex
) -> None:
    runner = await with_index(make_runner, index, "off")
    code = SEEN.replace("input()", "__import__('time').sleep(9)")
    started = await runner.start(deployment_mode="simple", code=code, requirements=["word"])
    assert started.error is None, started.data
    assert f"installed {index.url}" in (await logs_with(runner, "installed"))["logs"]
    container = await inspect(runner)
    image = await runner.engine.json("GET", f"images/{container['Image']}/json")
    for seen_by_a_bot in (container["Config"], image["Config"]):
        assert PASSWORD not in str(seen_by_a_bot)


@pytest.mark.slow
async def test_code_that_builds_a_package_does_not_see_it_either(
    make_runner: MakeRunner, index: PackageIndex
) -> None:
    runner = await with_index(make_runner, index, "off")
    refused = await runner.start(deployment_mode="simple", code="pass", requirements=["nosy"])
    assert refused.error is not None
    assert refused.error["code"] == "BUILD_FAILED"
    assert PASSWORD not in str(refused.data)


@pytest.mark.slow
async def test_an_operator_may_share_it_and_no_answer_shows_it(
    make_runner: MakeRunner, index: PackageIndex
) -> None:
    runner = await with_index(make_runner, index, "on")
    refused = await runner.start(deployment_mode="simple", code="pass", requirements=["nosy"])
    assert refused.error is not None
    assert f"@{index.url.partition('//')[2]}" in str(refused.error["details"]["log"])
    assert PASSWORD not in str(refused.data)


@pytest.mark.parametrize(("shared", "seen"), [("off", False), ("on", True)])
async def test_bots_see_a_proxys_password_only_if_it_is_shared(shared: str, seen: bool) -> None:
    settings = memory_settings(
        base_image=BASE_IMAGE, http_proxy=PROXY, https_proxy=PROXY, share_credentials=shared
    )
    runner = MemoryRunner(settings)
    started = await runner.start(deployment_mode="simple", code="pass")
    assert started.error is None
    [config] = runner.runtime.configs.values()
    assert ("sentinel-proxy-password" in str(config["Env"])) is seen
    assert "HTTPS_PROXY=http://" in str(config["Env"])
    assert "@proxy.example:3128" in str(settings.installer_environment())


@pytest.mark.parametrize(
    ("url", "without"),
    [
        ("http://u:p@proxy:3128", "http://proxy:3128"),
        ("u:p@proxy:3128", "proxy:3128"),
        ("https://token@index.example/simple/", "https://index.example/simple/"),
        ("https://u:p@t@index.example/a@b", "https://index.example/a@b"),
        ("http://u:p@[::1]:3128/x://y", "http://[::1]:3128/x://y"),
        ("http://proxy:3128", "http://proxy:3128"),
        ("proxy", "proxy"),
    ],
)
def test_addresses_without_their_credentials(url: str, without: str) -> None:
    assert without_credentials(url) == without
    settings = Settings.load(worker_token="x", https_proxy=url)
    assert bool(settings.with_credentials()) is (url != without)


def test_each_way_of_installing_wheels_knows_the_index() -> None:
    settings = Settings.load(worker_token="x", package_index_url=f"https://operator:{PASSWORD}@index.example")
    for how in (commands.WHEELS_ONLY, commands.REFRESHED):
        assert PASSWORD in str(commands.install(["word"], how, settings.installer_environment()))
    assert PASSWORD not in str(commands.install(["word"], commands.WITH_BUILDS, {}))
