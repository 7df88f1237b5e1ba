"""Codes of what can be wrong with a Compose file."""

from bot_runner_worker.plugin import Rejected

COMPOSE_FILE_NOT_FOUND = "COMPOSE_FILE_NOT_FOUND"
INVALID_COMPOSE_FILE = "INVALID_COMPOSE_FILE"
COMPOSE_SERVICE_NOT_FOUND = "COMPOSE_SERVICE_NOT_FOUND"
COMPOSE_KEY_REFUSED = "COMPOSE_KEY_REFUSED"
"""The service asks for something that bots do not get here; ``details.refused`` has a hint for each key."""
COMPOSE_VARIABLE_UNSET = "COMPOSE_VARIABLE_UNSET"


def invalid(what: str, hint: str = "") -> Rejected:
    """A Compose file that says nothing, or something wrong.

    Args:
        what: The end of a sentence that begins with "The Compose file".
        hint: What to do about it.
    """
    return Rejected(
        INVALID_COMPOSE_FILE,
        f"The Compose file {what}.",
        hint=hint or "Correct it; 'docker compose config' shows how Compose reads it.",
    )
