"""The rules of a stack's own bridges: who may put them in place does, who may not is told what to run."""

import os
from pathlib import Path

import pytest

from bot_runner_stack import firewall
from bot_runner_stack.firewall import StackFirewall, bridge_prefix
from bot_runner_worker.settings import Settings


def test_each_stack_has_bridges_of_its_own() -> None:
    prefixes = {bridge_prefix(name, Path(root)) for name in ("default", "demo") for root in ("/a", "/b")}
    assert len(prefixes) == 4
    assert bridge_prefix("default", Path("/a")) in prefixes
    for prefix in prefixes:
        assert Settings.load(worker_token="x", bridge_prefix=prefix).bridge_prefix == prefix
        assert prefix != Settings.model_fields["bridge_prefix"].default


async def test_who_may_not_is_told_and_no_token_is_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(firewall.shutil, "which", lambda name: None)
    environment = {"BRIDGE_PREFIX": "mine-", "FIREWALL_ALLOW": "10.1.2.3:53", "WORKER_TOKEN": "a-secret"}
    made = StackFirewall(environment, tmp_path)
    assert await made.apply() == "The firewall takes root's rights."
    command = made.command("apply")
    assert command[:3] == ["env", "BRIDGE_PREFIX=mine-", "FIREWALL_ALLOW=10.1.2.3:53"]
    assert command[-2:] == ["firewall", "apply"]
    assert "a-secret" not in " ".join(command)
