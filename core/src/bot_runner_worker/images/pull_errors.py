"""What went wrong between the Engine and a registry, from the Engine's words."""

import re

from bot_runner_worker.engine import EngineError
from bot_runner_worker.model.errors import BotRunnerError, Code, Rejected, Unavailable, disk_full
from bot_runner_worker.model.references import ImageReference

# Patterns over the words of the Engine (distribution/errors.go, registry/auth.go) and of registries (the
# codes of the distribution specification). The status alone says little: a refused login may come as 401,
# 403, 404 or 500. First match wins.
_RATE_LIMITED = re.compile(r"toomanyrequests|too many requests|429", re.IGNORECASE)
_DENIED = re.compile(
    r"unauthorized|no basic auth credentials|denied|authentication required|incorrect username or password"
    r"|\b40[13]\b",
    re.IGNORECASE,
)
_MISSING = re.compile(r"manifest unknown|name unknown|name_unknown|not found|\b404\b", re.IGNORECASE)
_PLATFORM = re.compile(r"no matching manifest for|does not match the specified platform", re.IGNORECASE)
_CERTIFICATE = re.compile(r"x509|certificate|server gave HTTP response to HTTPS client", re.IGNORECASE)
_NOT_AN_IMAGE = re.compile(
    r"unsupported|mediatype|not supported|invalid manifest|unknown blob", re.IGNORECASE
)


def of_engine(error: EngineError, reference: ImageReference, *, with_credentials: bool) -> BotRunnerError:
    """The error that a failed pull, or question to a registry, ends with.

    Args:
        error: The Engine's.
        reference: What was asked for.
        with_credentials: Whether the request brought some.
    """
    name = reference.familiar
    words = error.message
    details = {"image": name, "reason": words[:500]}
    if error.disk_full:
        return disk_full(words)
    if _RATE_LIMITED.search(words):
        return Unavailable(
            Code.REGISTRY_RATE_LIMITED,
            f"The registry {reference.registry} lets no more pulls through for now.",
            hint="Try again later; with an account (registry_auth) the limits are higher.",
            details=details,
        )
    if _PLATFORM.search(words):
        return platform_mismatch(reference, "this machine")
    if _DENIED.search(words):
        return _denied(reference, with_credentials, details)
    if _MISSING.search(words) and "dial tcp" not in words and "lookup" not in words:
        return Rejected(
            Code.IMAGE_NOT_FOUND,
            f"There is no image {name}.",
            hint="Check the name and the tag; a private image also needs registry_auth.",
            details=details,
        )
    if _CERTIFICATE.search(words):
        return Rejected(
            Code.REGISTRY_CERTIFICATE_REFUSED,
            f"The certificate of the registry {reference.registry} is not trusted by the Engine.",
            hint="Use a registry with a public certificate, or ask the operator to make the Engine trust it.",
            details=details,
        )
    if _NOT_AN_IMAGE.search(words):
        return Rejected(
            Code.IMAGE_PULL_FAILED,
            f"{name} is not a container image that the Engine can run.",
            hint="Check the name; the registry's answer is in details.reason.",
            details=details,
        )
    return Unavailable(
        Code.REGISTRY_UNAVAILABLE,
        f"The registry {reference.registry} cannot be reached, or fails.",
        hint="Try again later.",
        details=details,
    )


def _denied(reference: ImageReference, with_credentials: bool, details: dict[str, str]) -> Rejected:
    if with_credentials:
        return Rejected(
            Code.REGISTRY_AUTH_FAILED,
            f"The registry {reference.registry} does not accept the credentials for {reference.familiar}.",
            hint="Check registry_auth, and that this account may pull the image.",
            details=details,
        )
    return Rejected(
        Code.IMAGE_ACCESS_DENIED,
        f"The image {reference.familiar} is private, or does not exist.",
        hint="Check the name; a private image needs registry_auth with username and password.",
        details=details,
    )


def platform_mismatch(reference: ImageReference, platform: str, offered: tuple[str, ...] = ()) -> Rejected:
    """An image that was made for another kind of machine."""
    return Rejected(
        Code.PLATFORM_MISMATCH,
        f"The image {reference.familiar} is not made for {platform}.",
        hint=f"Build it for this platform: docker build --platform {platform}."
        if "/" in platform
        else "Build the image for this machine's platform.",
        details={"image": reference.familiar, "platform": platform, "offered": list(offered)},
    )
