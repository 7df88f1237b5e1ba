"""``bot-runner-worker remove-all``."""

import asyncio
import sys
from typing import Annotated

import typer

from bot_runner_worker.cli.output import AsJson, or_exit, print_json
from bot_runner_worker.engine import EngineError
from bot_runner_worker.model.errors import BotRunnerError
from bot_runner_worker.runner import Runner
from bot_runner_worker.settings import Settings


def remove_all(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    keep_images: Annotated[
        bool, typer.Option("--keep-images", help="Keep built images, for a quick next start.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Remove each bot, network and image of this namespace (RUNNER_NAMESPACE) from the Engine."""
    settings = or_exit(Settings.load_without_token)
    if not yes:
        typer.confirm(f"Remove all bots of the namespace {settings.runner_namespace}?", abort=True)
    try:
        count = asyncio.run(_remove(settings, keep_images))
    except EngineError as error:
        print(f"bot-runner-worker: the Docker Engine refused a call: {error.message}", file=sys.stderr)
        raise typer.Exit(1) from None
    except BotRunnerError as error:
        print(f"bot-runner-worker: {error.message} {error.hint}", file=sys.stderr)
        raise typer.Exit(1) from None
    if as_json:
        print_json({"namespace": settings.runner_namespace, "removed": count})
    else:
        print(f"Removed {count} bots of the namespace {settings.runner_namespace}.")


async def _remove(settings: Settings, keep_images: bool) -> int:
    async with Runner(settings) as runner:
        return await runner.runtime.remove_all(keep_images=keep_images)
