"""Telling the operator's own systems what happens to bots: events of workers, sent on by HTTP.

``selection`` says which events, ``message`` what is sent and how it is signed, ``delivery`` how it gets
there.
"""

from .delivery import EventWebhook
from .message import Signer, WebhookMessage, message_of
from .selection import DEFAULT_SELECTION, EventSelection

__all__ = ["DEFAULT_SELECTION", "EventSelection", "EventWebhook", "Signer", "WebhookMessage", "message_of"]
