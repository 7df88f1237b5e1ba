"""The tasks by name: runs them, and reports their outcomes."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import Any

from bot_runner_worker.bots.admission import Admission
from bot_runner_worker.bots.announcements import Announcer
from bot_runner_worker.bots.protocol import BotRuntime
from bot_runner_worker.logs import hide_secrets
from bot_runner_worker.model.results import Result
from bot_runner_worker.plugins.manager import Plugins
from bot_runner_worker.plugins.tools import ImageProvider
from bot_runner_worker.redaction import Redactor, secrets_of
from bot_runner_worker.settings import Settings
from bot_runner_worker.tasks.manage_bots import BotManager
from bot_runner_worker.tasks.outcome import Outcome, outcome_of
from bot_runner_worker.tasks.progress import Report, StartProgress
from bot_runner_worker.tasks.request_limits import RequestLimits
from bot_runner_worker.tasks.start_bot import BotStarter

logger = logging.getLogger(__name__)

Task = Callable[[Mapping[str, Any], StartProgress], Awaitable[Result]]


class Observer:
    """Counts tasks and measures stages; its methods neither wait nor raise."""

    def task_ended(self, name: str, params: Any, outcome: Outcome, seconds: float) -> None:
        """Called when a task has ended.

        Args:
            name: The task's name.
            params: Its raw params.
            outcome: Its outcome.
            seconds: How long it took.
        """

    def stages_ended(self, seconds: Mapping[str, float]) -> None:
        """Called when a start has ended, successful or not.

        Args:
            seconds: How long each stage took that it entered, by the stage's name.
        """


async def _go_on() -> None:
    """Nothing keeps a start from going on."""


class TaskRunner:
    """Runs tasks.

    Args:
        settings: The operator's settings.
        plugins: The loaded plugins.
        images: Provides images.
        runtime: Runs bots.
        admission: Who may start how many.
        observer: Called when tasks and stages end.
        ensure_closed: See :meth:`IsolationGuard.ensure_closed`; by default, every start goes on.
    """

    def __init__(
        self,
        settings: Settings,
        plugins: Plugins,
        images: ImageProvider,
        runtime: BotRuntime,
        admission: Admission,
        observer: Observer | None = None,
        ensure_closed: Callable[[], Awaitable[None]] = _go_on,
    ) -> None:
        self._observer = observer or Observer()
        self._own_secrets = secrets_of(settings.with_credentials())
        self._admission = admission
        self._requests = RequestLimits()
        self.announcer = Announcer(runtime, [plugins.bot_event])
        starter = BotStarter(settings, plugins, images, runtime, admission, self.announcer, ensure_closed)
        manager = BotManager(settings, self.announcer, runtime, admission, ensure_closed)
        self.tasks: dict[str, Task] = {
            "start_bot": starter.start,
            "stop_bot": _without_progress(manager.stop),
            "restart_bot": _without_progress(manager.restart),
            "get_logs": _without_progress(manager.logs),
            "list_bots": _without_progress(manager.list_bots),
            "check_status": _without_progress(manager.status),
        }

    @property
    def waiting(self) -> int:
        """How many tasks wait for their bot or their turn."""
        return max(0, len(self._requests) - self._admission.working)

    async def run_task(self, name: str, params: Any, report: Report) -> Outcome:
        """Run a task.

        Args:
            name: One of :attr:`tasks`.
            params: Its raw params.
            report: Called with progress.

        Returns:
            The outcome, without any of the secrets in the params.
        """
        redactor = Redactor(secrets_of(params) | self._own_secrets)
        begun = monotonic()
        with hide_secrets(redactor):
            progress = StartProgress(report, redactor)
            try:
                outcome = await outcome_of(lambda: self._serve(name, params, progress), redactor)
            finally:
                self._observer.stages_ended(progress.seconds())
            took = monotonic() - begun
            self._observer.task_ended(name, params, outcome, took)
            logger.info("%s of %s: %s in %.0f ms", name, _subject(params), _ending(outcome), 1000 * took)
        return outcome

    async def _serve(self, name: str, params: Any, progress: StartProgress) -> Result:
        with self._requests.counted(name, params):
            return await self.tasks[name](params, progress)


def _subject(params: Any) -> str:
    ids = [params.get(name) for name in ("user_id", "bot_id")] if isinstance(params, Mapping) else []
    return "/".join(repr(each)[:80] for each in ids if each is not None) or "nobody"


def _ending(outcome: Outcome) -> str:
    return outcome.ending if outcome.error is None else f"{outcome.ending} {outcome.error['code']}"


def _without_progress(work: Callable[[Mapping[str, Any]], Awaitable[Result]]) -> Task:
    def task(params: Mapping[str, Any], _progress: StartProgress) -> Awaitable[Result]:
        return work(params)

    return task
