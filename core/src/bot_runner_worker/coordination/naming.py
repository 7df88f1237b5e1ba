"""Names of the volumes that coordinate workers: recognisable, and apart for each namespace."""

import hashlib

from bot_runner_worker.model.identity import BotKey

PREFIX = "bot-runner-"


class Names:
    """The names in one namespace.

    Args:
        namespace: ``RUNNER_NAMESPACE``.
    """

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._prefix = PREFIX + _digest(namespace)

    def bot(self, bot: BotKey) -> str:
        """Of the claim on a bot."""
        return f"{self._prefix}-bot-{bot.digest(self._namespace)}"

    def quota(self, user_id: str) -> str:
        """Of the claim on counting a tenant's bots."""
        return f"{self._prefix}-quota-{_digest(user_id)}"

    def supervisor(self) -> str:
        """Of the claim on looking after all bots."""
        return f"{self._prefix}-supervisor"

    def making(self, token: str) -> str:
        """Of the claim on making something that is no bot's.

        Args:
            token: Tells it from others of its kind.
        """
        return f"{self._prefix}-making-{token}"

    def void(self, token: str) -> str:
        """Of the claim on removing a void claim.

        Args:
            token: The void claim's.
        """
        return f"{self._prefix}-void-{token}"

    def stop_request(self, token: str) -> str:
        """Of the request to end a start.

        Args:
            token: That of the start's claim.
        """
        return f"{self._prefix}-stop-{token}"

    def presence(self, instance: str, number: int) -> str:
        """Of a process's presence.

        Args:
            instance: The process.
            number: Counts up with each renewal.
        """
        return f"{self._prefix}-presence-{instance}-{number}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
