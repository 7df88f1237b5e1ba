"""Requirements: names and versions from the index; whatever makes pip fetch something else is refused."""

from collections.abc import Iterable

from packaging.requirements import InvalidRequirement, Requirement

from bot_runner_worker.plugin import Code, Rejected

_MAX_LENGTH = 500


def checked_requirements(lines: Iterable[str]) -> list[str]:
    """Check and normalise requirement lines (PEP 508).

    Args:
        lines: Such as ``aiogram>=3,<4``; comments and empty lines are dropped.

    Returns:
        Sorted, each once: the same set gives the same image.

    Raises:
        Rejected: ``INVALID_REQUIREMENT`` that names the line and says what to write instead.
    """
    return sorted({_checked(line) for raw in lines if (line := _without_comment(raw))})


def _without_comment(line: str) -> str:
    text = line.strip()
    return "" if text.startswith("#") else text.split(" #", 1)[0].strip()


def _checked(line: str) -> str:
    hint = "Write a package's name with an optional version, such as aiogram>=3 or httpx[http2]==0.28.1."

    def reject(reason: str, advice: str = hint) -> Rejected:
        return Rejected(
            Code.INVALID_REQUIREMENT,
            f"The requirement {line[:80]!r} {reason}.",
            hint=advice,
            details={"requirement": line[:200]},
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
