"""`python -m bot_runner_stack demo | up | compose | telegram`."""

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console

from bot_runner_stack import interrupts
from bot_runner_stack.compose.check import check_compose
from bot_runner_stack.demo import demo
from bot_runner_stack.serve_telegram import serve_telegram
from bot_runner_stack.up import up


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands and return its exit code."""
    options = _parser().parse_args(arguments)
    console = Console()
    match options.command:
        case "demo":
            return interrupts.run(demo(console))
        case "up":
            return interrupts.run(up(console, port=options.port), until_interrupted=True)
        case "compose":
            return interrupts.run(check_compose(console, keep_images=not options.remove_images))
        case _:
            emulator = serve_telegram(
                console, host=options.host, port=options.port, control_port=options.control_port
            )
            return interrupts.run(emulator, until_interrupted=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bot_runner_stack", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("demo", help="deploy an example bot through the whole stack, talk to it, clean up")
    up_parser = commands.add_parser("up", help="run the orchestrator and a worker until Ctrl-C")
    up_parser.add_argument("--port", type=_port, help="the orchestrator's port (else API_PORT, or 8000)")
    compose = commands.add_parser("compose", help="try compose.yaml: bring it up, use it, take it down")
    compose.add_argument(
        "--remove-images", action="store_true", help="remove the images that it built as well"
    )
    telegram = commands.add_parser("telegram", help="run only the emulator of Telegram's Bot API")
    telegram.add_argument("--host", help="the address for bots (the Docker bridge's)")
    telegram.add_argument("--port", type=_port, default=8081, help="the port for bots (8081)")
    telegram.add_argument("--control-port", type=_port, default=8082, help="the control port (8082)")
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port < 65536:
        raise ValueError(text)
    return port


if __name__ == "__main__":
    sys.exit(main())
