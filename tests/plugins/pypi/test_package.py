"""A published package, installed from an index and run by its console script on the real Engine."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tests.conftest import RunnerUnderTest, runner_under_test
from tests.package_index import PackageIndex, package_index
from tests.plugins.starting import said

BOT = """
import os, sys, time

def main():
    open("state.db", "w").close()
    print("ready", sys.argv[1:], os.getuid(), flush=True)
    while True:
        time.sleep(1)

def other():
    print("the other one", flush=True)
"""
SCRIPTS = {"polite-bot": "polite_bot:main", "polite-admin": "polite_bot:other"}
RELEASE = {"deployment_mode": "pypi", "package": "Polite_Bot", "version": "1.0"}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PackageIndex]:
    """An index with two releases of a bot."""
    with package_index(tmp_path_factory.mktemp("index")) as running:
        for version in ("1.0", "2.0"):
            running.add("polite-bot", {"polite_bot": BOT}, version=version, scripts=SCRIPTS)
        yield running


@pytest.fixture(scope="module")
async def runner(index: PackageIndex) -> AsyncIterator[RunnerUnderTest]:
    """A runner whose builds take packages from it."""
    async with runner_under_test(
        package_index_url=index.url, ca_bundle=index.ca, stop_grace_seconds=1
    ) as running:
        yield running


async def started(runner: RunnerUnderTest, user_id: str, bot_id: str, **params: Any) -> dict[str, Any]:
    outcome = await runner.start(user_id, bot_id, **{**RELEASE, **params})
    assert outcome.error is None, outcome.error
    return outcome.data


@pytest.mark.engine
async def test_the_console_script_runs_and_the_release_is_built_once(
    runner: RunnerUnderTest, index: PackageIndex
) -> None:
    first = await started(runner, "alice", "one", args=["--polling", "a b; $HOME"])
    assert await said(runner, "one") == "ready ['--polling', 'a b; $HOME'] 10001\n"

    # Other arguments, another tenant, another spelling of the name: the same image, and no build.
    index.requests.clear()
    second = await started(runner, "bob", "one", package="polite.bot")
    assert second["image"] == first["image"]
    assert index.requests == []

    await started(runner, "alice", "two", version="2.0")
    assert any("2.0" in path for path in index.requests)


@pytest.mark.slow
async def test_another_script_of_the_package(runner: RunnerUnderTest) -> None:
    await started(runner, "carol", "bot", script="polite-admin")
    assert "the other one" in await said(runner, "bot", user_id="carol")


@pytest.mark.slow
async def test_what_the_index_or_the_package_lacks_is_said(runner: RunnerUnderTest) -> None:
    before = sorted(await runner.leftovers("containers/json", "networks"))
    missing = await runner.start("dave", **{**RELEASE, "script": "polite-cook"})
    assert missing.data["error"]["code"] == "BUILD_FAILED"
    assert "polite-admin, polite-bot" in str(missing.data["error"]["details"]["log"])

    unknown = await runner.start("dave", **{**RELEASE, "version": "9.9"})
    assert unknown.data["error"]["code"] == "BUILD_FAILED"
    assert "versions" in unknown.data["error"]["hint"]
    assert sorted(await runner.leftovers("containers/json", "networks")) == before
