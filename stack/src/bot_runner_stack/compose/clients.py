"""Clients of the stack, as their users run them: `bot-runner`, and `tg-runner`, published before it.

Both deploy the same bots; a bot's id is its mode's name, so that what is shown explains itself.
"""

import asyncio
import json
import os
import shlex
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bot_runner_stack import repository
from bot_runner_stack.commands import run_command
from bot_runner_stack.console import Progress
from bot_runner_stack.errors import StackError

SAYS = "It is alive."
"""What the example bot prints."""

# A first start builds an image.
_START_SECONDS = 300
_COMMAND_SECONDS = 120


@dataclass(frozen=True, kw_only=True)
class BotSources:
    """Where a client takes a bot from: `code` is a file, `project` a folder with a Dockerfile, then come the
    addresses of a repository and of an archive, and the name of an image."""

    code: Path
    project: Path
    git_url: str
    archive_url: str
    image: str


class Client(ABC):
    """A command that talks to the orchestrator at `url` with `token`, run in the folder `root`."""

    name: str
    bot_ids = ("simple", "git", "archive", "folder", "image")
    """The bots that `deploy` starts."""

    def __init__(self, root: Path, progress: Progress, *, url: str, token: str) -> None:
        self._root = root
        self._progress = progress
        self._url = url
        self._token = token

    @abstractmethod
    async def deploy(self, sources: BotSources) -> None:
        """Start a bot from each source. Raises StackError about the first that does not start."""

    @abstractmethod
    async def use(self) -> None:
        """Use the other commands on these bots. Raises StackError if one does not do what it should."""

    @abstractmethod
    async def see_running(self, *bot_ids: str) -> None:
        """Raise StackError unless exactly these bots run, as far as the client tells."""

    @abstractmethod
    def _environment(self) -> Mapping[str, str]:
        """The variables that name the orchestrator and the token."""

    def _starts(self, sources: BotSources) -> list[tuple[str, str, str]]:
        """Id, option and source of a bot of each mode, and of each source of mode `custom`."""
        return [
            ("simple", "--simple", self._short(sources.code)),
            ("git", "--git", sources.git_url),
            ("archive", "--custom", sources.archive_url),
            ("folder", "--custom", self._short(sources.project)),
            ("image", "--image", sources.image),
        ]

    async def _run(self, *arguments: str, seconds: float = _COMMAND_SECONDS, show: bool = True) -> str:
        """Run the command and return its output. Raises StackError with that output if it fails."""
        if show:
            self._progress.command(shlex.join([self.name, *arguments]))
        return await run_command(
            [repository.command(self.name), *arguments],
            env={**self._environment(), "TERM": "dumb", "COLUMNS": "110"},
            cwd=self._root,
            seconds=seconds,
        )

    def _short(self, path: Path) -> str:
        return os.path.relpath(path, self._root) if path.is_relative_to(self._root) else str(path)


class BotRunner(Client):
    """`bot-runner`, of this repository."""

    name = "bot-runner"

    def _environment(self) -> Mapping[str, str]:
        return {"BOT_RUNNER_URL": self._url, "BOT_RUNNER_TOKEN": self._token}

    async def deploy(self, sources: BotSources) -> None:
        for bot_id, option, source in self._starts(sources):
            await self._run("start", bot_id, option, source, "--watch", "0", seconds=_START_SECONDS)
        logs = await asyncio.gather(*(self._run("logs", bot_id, show=False) for bot_id in self.bot_ids))
        for bot_id, printed in zip(self.bot_ids, logs, strict=True):
            if SAYS not in printed:
                raise StackError(f"The bot {bot_id} did not print “{SAYS}”.", log_tail=printed)
        self._progress.note(f"{len(self.bot_ids)} bots run, and print that they do")

    async def use(self) -> None:
        await self._run("status", "simple")
        await self._run("restart", "git", "--watch", "0")

    async def see_running(self, *bot_ids: str) -> None:
        bots = json.loads(await self._run("list", "--json", show=False))["bots"]
        running = {bot["bot_id"] for bot in bots if bot["status"] == "running"}
        if running != set(bot_ids):
            raise StackError(f"Running are {sorted(running)}, not {sorted(bot_ids)}.")

    async def try_a_bot(self, sources: BotSources) -> None:
        """Start one more bot and stop it: tasks work."""
        await self._run("start", "once-more", "--simple", self._short(sources.code), "--watch", "0")
        await self._run("stop", "once-more")


class TgRunner(Client):
    """`tg-runner` of tg-runner-cli 1.0.0, which speaks an older API. Its exit code is 0 whatever happens."""

    name = "tg-runner"

    def _environment(self) -> Mapping[str, str]:
        return {"TG_RUNNER_URL": self._url, "TG_RUNNER_TOKEN": self._token}

    async def deploy(self, sources: BotSources) -> None:
        for bot_id, option, source in self._starts(sources):
            await self._succeed("start", bot_id, option, source, seconds=_START_SECONDS)

    async def use(self) -> None:
        self._expect("RUNNING", await self._run("status", "simple"))
        self._expect(SAYS, await self._run("logs", "git", "-n", "5"))
        await self._succeed("update", "simple", "--simple", "examples/plain_bot/bot.py", "-e", "VERSION=2")
        await self._succeed("stop", "simple")
        await self._succeed("start", "simple", "--simple", "examples/plain_bot/bot.py")

    async def see_running(self, *bot_ids: str) -> None:
        listed = await self._run("list", show=False)
        for bot_id in bot_ids:
            if not any(bot_id in line and "running" in line for line in listed.splitlines()):
                raise StackError(f"tg-runner does not list {bot_id} as running.", log_tail=listed)

    async def _succeed(self, *arguments: str, seconds: float = _COMMAND_SECONDS) -> None:
        self._expect("Успех", await self._run(*arguments, seconds=seconds))

    def _expect(self, word: str, output: str) -> None:
        if word not in output:
            raise StackError(f"tg-runner did not say “{word}”.", log_tail=output)
