"""Where things are in the checkout: the examples, and the commands of the two environments."""

import os
import sys
from pathlib import Path

from bot_runner_stack.errors import StackError


def repository_root() -> Path:
    """The checkout's folder. Raises StackError if we do not run from one."""
    for folder in (*Path(__file__).resolve().parents, Path.cwd(), *Path.cwd().parents):
        if (folder / "examples" / "echo_bot" / "bot.py").is_file():
            return folder
    raise StackError("This command needs a checkout of the repository: run it in the repository's folder.")


def command(name: str) -> Path:
    """A command of our own environment, such as `bot-runner`. Raises StackError if it is missing."""
    # Not resolved: the interpreter of an environment is a link out of it.
    return _existing(Path(sys.executable).parent / name)


def orchestrator_command() -> Path:
    """The orchestrator's command, from its own environment: its dependencies conflict with the worker's.

    BOT_RUNNER_ORCHESTRATOR_BIN names another one. Raises StackError if it is missing.
    """
    named = os.environ.get("BOT_RUNNER_ORCHESTRATOR_BIN")
    if named:
        return _existing(Path(named))
    return _existing(repository_root() / ".venv-orchestrator" / "bin" / "bot-runner-orchestrator")


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise StackError(f"The command {path} is missing: `make setup` installs it.")
    return path
