"""Command ``bot-runner-orchestrator``: runs the orchestrator until SIGTERM or SIGINT."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticUndefined

from . import __version__
from .clients import load_clients
from .errors import SetupError
from .settings import Settings, environment_names, load_settings
from .worker_tokens import load_worker_tokens

if TYPE_CHECKING:
    from .engine import BotRunnerEngine


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        Exit code: 0 after a signal, 1 if it cannot serve (port taken, Redis away), 2 for wrong settings.
    """
    _parser().parse_args(argv)
    try:
        settings = load_settings()
        clients = load_clients(settings)
        worker_tokens = load_worker_tokens(settings.workers_config_path)
    except SetupError as exc:
        return _complain(exc, 2)
    try:
        # Imported late: --help and complaints about settings need not wait for it.
        from .engine import BotRunnerEngine

        # Made outside of the event loop, in which Avtomatika would begin to write to the storage at once.
        asyncio.run(serve(BotRunnerEngine(settings, clients, worker_tokens)))
    except SetupError as exc:
        return _complain(exc, 1)
    return 0


async def serve(engine: "BotRunnerEngine") -> None:
    """Serve until the process is told to end; prints one line when it is ready.

    Raises:
        SetupError: It cannot serve.
    """
    told_to_end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signal_number, told_to_end.set)
    await engine.start()
    try:
        host = engine.settings.api_host
        if host in ("0.0.0.0", "::"):  # noqa: S104 - shown as an address that can be opened
            host = "127.0.0.1"
        scheme = "https" if engine.config.TLS_ENABLED else "http"
        print(f"orchestrator ready at {scheme}://{host}:{engine.port}", flush=True)
        await told_to_end.wait()
    finally:
        await engine.stop()


def settings_table() -> list[tuple[str, str, str]]:
    """Name, default and meaning of each setting, as ``--help`` and the README show them."""
    rows = []
    for field, info in Settings.model_fields.items():
        rows.append((environment_names(field)[0], _shown_default(info.default), info.description or ""))
    return rows


def _shown_default(default: Any) -> str:
    if default is PydanticUndefined:
        return "required"
    if default in (None, ""):
        return "–"
    return str(default).lower() if isinstance(default, bool) else f"{default}"


def _parser() -> argparse.ArgumentParser:
    table = settings_table()
    width = max(len(name) for name, _, _ in table)
    lines = [f"  {name:<{width}}  {meaning} [{default}]" for name, default, meaning in table]
    parser = argparse.ArgumentParser(
        prog="bot-runner-orchestrator",
        description="Runs the Avtomatika orchestrator with the bot_runner blueprint.",
        epilog="Settings, from the environment or a .env file [default]:\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return parser


def _complain(error: SetupError, exit_code: int) -> int:
    print(f"bot-runner-orchestrator: {error}", file=sys.stderr)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
