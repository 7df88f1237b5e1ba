"""Errors that leave the worker.

The hierarchy::

    BotRunnerError            code, message, hint, details, stage
    ├── Rejected              the request cannot be served; trying again will not help
    ├── Unavailable           our side is at fault; the orchestrator tries again
    └── OperatorError         the worker's own set-up is wrong; it does not start
        ├── SettingsError
        └── PluginError

A :class:`Rejected` ends its task with the custom status ``rejected``: it is not retried and costs the worker
no reputation. An :class:`Unavailable` ends it as a failure with ``TRANSIENT_ERROR``.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class Code(StrEnum):
    """Stable error codes for clients; plugins may use further ones of the same form."""

    MISSING_REQUIRED_FIELD = "MISSING_REQUIRED_FIELD"
    INVALID_FIELD = "INVALID_FIELD"
    UNKNOWN_FIELD = "UNKNOWN_FIELD"
    INVALID_USER_ID = "INVALID_USER_ID"
    INVALID_BOT_ID = "INVALID_BOT_ID"
    INVALID_DEPLOYMENT_MODE = "INVALID_DEPLOYMENT_MODE"
    MISSING_SOURCE = "MISSING_SOURCE"
    CONFLICTING_SOURCES = "CONFLICTING_SOURCES"
    INVALID_PATH = "INVALID_PATH"
    INVALID_ENTRYPOINT = "INVALID_ENTRYPOINT"
    INVALID_REQUIREMENT = "INVALID_REQUIREMENT"
    INVALID_ENVIRONMENT = "INVALID_ENVIRONMENT"
    INVALID_LIMIT = "INVALID_LIMIT"
    LIMIT_TOO_HIGH = "LIMIT_TOO_HIGH"
    CONTEXT_TOO_LARGE = "CONTEXT_TOO_LARGE"
    BUILD_FAILED = "BUILD_FAILED"
    BUILD_TIMED_OUT = "BUILD_TIMED_OUT"
    SCHEME_DENIED = "SCHEME_DENIED"
    HOST_DENIED = "HOST_DENIED"
    HOST_NOT_FOUND = "HOST_NOT_FOUND"
    HOST_LOOKUP_FAILED = "HOST_LOOKUP_FAILED"
    ADDRESS_DENIED = "ADDRESS_DENIED"
    REGISTRY_DENIED = "REGISTRY_DENIED"
    MISSING_DOCKER_IMAGE = "MISSING_DOCKER_IMAGE"
    INVALID_IMAGE_NAME = "INVALID_IMAGE_NAME"
    INCOMPLETE_REGISTRY_AUTH = "INCOMPLETE_REGISTRY_AUTH"
    IMAGE_NOT_FOUND = "IMAGE_NOT_FOUND"
    IMAGE_ACCESS_DENIED = "IMAGE_ACCESS_DENIED"
    IMAGE_TOO_LARGE = "IMAGE_TOO_LARGE"
    IMAGE_REFUSED = "IMAGE_REFUSED"
    IMAGE_PULL_FAILED = "IMAGE_PULL_FAILED"
    IMAGE_PULL_TIMED_OUT = "IMAGE_PULL_TIMED_OUT"
    PLATFORM_MISMATCH = "PLATFORM_MISMATCH"
    REGISTRY_AUTH_FAILED = "REGISTRY_AUTH_FAILED"
    REGISTRY_CERTIFICATE_REFUSED = "REGISTRY_CERTIFICATE_REFUSED"
    REGISTRY_RATE_LIMITED = "REGISTRY_RATE_LIMITED"
    REGISTRY_UNAVAILABLE = "REGISTRY_UNAVAILABLE"
    INVALID_DOCKERFILE = "INVALID_DOCKERFILE"
    DOCKERFILE_REFUSED = "DOCKERFILE_REFUSED"
    BUILD_LIMIT_EXCEEDED = "BUILD_LIMIT_EXCEEDED"
    ENGINE_DISK_FULL = "ENGINE_DISK_FULL"
    START_FAILED = "START_FAILED"
    CONTAINER_RUNTIME_MISSING = "CONTAINER_RUNTIME_MISSING"
    START_CANCELLED = "START_CANCELLED"
    SUPERSEDED = "SUPERSEDED"
    TOO_MANY_REQUESTS = "TOO_MANY_REQUESTS"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    BOT_ALREADY_RUNNING = "BOT_ALREADY_RUNNING"
    BOT_NOT_FOUND = "BOT_NOT_FOUND"
    BOT_EXPIRED = "BOT_EXPIRED"
    OPTION_REFUSED = "OPTION_REFUSED"
    PLUGIN_FAILED = "PLUGIN_FAILED"
    ENGINE_UNAVAILABLE = "ENGINE_UNAVAILABLE"
    NETWORK_POOL_EMPTY = "NETWORK_POOL_EMPTY"
    NOT_ISOLATED = "NOT_ISOLATED"
    ENGINE_FAILED = "ENGINE_FAILED"
    BASE_IMAGE_UNAVAILABLE = "BASE_IMAGE_UNAVAILABLE"
    WORKER_STOPPING = "WORKER_STOPPING"
    INTERNAL_ERROR = "INTERNAL_ERROR"


class BotRunnerError(Exception):
    """Base of all errors of the worker.

    Args:
        code: Stable upper-case identifier, see :class:`Code`.
        message: One sentence: what is wrong, in the user's terms.
        hint: One sentence: what to do about it.
        details: Data for programs (field names, allowed values, the end of a build log).
        stage: Where it happened: ``request``, ``prepare``, ``resolve``, ``options``, ``start`` …
            By default, the stage in which it was raised.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str = "",
        details: Mapping[str, Any] | None = None,
        stage: str = "",
    ) -> None:
        super().__init__(message)
        self.code = str(code)
        self.message = message
        self.hint = hint
        self.details = dict(details or {})
        self.stage = stage

    def to_dict(self) -> dict[str, Any]:
        """The error in a task's result: ``{code, message, hint, details, stage}``."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "details": self.details,
            "stage": self.stage,
        }


class Rejected(BotRunnerError):
    """The request cannot be served, and trying again will not help."""


class Unavailable(BotRunnerError):
    """Our side is at fault (Engine, registry, network): trying again may help."""


def disk_full(figures: str = "") -> Unavailable:
    """The error for a full disk of the Engine.

    Args:
        figures: How full it is, if that is known.
    """
    return Unavailable(
        Code.ENGINE_DISK_FULL,
        "The Docker Engine's disk is full, or nearly so.",
        hint="Try again later; the operator makes room, or lowers MIN_FREE_DISK.",
        details={"reason": figures} if figures else {},
    )


class OperatorError(BotRunnerError):
    """The worker's own set-up is wrong."""


class SettingsError(OperatorError):
    """A setting is missing or has a wrong value."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__("INVALID_SETTINGS", message, hint=hint, stage="settings")


class PluginError(OperatorError):
    """A plugin cannot be loaded, or breaks the contract of plugins."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__("INVALID_PLUGIN", message, hint=hint, stage="plugins")
