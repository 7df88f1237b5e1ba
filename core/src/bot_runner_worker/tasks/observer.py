"""What the runner tells whoever counts and measures; by itself it tells nobody."""

from collections.abc import Mapping
from typing import Any

from bot_runner_worker.tasks.outcome import Outcome


class Observer:
    """Hears of tasks and of the stages of starts. Must neither wait nor raise."""

    def task_ended(self, name: str, params: Any, outcome: Outcome, seconds: float) -> None:
        """A task is over.

        Args:
            name: The task's name.
            params: Its raw params.
            outcome: What became of it.
            seconds: How long it took.
        """

    def stages_ended(self, seconds: Mapping[str, float]) -> None:
        """A start is over, successful or not.

        Args:
            seconds: How long each stage took that it got to, by the stage's name.
        """
