"""What the user points at, turned into the params of a start request."""

from bot_runner_cli.sources.model import Source
from bot_runner_cli.sources.selection import Selection, choose

__all__ = ["Selection", "Source", "choose"]
