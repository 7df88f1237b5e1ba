"""The Engine in memory does what the real one does: the same tests, on both."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.core.plugin_factory import PluginFolder, greeter

from bot_runner_worker.bots.docker_runtime import DockerRuntime
from bot_runner_worker.images.context import BuildContext
from bot_runner_worker.model.errors import Rejected
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.plugins.tools import ImageProvider, Tools
from bot_runner_worker.testing.memory_runner import MemoryRunner, MemoryRuntime, memory_runner
from bot_runner_worker.testing.real_runner import BASE_IMAGE, RunnerUnderTest, runner_under_test

SIMPLE = {"deployment_mode": "simple", "code": "import time\ntime.sleep(600)\n"}
BOT = {"user_id": "alice", "bot_id": "bot"}


class Place:
    """A runner, over either Engine."""

    def __init__(self, runner: MemoryRunner | RunnerUnderTest) -> None:
        self.runner = runner
        self.start = runner.start
        self.task = runner.task
        self.leftovers = runner.leftovers
        self.settings = runner.settings
        inner: Any = runner if isinstance(runner, MemoryRunner) else runner.runner
        self.images: ImageProvider = inner.images
        self.runtime: DockerRuntime | MemoryRuntime = inner.runtime

    def tools(self, tenant: str = "alice") -> Tools:
        async def report(message: str, fraction: float | None) -> None:
            pass

        return Tools(self.settings, self.images, tenant, report)


@asynccontextmanager
async def place(kind: str, **settings: Any) -> AsyncIterator[Place]:
    settings = {"base_image": BASE_IMAGE, "stop_grace_seconds": 0, **settings}
    async with (memory_runner if kind == "memory" else runner_under_test)(**settings) as runner:  # type: ignore[operator]
        yield Place(runner)
        await Place(runner).runtime.remove_all()


def both(tier: pytest.MarkDecorator) -> pytest.MarkDecorator:
    """On each Engine; the tests on the real one are of this tier."""
    return pytest.mark.parametrize("kind", ["memory", pytest.param("real", marks=tier)])


def context(dockerfile: str, *, shared: bool = False, **files: str) -> BuildContext:
    from bot_runner_worker.images.context import BuildContextWriter

    with BuildContextWriter(max_size=1 << 20) as writer:
        writer.add("Dockerfile", dockerfile)
        for name, text in files.items():
            writer.add(name, text)
        return writer.finish(shared=shared)


async def code_of(awaitable: Any) -> str:
    with pytest.raises(Rejected) as caught:
        await awaitable
    return str(caught.value.code)


@both(pytest.mark.engine)
async def test_the_life_of_a_bot(kind: str) -> None:
    async with place(kind) as here:
        started = await here.start(**SIMPLE)
        assert started.data["status"] == "started"
        assert (await here.start(**SIMPLE)).data["container_id"] == started.data["container_id"]
        assert (await here.start(**{**SIMPLE, "code": "1"})).data["error"]["code"] == "BOT_ALREADY_RUNNING"
        same = {**SIMPLE, "env_vars": {}, "replace": True}
        assert (await here.start(**same)).data["status"] == "already_running"
        other = await here.start(**SIMPLE, env_vars={"A": "1"}, replace=True)
        assert (other.data["status"], other.data["replaced"]) == ("started", True)
        assert other.data["container_id"] != started.data["container_id"]
        assert other.data["container_name"] == started.data["container_name"]

        status = (await here.task("check_status", **BOT)).data
        assert (status["exists"], status["status"], status["mode"]) == (True, "running", "simple")
        assert status["image"] == BASE_IMAGE
        assert (await here.task("list_bots", user_id="alice")).data["count"] == 1
        assert (await here.task("list_bots", user_id="bob")).data["count"] == 0
        logs = (await here.task("get_logs", **BOT)).data
        assert (logs["logs"], logs["truncated"], logs["container_status"]) == ("", False, "running")
        assert (await here.task("get_logs", **BOT, since="x")).data["error"]["code"] == "INVALID_FIELD"

        assert (await here.task("stop_bot", **BOT)).data["status"] == "stopped"
        assert (await here.task("check_status", **BOT)).data["status"] == "stopped"
        restarted = (await here.task("restart_bot", **BOT)).data
        assert (restarted["status"], restarted["expires_at"]) == ("started", other.data["expires_at"])
        assert (await here.task("check_status", **BOT)).data["status"] == "running"
        record = await here.runtime.find(BotKey("alice", "bot"))
        assert record is not None
        await here.runtime.remove(record)
        assert await here.runtime.find(BotKey("alice", "bot")) is None
        assert (await here.task("stop_bot", **BOT)).data["status"] == "not_found"
        assert (await here.task("check_status", **BOT)).data["exists"] is False
        assert await here.leftovers() == []


@both(pytest.mark.slow)
async def test_limits_hold_over_starts_at_once(kind: str) -> None:
    async with place(kind, max_bots_per_user=2) as here:
        outcomes = await asyncio.gather(*(here.start(bot_id=f"bot{n}", **SIMPLE) for n in range(4)))
        codes = sorted(outcome.error["code"] if outcome.error else "" for outcome in outcomes)
        assert codes == ["", "", "QUOTA_EXCEEDED", "QUOTA_EXCEEDED"]
        assert (await here.start("bob", **SIMPLE)).error is None


@both(pytest.mark.engine)
async def test_a_cancelled_start_leaves_nothing(kind: str) -> None:
    async with place(kind) as here:
        for seconds in (0, 0.001, 0.01):
            start = asyncio.create_task(here.start(**SIMPLE))
            await asyncio.sleep(seconds)
            start.cancel()
            await asyncio.wait([start])
            for record in await here.runtime.list_bots():
                await here.runtime.remove(record)
            assert await here.leftovers() == []


@both(pytest.mark.engine)
async def test_images_are_named_by_their_content(kind: str) -> None:
    async with place(kind) as here:
        base = await here.images.base()
        assert base.reference == BASE_IMAGE
        text = f"FROM {BASE_IMAGE}\nCOPY a /a\n"
        first = await here.images.build(context(text, a="1"), here.tools())
        again = await here.images.build(context(text, a="1"), here.tools())
        other = await here.images.build(context(text, a="2"), here.tools())
        assert (first.id, first.reference) == (again.id, again.reference)
        assert other.reference != first.reference
        # One that a tenant's own Dockerfile made is that tenant's; a shared one is everybody's.
        theirs = await here.images.build(context(text, a="1"), here.tools("bob"))
        assert theirs.reference != first.reference
        generated = f"FROM {base.id}\nCOPY a /a\n"
        common = [
            await here.images.build(context(generated, shared=True, a="1"), here.tools(tenant))
            for tenant in ("alice", "bob")
        ]
        assert common[0].reference == common[1].reference
        assert await here.images.recall("name", here.tools()) is None
        await here.images.remember("name", first, here.tools())
        known = await here.images.recall("name", here.tools())
        assert known is not None
        assert known.id == first.id
        assert await here.images.recall("name", here.tools("bob")) is None


@both(pytest.mark.slow)
async def test_packages_are_one_image_for_all_who_ask_for_the_same(kind: str) -> None:
    async with place(kind) as here:
        first = await here.images.with_packages(["six", "idna"], here.tools())
        again = await here.images.with_packages(["idna", "six", "six"], here.tools("bob"))
        assert first.content == again.content
        assert first.reference == again.reference
        assert (await here.images.with_packages(["six"], here.tools())).content != first.content
        for requirement, code in {
            "no-such-package-zz9": "BUILD_FAILED",
            "six @ https://files.example/six.whl": "INVALID_REQUIREMENT",
            "-r other.txt": "INVALID_REQUIREMENT",
            "./local": "INVALID_REQUIREMENT",
        }.items():
            assert await code_of(here.images.with_packages([requirement], here.tools())) == code


@both(pytest.mark.engine)
async def test_what_cannot_be_built_or_pulled(kind: str) -> None:
    async with place(kind) as here:
        tools = here.tools()
        for dockerfile, code in {
            f"FROM {BASE_IMAGE}\nRUN false\n": "BUILD_FAILED",
            "NOT A DOCKERFILE\n": "INVALID_DOCKERFILE",
            f"FROM {BASE_IMAGE}\nADD http://127.0.0.1/x /x\n": "DOCKERFILE_REFUSED",
            "FROM registry.example/x\n": "REGISTRY_DENIED",
        }.items():
            assert await code_of(here.images.build(context(dockerfile), tools)) == code
        for reference, code in {
            "Not A Name": "INVALID_IMAGE_NAME",
            "registry.example/x:1": "REGISTRY_DENIED",
            "127.0.0.1:5000/x:1": "REGISTRY_DENIED",
        }.items():
            assert await code_of(here.images.pull(reference, tools)) == code
        assert (await here.images.pull(BASE_IMAGE, tools)).id == (await here.images.base()).id


@both(pytest.mark.engine)
async def test_a_plugin_gets_nothing_that_is_the_cores(kind: str, plugin_folder: PluginFolder) -> None:
    forged = "Image('sha256:' + '0' * 64, 'other-tenant')"
    wishes = {
        "labels": "ContainerOptions(labels={'io.avtomatika.bot-runner.user-id': 'victim'})",
        "socket": "ContainerOptions(mounts=(Mount('/var/run/docker.sock', '/docker.sock'),))",
        "device": "ContainerOptions(devices=(Device('/dev/mem'),))",
        "capability": "ContainerOptions(capabilities=('SYS_ADMIN',))",
        "privileged": "ContainerOptions(privileged=True)",
        "network": "ContainerOptions(network='host')",
        "limits": "ContainerOptions(memory=0)",
        "endless": "ContainerOptions(tmpfs={'/x': 0})",
    }
    for mode, wish in wishes.items():
        plugin_folder.add(
            mode,
            greeter(mode)
            + f"@hookimpl\ndef container_options(request):\n    if request.mode == {mode!r}: return {wish}\n",
        )
    plugin_folder.add(
        "forger",
        greeter("forger").replace("tools.images.base()", forged),
    )
    async with place(kind, plugins=plugin_folder.plugins()) as here:
        for mode in (*wishes, "forger"):
            error = (await here.start(deployment_mode=mode)).error
            assert error is not None, mode
            expected = (
                "OPTION_REFUSED" if mode in ("labels", "socket", "device", "capability") else "PLUGIN_FAILED"
            )
            assert (error["code"], bool(error["hint"])) == (expected, True), mode
            assert await here.leftovers() == []
