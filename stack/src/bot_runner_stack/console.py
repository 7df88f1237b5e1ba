"""What the person at the terminal (or the reader of a CI log) sees: numbered steps, commands, times."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

from bot_runner_stack.errors import StackError

_INDENT = "      "


class Progress:
    """Numbered steps of a run whose number of steps is known. Plain lines where there is no terminal."""

    def __init__(self, console: Console, *, total: int) -> None:
        self._console = console
        self._total = total
        self._number = 0
        self._began = time.monotonic()

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Announce a step; when it is through, say how long it took."""
        self._number += 1
        began = time.monotonic()
        self._console.print(f"[bold cyan]\\[{self._number}/{self._total}][/] [bold]{escape(title)}[/]")
        yield
        self._console.print(f"{_INDENT}[dim]{time.monotonic() - began:.1f} s[/]")

    def command(self, command: str) -> None:
        """Show a command as a user would type it."""
        self._line(f"[green]$ {escape(command)}[/]")

    def output(self, line: str) -> None:
        """Show a line that a command printed."""
        self._line(escape(line))

    def note(self, text: str) -> None:
        """Say something about the current step."""
        self._line(f"[yellow]{escape(text)}[/]")

    def seconds(self) -> float:
        """The time since the first step."""
        return time.monotonic() - self._began

    def _line(self, markup: str) -> None:
        self._console.print(f"{_INDENT}{markup}", soft_wrap=True, highlight=False)


def show_error(console: Console, error: StackError) -> None:
    """Print the sentence of an error and, below it, what the process at fault said last."""
    console.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True, highlight=False)
    if error.log_tail:
        console.print("[dim]The last lines of the log:[/]")
        for line in error.log_tail.splitlines():
            console.print(f"  [dim]|[/] {escape(line)}", soft_wrap=True, highlight=False)
