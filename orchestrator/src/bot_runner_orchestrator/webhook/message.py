"""What is sent: the form and the signature of Standard Webhooks (standardwebhooks.com). Pure functions."""

import base64
import binascii
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from orjson import dumps

from ..redaction import redact

_SECRET_PREFIX = "whsec_"  # noqa: S105 - marks a secret, is none


@dataclass(frozen=True, slots=True)
class WebhookMessage:
    """One event on its way.

    Attributes:
        id: The same in each attempt, and for an event that a worker reported twice.
        type: The event's type.
        body: The JSON text, which is what is signed.
    """

    id: str
    type: str
    body: bytes


def message_of(
    worker_id: str, event_id: str, event_type: str, payload: Mapping[str, Any], at: int | None
) -> WebhookMessage:
    """The message for a worker's event.

    Args:
        worker_id: The worker that saw it.
        event_id: The worker's own id of the event.
        event_type: Such as ``bot_crashed``.
        payload: ``user_id``, ``bot_id``, ``mode``, ``at`` (ISO 8601) and further facts.
        at: When, in seconds since 1970, where the payload does not say.
    """
    data = {name: value for name, value in redact(payload).items() if name != "at"}
    moment = payload.get("at") or datetime.fromtimestamp(at or 0, UTC).isoformat()
    body = dumps({"type": event_type, "timestamp": str(moment), "data": {**data, "worker_id": worker_id}})
    return WebhookMessage(str(uuid5(NAMESPACE_URL, f"bot-runner:{worker_id}:{event_id}")), event_type, body)


class Signer:
    """Signs messages with the secret that the receiver knows as well.

    Args:
        secret: ``whsec_`` and the key in base64, as Standard Webhooks has it; other text is the key itself.

    Raises:
        ValueError: It begins with ``whsec_``, and what follows is no base64.
    """

    def __init__(self, secret: str) -> None:
        if not secret.startswith(_SECRET_PREFIX):
            self._key = secret.encode()
            return
        try:
            self._key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
        except binascii.Error as exc:
            raise ValueError(f"what follows {_SECRET_PREFIX} is no base64") from exc

    def headers(self, message: WebhookMessage, now: int) -> dict[str, str]:
        """The headers of one attempt: id, time and the signature over both and the body.

        Args:
            message: What is sent.
            now: Seconds since 1970; a receiver refuses what is old.
        """
        signed = b".".join((message.id.encode(), str(now).encode(), message.body))
        signature = base64.b64encode(hmac.new(self._key, signed, sha256).digest()).decode()
        return {
            "Content-Type": "application/json",
            "webhook-id": message.id,
            "webhook-timestamp": str(now),
            "webhook-signature": f"v1,{signature}",
        }
