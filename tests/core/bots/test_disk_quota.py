"""The Engine's own limit on a bot's disk is used where there is one, and its absence fails no start."""

from typing import Any

import pytest

from bot_runner_worker.bots.container_config import DiskQuota
from bot_runner_worker.engine import Engine, EngineError, containers

LIMIT = 1000
CONFIG = {"Image": "image", "HostConfig": {"Memory": 1}}


class FakeEngine:
    """Stands in for the creation of containers."""

    def __init__(self, refusal: EngineError | None = None) -> None:
        self.refusal = refusal
        self.asked: list[dict[str, Any]] = []

    async def create(self, _engine: Engine, name: str, config: dict[str, Any]) -> str:
        self.asked.append(config["HostConfig"])
        if self.refusal is not None and "StorageOpt" in config["HostConfig"]:
            raise self.refusal
        return name


def quota_on(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> DiskQuota:
    monkeypatch.setattr(containers, "create", fake.create)
    return DiskQuota(Engine("unix:///nowhere"), LIMIT)


async def test_a_quota_lies_a_little_above_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeEngine()
    assert await quota_on(fake, monkeypatch).create("bot", CONFIG) == "bot"
    assert fake.asked == [{"Memory": 1, "StorageOpt": {"size": "1100"}}]


@pytest.mark.parametrize(
    "words",
    [
        "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
        "--storage-opt is not supported for vfs",
    ],
)
async def test_an_engine_without_quotas_is_asked_once(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeEngine(EngineError(500, words))
    quota = quota_on(fake, monkeypatch)
    assert [await quota.create(name, CONFIG) for name in ("one", "two")] == ["one", "two"]
    assert ["StorageOpt" in each for each in fake.asked] == [True, False, False]


async def test_another_refusal_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeEngine(EngineError(409, "the name is taken"))
    quota = quota_on(fake, monkeypatch)
    for _ in range(2):
        with pytest.raises(EngineError, match="name is taken"):
            await quota.create("bot", CONFIG)
    assert all("StorageOpt" in each for each in fake.asked)
