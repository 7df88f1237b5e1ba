"""Who a bot is, and the names and labels that carry it on the Engine.

The Engine is the only store: a worker that is killed and started again finds out everything from labels.
"""

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import BeforeValidator

from bot_runner_worker.model.errors import Code, Rejected

LABEL_PREFIX = "io.avtomatika.bot-runner."
NAMESPACE = LABEL_PREFIX + "namespace"
USER_ID = LABEL_PREFIX + "user-id"
BOT_ID = LABEL_PREFIX + "bot-id"
MODE = LABEL_PREFIX + "mode"
SOURCE = LABEL_PREFIX + "source"
REQUEST_DIGEST = LABEL_PREFIX + "request-digest"
SPEC_DIGEST = LABEL_PREFIX + "spec-digest"
IMAGE_REFERENCE = LABEL_PREFIX + "image"
CPU_LIMIT = LABEL_PREFIX + "cpu-limit"
"""Cores that a bot may use once it has started."""
STARTED_AT = LABEL_PREFIX + "started-at"
EXPIRES_AT = LABEL_PREFIX + "expires-at"
ROLE = LABEL_PREFIX + "role"
BUILD_ROLE = "build"
"""Role of the containers of a build's steps, and of the images that they make."""

STEP = LABEL_PREFIX + "step"
"""What was run to make an image of a build's step, on which image, and with which variables: a digest."""

CONTENT = LABEL_PREFIX + "content"
"""Label of images of ours that are the same to a bot although their ids differ."""

PROBE_ROLE = "isolation-probe"
"""Role of the containers of checks: they are neither bots nor steps of a build."""

CACHE_ROLE = "cache"
"""Role of the volumes that keep what can be fetched again, see :mod:`bot_runner_worker.images.packages`."""
LEASE_ROLE = "lease"
"""Role of the volumes that say which worker is active, see :mod:`bot_runner_worker.lease`."""
WORKER_ID = LABEL_PREFIX + "worker-id"
INSTANCE = LABEL_PREFIX + "instance"
"""A worker's process: random, so that a worker that was started again is told from its former self."""
PROCESS = LABEL_PREFIX + "process"
"""Machine, id and start time of a worker's process."""

MAX_ID_LENGTH = 128
_SLUG_UNSAFE = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class BotKey:
    """A bot's identity: the exact pair of its tenant and its own id.

    Args:
        user_id: The tenant.
        bot_id: The bot's id among the tenant's bots.
    """

    user_id: str
    bot_id: str

    def container_name(self, namespace: str) -> str:
        """The name of the bot's container.

        The readable slugs may coincide (``a.b`` and ``ab``); the hash of the exact triple never does, so one
        tenant's bot can never be taken for another's.
        """
        return f"bot-{_slug(self.user_id)}-{_slug(self.bot_id)}-{self.digest(namespace)}"

    def digest(self, namespace: str) -> str:
        """16 hexadecimal digits for the exact triple of namespace, tenant and bot."""
        exact = "\0".join((namespace, self.user_id, self.bot_id)).encode()
        return hashlib.sha256(exact).hexdigest()[:16]

    def labels(self, namespace: str) -> dict[str, str]:
        """The labels that say whose container, image or network something is."""
        return {NAMESPACE: namespace, USER_ID: self.user_id, BOT_ID: self.bot_id}

    @classmethod
    def from_labels(cls, labels: Mapping[str, str]) -> Self:
        """Read the identity back from :meth:`labels`."""
        return cls(labels[USER_ID], labels[BOT_ID])


def _slug(text: str) -> str:
    return _SLUG_UNSAFE.sub("-", text.lower()).strip("-")[:24] or "x"


def _valid_id(value: Any, field: str, code: Code) -> str:
    # Telegram's user ids are numbers, and front ends pass them on as such.
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    hint = f"Use 1 to {MAX_ID_LENGTH} visible characters, such as my-bot or user123."
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID_LENGTH:
        raise Rejected(code, f"{field} is not text of 1 to {MAX_ID_LENGTH} characters.", hint=hint)
    if not value.isprintable() or value != value.strip() or value != unicodedata.normalize("NFC", value):
        raise Rejected(
            code, f"{field} holds invisible, unnormalised or surrounding white-space characters.", hint=hint
        )
    return value


UserId = Annotated[str, BeforeValidator(lambda value: _valid_id(value, "user_id", Code.INVALID_USER_ID))]
BotId = Annotated[str, BeforeValidator(lambda value: _valid_id(value, "bot_id", Code.INVALID_BOT_ID))]
