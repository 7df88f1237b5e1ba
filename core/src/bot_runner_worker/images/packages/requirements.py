"""Requirements that name packages of the index, whoever asks for them."""

from collections.abc import Iterable

from packaging.requirements import InvalidRequirement, Requirement

from bot_runner_worker.model.errors import Code, Rejected


def checked(requirements: Iterable[str]) -> list[str]:
    """Check requirements, and bring each set of them into one form.

    Wheels of the index go into a cache that all tenants share: what has another origin has no place there.

    Args:
        requirements: PEP 508.

    Raises:
        Rejected: ``INVALID_REQUIREMENT`` for an option, a path, an address, or anything else.
    """
    return sorted({_checked(each) for each in requirements})


def _checked(text: str) -> str:
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        requirement = None
    if requirement is None or requirement.url is not None:
        raise Rejected(
            Code.INVALID_REQUIREMENT,
            f"The requirement {text[:80]!r} does not name a package of the index.",
            hint="Write a package's name with an optional version, such as aiogram>=3.",
            details={"requirement": text[:200]},
        )
    return str(requirement)
