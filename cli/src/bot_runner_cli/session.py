"""What a command works with, and the one place where its errors become output and an exit code."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import typer

from bot_runner_cli.connection import ConnectionOptions, resolve
from bot_runner_cli.errors import CliError, UserInterruptError
from bot_runner_cli.jobs import JobRunner
from bot_runner_cli.output import Output

DEFAULT_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Session:
    """A command's means: the orchestrator's jobs, and the output."""

    jobs: JobRunner
    output: Output


@contextmanager
def open_session(
    context: typer.Context, options: ConnectionOptions, *, timeout: float = DEFAULT_TIMEOUT
) -> Iterator[Session]:
    """Connect, and turn any error within into output and an exit code.

    Args:
        context: Holds the options that were given before the command's name.
        options: Those that were given after it; they win.
        timeout: Seconds that a job may take unless ``--timeout`` says otherwise.

    Raises:
        typer.Exit: After an error was shown.
    """
    if isinstance(context.obj, ConnectionOptions):
        options = options.over(context.obj)
    output = Output(as_json=options.as_json)
    try:
        # Only here: the HTTP client would make --help slow.
        from bot_runner_cli.api import Orchestrator

        connection = resolve(options, os.environ)
        output.redactor.learn([connection.token])
        with Orchestrator(connection) as orchestrator:
            patience = timeout if options.timeout is None else options.timeout
            yield Session(JobRunner(orchestrator, connection.user, patience), output)
    except CliError as error:
        output.error(error)
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt as interrupt:
        interrupted = UserInterruptError("Interrupted.")
        output.error(interrupted)
        raise typer.Exit(interrupted.exit_code) from interrupt
