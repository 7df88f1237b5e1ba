"""Commands that are imported when they are run, so that ``--help`` is quick."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import typer
import typer.main
from typer.core import TyperGroup


class LazyGroup(TyperGroup):
    """A group whose commands were added by :func:`add_lazily`.

    Until a command is looked up, a placeholder with its name and its summary stands in for it.
    """

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]
        """Put the command in its placeholder's place."""
        name, placeholder, rest = super().resolve_command(ctx, args)
        if name is None or placeholder is None or placeholder.callback is None:
            return name, placeholder, rest
        return name, _command(name, placeholder.callback()), rest


def add_lazily(group: typer.Typer, target: str, name: str, summary: str) -> None:
    """Add a command, or a group of commands, to a group of the class :class:`LazyGroup`.

    Args:
        group: The group.
        target: ``module:attribute``: a function, or a ``Typer``.
        name: The command's name.
        summary: The first sentence of its help text.
    """

    def load() -> Any:
        module, _, attribute = target.partition(":")
        return getattr(import_module(module), attribute)

    group.command(name, help=summary)(load)


def _command(name: str, loaded: Callable[..., Any] | typer.Typer) -> Any:
    parent = typer.Typer()
    if isinstance(loaded, typer.Typer):
        parent.add_typer(loaded, name=name)
    else:
        parent.command(name)(loaded)
    return typer.main.get_group(parent).commands[name]
