"""Checks a table of private names: each exists with its signature, and no other one is used."""

import ast
import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any


def owner_of(seam: Any) -> Any:
    module, _, name = seam.owner.partition(":")
    return getattr(import_module(module), name) if name else import_module(module)


def problem_with(seam: Any) -> str | None:
    """What an upgrade has broken; ``None`` if the name is there as it was."""
    owner = owner_of(seam)
    found = inspect.getattr_static(owner, seam.name, None)
    if seam.parameters is None:
        assigned = re.search(rf"\bself\.{seam.name}\b[^\n=]*=", inspect.getsource(owner))
        return None if assigned or found is not None else f"{seam.owner}.{seam.name} is gone: {seam.breaks}"
    if found is None:
        return f"{seam.owner}.{seam.name} is gone: {seam.breaks}"
    parameters = tuple(inspect.signature(getattr(owner, seam.name)).parameters)
    if parameters != seam.parameters:
        return f"{seam.owner}.{seam.name} takes {parameters}, not {seam.parameters}: {seam.breaks}"
    return None


def unlisted(package: Path, table: tuple[Any, ...], ours: frozenset[str] = frozenset()) -> set[str]:
    """Private names of the table's classes that the package's code uses or defines, and the table lacks.

    Args:
        package: Where our code is.
        table: What is known.
        ours: Names of classes that have nothing to do with theirs, but occur there as well.
    """
    theirs: set[str] = set()
    for owner in {owner_of(seam) for seam in table}:
        for each in inspect.getmro(owner) if inspect.isclass(owner) else ():
            if each.__module__.split(".")[0] == owner.__module__.split(".")[0]:
                theirs |= set(re.findall(r"(?:self\.|def )(_[a-z]\w*)", inspect.getsource(each)))
    used: set[str] = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                used.add(node.attr)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                used.add(node.name)
    return (used & theirs) - {seam.name for seam in table} - ours
