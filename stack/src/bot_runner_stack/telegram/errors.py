"""The error that the Bot API answers with."""


class BotApiError(Exception):
    """Becomes `{"ok": false, "error_code": code, "description": description}` with HTTP status `code`."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
