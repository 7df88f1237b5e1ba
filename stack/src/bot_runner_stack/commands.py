"""Commands that end by themselves, run as a user would: their output, line by line, with a time limit."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bot_runner_stack.errors import StackError


async def run_command(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    cwd: Path,
    seconds: float,
    on_line: Callable[[str], None] = lambda _line: None,
) -> str:
    """Run a command to its end and return what it printed (both streams, in order).

    `env` is added to our own environment. Raises StackError if it exits with another code than 0,
    or takes longer than `seconds` and is killed.
    """
    name = Path(command[0]).name
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=cwd,
            env={**os.environ, **env},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            process_group=0,
        )
    except OSError as error:
        raise StackError(f"{command[0]} cannot be started: {error.strerror}.") from error
    assert process.stdout is not None
    lines: list[str] = []
    try:
        async with asyncio.timeout(seconds):
            async for raw in process.stdout:
                line = raw.decode(errors="replace").rstrip()
                lines.append(line)
                on_line(line)
            exit_code = await process.wait()
    except TimeoutError as error:
        raise StackError(f"{name} took longer than {seconds:.0f} s.", log_tail=_tail(lines)) from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if exit_code != 0:
        raise StackError(f"{name} ended with exit code {exit_code}.", log_tail=_tail(lines))
    return "\n".join(lines)


def _tail(lines: list[str]) -> str:
    return "\n".join(lines[-20:])
