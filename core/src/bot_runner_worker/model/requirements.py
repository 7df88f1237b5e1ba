"""The rule for Python requirements: only packages of the index, by name."""

import re
from collections.abc import Iterable

from packaging.requirements import InvalidRequirement, Requirement

from bot_runner_worker.model.errors import Code, Rejected

_MAX_LENGTH = 500
_CREDENTIALS = re.compile(r"//\S*@|\?\S+")
"""User parts and queries of addresses, in which tokens travel."""


def check_requirements(lines: Iterable[str]) -> list[str]:
    """Check and normalise requirements (PEP 508).

    They may name packages of the index only: its wheels go into a cache that all tenants share.

    Args:
        lines: Such as ``aiogram>=3,<4``; comments and empty lines are left out.

    Returns:
        Sorted, each once: the same set gives the same image.

    Raises:
        Rejected: ``INVALID_REQUIREMENT`` that names the line and says what to write instead.
    """
    return sorted({_checked(line) for line in without_comments(lines)})


def without_comments(lines: Iterable[str]) -> list[str]:
    """Lines of a requirements file without comments, and without empty ones."""
    stripped = (line.strip() for line in lines)
    found = ("" if line.startswith("#") else line.split(" #", 1)[0].strip() for line in stripped)
    return [line for line in found if line]


def names_packages(lines: Iterable[str]) -> bool:
    """Whether :func:`check_requirements` accepts the lines."""
    try:
        check_requirements(lines)
    except Rejected:
        return False
    return True


def _checked(line: str) -> str:
    hint = "Write a package's name with an optional version, such as aiogram>=3 or httpx[http2]==0.28.1."

    # Before it is cut: a part of a password would be hidden nowhere.
    shown = _CREDENTIALS.sub(lambda found: "//***@" if found[0].startswith("/") else "?***", line[:1000])

    def reject(reason: str, advice: str = hint) -> Rejected:
        return Rejected(
            Code.INVALID_REQUIREMENT,
            f"The requirement {shown[:80]!r} {reason}.",
            hint=advice,
            details={"requirement": shown[:200]},
        )

    if len(line) > _MAX_LENGTH or not line.isprintable():
        raise reject("is too long or holds control characters")
    if line.startswith("-"):
        raise reject(
            "is an option of pip",
            "Options such as -r, -e, --index-url or --find-links are not taken; list packages by name. "
            "The operator sets the package index.",
        )
    if "://" in line or line.startswith(("file:", "git+", ".", "/")) or "@" in line.split(";")[0]:
        raise reject(
            "is an address or a path, not a name",
            "List packages by name; put your own code into files, or use the mode custom.",
        )
    if "$" in line or "\\" in line:
        raise reject("holds a variable or a continuation")
    try:
        return str(Requirement(line))
    except InvalidRequirement:
        raise reject("is not a valid requirement") from None
