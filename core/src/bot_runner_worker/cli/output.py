"""What the commands have in common: settings that are wrong end with one line and exit code 2."""

import json
import sys
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer

from bot_runner_worker.model.errors import OperatorError

T = TypeVar("T")

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def or_exit(make: Callable[[], T]) -> T:
    """Call ``make``; a wrong set-up is one clear line on standard error and exit code 2."""
    try:
        return make()
    except OperatorError as error:
        print(f"bot-runner-worker: {error.message} {error.hint}".rstrip(), file=sys.stderr)
        raise typer.Exit(2) from None


def print_json(data: Any) -> None:
    """Print one JSON document."""
    print(json.dumps(data, ensure_ascii=False, indent=2))
