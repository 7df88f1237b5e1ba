"""`make up`: the stack in the foreground, for trying things out, until Ctrl-C."""

import asyncio
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from rich.console import Console
from rich.markup import escape

from bot_runner_stack import engine, ports, repository
from bot_runner_stack.console import Progress, show_error
from bot_runner_stack.embedded import EmbeddedStack, StackOptions
from bot_runner_stack.errors import StackError
from bot_runner_stack.firewall import StackFirewall, bridge_prefix
from bot_runner_worker.model.identity import NAMESPACE


class UpSettings(BaseSettings):
    """What `up` reads from the environment and `.env`; the processes it starts read the same `.env`."""

    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", hide_input_in_errors=True, env_ignore_empty=True
    )

    api_host: str = "127.0.0.1"
    api_port: int = Field(8000, ge=1, le=65535)
    client_token: str | None = None
    worker_token: str | None = Field(
        None, validation_alias=AliasChoices("worker_token", "global_worker_token")
    )
    runner_namespace: str = "default"
    docker_network: str = "avtomatika_bot_network"
    isolation_required: Literal["on", "off"] = "on"


async def up(console: Console, *, port: int | None) -> int:
    """Run the stack until it is interrupted. Returns 1 after saying what failed."""
    try:
        options = _options(UpSettings(), port)
        ports.ensure_free(options.host, options.port, hint="choose another port with --port or API_PORT.")
        await _run(console, options)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        name = "_".join(str(part) for part in problem["loc"]).upper()
        show_error(console, StackError(f"{name}: {problem['msg']}."))
        return 1
    except StackError as error:
        show_error(console, error)
        return 1
    return 0


def _options(settings: UpSettings, port: int | None) -> StackOptions:
    made_up, root = StackOptions(), repository.repository_root()
    return StackOptions(
        namespace=settings.runner_namespace,
        network=settings.docker_network,
        host=settings.api_host,
        port=settings.api_port if port is None else port,
        client_token=settings.client_token or made_up.client_token,
        worker_token=settings.worker_token or made_up.worker_token,
        cwd=Path.cwd(),
        log_dir=root / ".state" / "log",
        worker_env={
            "ISOLATION_REQUIRED": settings.isolation_required,
            # Nothing is sent to clouds' metadata addresses, which are not on this machine.
            "ISOLATION_PROBE": "local",
            "BRIDGE_PREFIX": bridge_prefix(settings.runner_namespace, root),
        },
    )


async def _run(console: Console, options: StackOptions) -> None:
    stack = EmbeddedStack(options)
    firewall = StackFirewall(stack.worker_environment(), Path.cwd())
    required = options.worker_env["ISOLATION_REQUIRED"] == "on"
    progress = Progress(console, total=3)
    trouble = ""
    try:
        with progress.step("The firewall that closes this machine to bots, for this stack's bridges only"):
            if required:
                trouble = await firewall.apply()
                progress.note(trouble or "it is taken away with the last bot")
            else:
                progress.note("not applied: ISOLATION_REQUIRED is off")
        with progress.step("The Avtomatika orchestrator (its storage in memory)"):
            await stack.start_orchestrator()
        with progress.step("A worker, which registers with the orchestrator"):
            await stack.start_worker()
        _show_how_to_start_a_bot(console, stack)
        if trouble:
            console.print("[bold yellow]No bot starts[/] before this was run as root:", highlight=False)
            _show_command(console, firewall.command("apply"))
        await _until_one_ends(stack)
    finally:
        console.print("\nEnding the worker and the orchestrator …")
        await stack.stop()
        bots_run_on = await _show_what_still_runs(console, stack)
        if required and not trouble:
            await _open_again(console, firewall, bots_run_on=bots_run_on)


async def _until_one_ends(stack: EmbeddedStack) -> None:
    """Wait until a process dies (or we are interrupted). Raises StackError."""
    processes = [stack.orchestrator, *stack.workers]
    endings = {asyncio.ensure_future(process.wait()): process for process in processes}
    try:
        ended, _ = await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for ending in endings:
            ending.cancel()
    raise endings[ended.pop()].ended()


def _show_how_to_start_a_bot(console: Console, stack: EmbeddedStack) -> None:
    root = repository.repository_root()
    bot_runner, example = repository.command("bot-runner"), root / "examples" / "plain_bot"
    command = shlex.join([_short(bot_runner), "start", "hello", "--simple", _short(example)])
    exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in stack.client_environment.items())
    lines = [
        "",
        f"[bold green]The stack is up[/] at [bold]{stack.url}[/]",
        f"  client token  {escape(stack.client_token)}",
        f"  worker token  {escape(stack.options.worker_token)}",
        f"  logs          {_short(stack.orchestrator.log)}, {_short(stack.workers[0].log)}",
        "",
        "Start a first bot from another terminal (with a token from @BotFather add -e BOT_TOKEN=...):",
        "",
        f"  export {escape(exports)}",
        f"  {escape(command)}",
        "",
        "Ctrl-C ends the stack; bots that run go on running.",
    ]
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False)


async def _open_again(console: Console, firewall: StackFirewall, *, bots_run_on: bool) -> None:
    """Leave the host as it was, unless bots go on running, which stay closed off from it."""
    if bots_run_on:
        console.print("The firewall's rules stay with them. To take them away, as root:", highlight=False)
        _show_command(console, firewall.command("remove"))
        return
    try:
        await firewall.remove()
    except StackError as error:
        show_error(console, error)


def _show_command(console: Console, command: Sequence[str]) -> None:
    console.print(f"  {escape(shlex.join(command))}", soft_wrap=True, highlight=False)


async def _show_what_still_runs(console: Console, stack: EmbeddedStack) -> bool:
    """Say what runs on; returns whether anything may."""
    try:
        count = await engine.running_containers(stack.namespace)
    except StackError:
        return True
    if count == 0:
        console.print("No bot is running.")
        return False
    bots = "1 bot goes" if count == 1 else f"{count} bots go"
    listing = f"docker ps --filter label={NAMESPACE}={stack.namespace}"
    console.print(f"{bots} on running (`make up` takes care of them again). To list them:", highlight=False)
    console.print(f"  {listing}", soft_wrap=True, highlight=False)
    return True


def _short(path: Path) -> str:
    """A path as one would type it here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
