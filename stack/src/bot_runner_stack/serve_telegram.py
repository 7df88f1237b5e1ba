"""The Telegram emulator as a process of its own, for stacks that outlive one Python process."""

import asyncio

from aiohttp import web
from rich.console import Console

from bot_runner_stack import engine
from bot_runner_stack.console import show_error
from bot_runner_stack.errors import StackError
from bot_runner_stack.telegram import TelegramEmulator
from bot_runner_stack.telegram.control import control_application


async def serve_telegram(console: Console, *, host: str | None, port: int, control_port: int) -> int:
    """Serve until interrupted. `host` None is Docker's bridge. Returns 1 after saying what failed."""
    try:
        async with TelegramEmulator(host=host or await engine.bridge_address(), port=port) as telegram:
            control = web.AppRunner(control_application(telegram), access_log=None, shutdown_timeout=0)
            await control.setup()
            try:
                await _listen(control, control_port)
                console.print(f"Bot API  {telegram.url}", highlight=False)
                console.print(f"control  http://127.0.0.1:{control.addresses[0][1]}", highlight=False)
                await asyncio.Event().wait()
            finally:
                await control.cleanup()
    except StackError as error:
        show_error(console, error)
        return 1
    return 0


async def _listen(control: web.AppRunner, port: int) -> None:
    try:
        await web.TCPSite(control, "127.0.0.1", port).start()
    except OSError as error:
        raise StackError(f"The control interface cannot listen on port {port}: {error.strerror}.") from error
