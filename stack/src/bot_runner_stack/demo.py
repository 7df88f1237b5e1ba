"""`make demo`: a real bot through the real stack, from its deployment to its end, in about half a minute.

Everything is real except Telegram's servers, whose place the emulator takes.
"""

import asyncio
import contextlib
import hashlib
import shlex
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console

from bot_runner_stack import engine, repository
from bot_runner_stack.commands import run_command
from bot_runner_stack.console import Progress, show_error
from bot_runner_stack.embedded import EmbeddedStack, StackOptions
from bot_runner_stack.errors import StackError
from bot_runner_stack.firewall import StackFirewall, bridge_prefix
from bot_runner_stack.locks import exclusive
from bot_runner_stack.telegram import BotAccount, TelegramEmulator

BOT_ID = "echo"
GREETING = "Hello from a user of the bot!"
# A first start downloads and installs the bot's requirements.
START_SECONDS = 300
COMMAND_SECONDS = 60
# Importing aiogram takes a bot about 5 s under half a core; the rest is for slow machines.
ANSWER_SECONDS = 90


async def demo(console: Console) -> int:
    """Run the demonstration. Returns 0, or 1 after saying what failed."""
    try:
        root = repository.repository_root()
        namespace = demo_namespace(root)
        with exclusive(namespace, busy="Another demo of this checkout is running: wait until it is through."):
            await _Demo(console, root, namespace).run()
    except StackError as error:
        show_error(console, error)
        return 1
    return 0


def demo_namespace(root: Path) -> str:
    """The runner's name for demos of one checkout.

    It is always the same, so that a demo removes what a killed one left, and no other checkout's, so that two
    of them can share an Engine.
    """
    return "demo-" + hashlib.sha256(str(root).encode()).hexdigest()[:8]


class _Demo:
    def __init__(self, console: Console, root: Path, namespace: str) -> None:
        self._console = console
        self._root = root
        self._progress = Progress(console, total=9)
        self._closed = ""
        self._worker_env = {
            "ISOLATION_REQUIRED": "on",
            "ISOLATION_PROBE": "local",  # no packet to clouds' metadata addresses
            "BRIDGE_PREFIX": bridge_prefix(namespace, root),
        }
        self._stack = EmbeddedStack(
            StackOptions(namespace=namespace, stop_seconds=5, worker_env=self._worker_env)
        )

    async def run(self) -> None:
        """Go through all steps. Raises StackError about the one that failed, after cleaning up."""
        async with contextlib.AsyncExitStack() as endings:
            try:
                await self._run(endings)
            except StackError:
                # What went wrong first is what is told, even if cleaning up fails because of it.
                with contextlib.suppress(StackError):
                    await endings.aclose()
                raise
            except asyncio.CancelledError:
                self._console.print("\nInterrupted; cleaning up …")
                raise
        self._console.print(f"\n[bold green]The demo is through[/] in {self._progress.seconds():.0f} s.")

    async def _run(self, endings: contextlib.AsyncExitStack) -> None:
        progress = self._progress
        with progress.step("An emulator of Telegram's Bot API, where bots in containers can reach it"):
            telegram = TelegramEmulator(host=await engine.bridge_address())
            await telegram.start()
            endings.push_async_callback(telegram.stop)
            progress.note(telegram.url)
        await self._close_the_host(endings, telegram)
        # Last in, first out: a worker that still runs could start what was just removed.
        endings.push_async_callback(self._remove_everything)
        endings.push_async_callback(self._stack.stop)
        with progress.step("The Avtomatika orchestrator (its storage in memory)"):
            # What a demo that was killed left behind goes meanwhile.
            await asyncio.gather(self._stack.start_orchestrator(), self._remove_everything())
            progress.note(self._stack.url)
        with progress.step("A worker, which registers with the orchestrator"):
            await self._stack.start_worker()
            progress.note(self._closed)
        await self._show_a_bot(telegram)
        with progress.step("Everything is cleaned up: containers, images, network and processes"):
            await endings.aclose()

    async def _close_the_host(self, endings: contextlib.AsyncExitStack, telegram: TelegramEmulator) -> None:
        """Let the bot reach nothing of this machine but the emulator, where we may."""
        self._worker_env["FIREWALL_ALLOW"] = urlsplit(telegram.url).netloc
        firewall = StackFirewall(self._stack.worker_environment(), self._root)
        trouble = await firewall.apply()
        if trouble:
            # The bot is the example of this checkout, and no stranger's.
            self._worker_env["ISOLATION_REQUIRED"] = "off"
            self._closed = f"not closed off from this machine: {trouble}"
        else:
            endings.push_async_callback(firewall.remove)
            self._closed = "its bots reach nothing of this machine but the emulator: the firewall sees to it"

    async def _show_a_bot(self, telegram: TelegramEmulator) -> None:
        progress = self._progress
        bot = telegram.register_bot(username="echo_demo_bot")
        with progress.step("A user deploys an aiogram echo bot in mode simple"):
            environment = {"BOT_TOKEN": bot.token, "TELEGRAM_API_SERVER": telegram.url}
            exports = [f"{name}={shlex.quote(value)}" for name, value in environment.items()]
            progress.command(f"export {' '.join(exports)}")
            # Its requirements.txt asks for aiogram. -e with a name alone passes on what was exported.
            await self._bot_runner(
                "start",
                BOT_ID,
                "--simple",
                "examples/echo_bot",
                *("-e", "BOT_TOKEN", "-e", "TELEGRAM_API_SERVER"),
                environment=environment,
                seconds=START_SECONDS,
            )
        with progress.step("A user writes to the bot, and it answers"):
            await self._talk(bot)
        with progress.step("The bot's status"):
            await self._bot_runner("status", BOT_ID)
        with progress.step("The bot's logs"):
            await self._bot_runner("logs", BOT_ID, "-n", "10")
        with progress.step("The user stops the bot"):
            await self._bot_runner("stop", BOT_ID)

    async def _talk(self, bot: BotAccount) -> None:
        bot.user_sends(GREETING)
        self._progress.output(f"user: {GREETING}")
        try:
            answer = await bot.next_answer(timeout=ANSWER_SECONDS)
        except TimeoutError:
            heard = "it polled, but did not answer" if bot.polls else "it never asked Telegram for messages"
            logs = await self._bot_runner("logs", BOT_ID, "-n", "20", show=False)
            raise StackError(f"The bot was silent for {ANSWER_SECONDS} s: {heard}.", log_tail=logs) from None
        self._progress.output(f"bot:  {answer.text}")
        if answer.text != GREETING:
            raise StackError("The echo bot did not repeat the message.")

    async def _remove_everything(self) -> None:
        await run_command(
            [repository.command("bot-runner-worker"), "remove-all", "--yes"],
            env=self._stack.worker_environment(),
            cwd=self._root,
            seconds=COMMAND_SECONDS,
        )

    async def _bot_runner(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        seconds: float = COMMAND_SECONDS,
        show: bool = True,
    ) -> str:
        """Run the command `bot-runner` against the stack, and show it and its output.

        Raises StackError with what the stack logged, since the command's own words were shown.
        """
        if show:
            self._progress.command(shlex.join(["bot-runner", *arguments]))
        try:
            return await run_command(
                [repository.command("bot-runner"), *arguments],
                env={**self._stack.client_environment, **(environment or {})},
                cwd=self._root,
                seconds=seconds,
                on_line=self._progress.output if show else lambda _line: None,
            )
        except StackError as error:
            raise StackError(str(error), log_tail=self._stack.log_tail()) from error
