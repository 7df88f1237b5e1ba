"""The firewall's rules for a stack's own bridges: in place before its first bot, and away after its last."""

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from bot_runner_stack import repository
from bot_runner_stack.commands import run_command
from bot_runner_stack.errors import StackError

_SECONDS = 60
_RULES = ("BRIDGE_PREFIX", "FIREWALL_", "CONTAINER_")
"""How the names of the settings begin that the rules depend on."""


def bridge_prefix(namespace: str, root: Path) -> str:
    """Beginning of the names of a stack's bridges, which no other stack and no installation has.

    It is always the same, so that bots that outlive their stack are closed off in the next one, too.
    """
    return "u" + hashlib.sha256(f"{namespace} {root}".encode()).hexdigest()[:5] + "-"


class StackFirewall:
    """Runs `bot-runner-worker firewall` for one stack, as root, or with a `sudo` that asks for nothing.

    `environment` is the worker's. `cwd` is where its `.env` is.
    """

    def __init__(self, environment: Mapping[str, str], cwd: Path) -> None:
        self._environment = {
            name: value for name, value in environment.items() if name.startswith(_RULES) and value
        }
        self._cwd = cwd

    async def apply(self) -> str:
        """Put the rules in place, or replace those of an earlier run. Returns why not, if that failed."""
        try:
            await self._run("apply")
        except StackError as error:
            return " ".join(filter(None, (str(error), error.log_tail)))
        return ""

    async def remove(self) -> None:
        """Take the rules away. Raises StackError."""
        await self._run("remove")

    def command(self, action: str) -> list[str]:
        """The command for an action, as root would type it."""
        settings = [f"{name}={value}" for name, value in self._environment.items()]
        return ["env", *settings, str(repository.command("bot-runner-worker")), "firewall", action]

    async def _run(self, action: str) -> None:
        as_root = [] if os.geteuid() == 0 else ["sudo", "--non-interactive", "--"]
        if as_root and shutil.which(as_root[0]) is None:
            raise StackError("The firewall takes root's rights.")
        await run_command([*as_root, *self.command(action)], env={}, cwd=self._cwd, seconds=_SECONDS)
