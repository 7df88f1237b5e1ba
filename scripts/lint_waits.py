#!/usr/bin/env python3
"""Refuses bare waits in tests: a sleep is either too short on a busy machine, or too long on any other.

Tests wait with ``until`` and ``stays`` of ``bot_runner_worker.testing.waiting``. A stand-in that is meant to
hang may sleep for half a minute or more.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

LONGEST = 0.2
HANGS = 30.0
_SLEEPS = ("asyncio.sleep", "time.sleep")


def main() -> int:
    """Print each bare wait, and say whether there was one."""
    found = [
        f"{path}:{line}: a bare sleep of {seconds:g} s: use until() or stays()"
        for path in sorted(Path("tests").rglob("*.py"))
        for line, seconds in _sleeps(ast.parse(path.read_text()))
    ]
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


def _sleeps(tree: ast.AST) -> Iterator[tuple[int, float]]:
    constants = {
        target.id: node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and ast.unparse(node.func) in _SLEEPS:
            argument = node.args[0]
            if isinstance(argument, ast.Name):
                seconds = constants.get(argument.id)
            else:
                seconds = getattr(argument, "value", None)
            if isinstance(seconds, int | float) and LONGEST < seconds < HANGS:
                yield node.lineno, float(seconds)


if __name__ == "__main__":
    sys.exit(main())
