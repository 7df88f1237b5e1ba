"""One runner: the settings, plugins and Engine put together, with its tasks by name.

The orchestrator's worker and the command ``bot-runner-worker task`` both run tasks through it.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import Any, Self

from bot_runner_worker.coordination import Coordination
from bot_runner_worker.engine import Engine
from bot_runner_worker.health.observer import Observer
from bot_runner_worker.images.retention import ImageRetention
from bot_runner_worker.images.store import ImageStore
from bot_runner_worker.logs import hide_secrets
from bot_runner_worker.plugins import core as core_plugin
from bot_runner_worker.plugins.dispatch import Plugins
from bot_runner_worker.plugins.loading import load
from bot_runner_worker.plugins.rules import HookRules
from bot_runner_worker.redaction import Redactor, secrets_of
from bot_runner_worker.results import Result
from bot_runner_worker.runtime.docker_engine import DockerRuntime
from bot_runner_worker.settings import Settings
from bot_runner_worker.supervision.supervisor import Supervisor
from bot_runner_worker.tasks.admission import Admission
from bot_runner_worker.tasks.announcements import Announcer
from bot_runner_worker.tasks.manage_bots import BotManager
from bot_runner_worker.tasks.outcome import Outcome, outcome_of
from bot_runner_worker.tasks.progress import Progress, Report
from bot_runner_worker.tasks.start_bot import BotStarter
from bot_runner_worker.watching.watcher import Watcher

logger = logging.getLogger(__name__)

Task = Callable[[Mapping[str, Any], Progress], Awaitable[Result]]


class Runner:
    """A runner; use it as an asynchronous context manager.

    Args:
        settings: The operator's settings.
        plugins: Loaded plugins; by default, those that are installed.
        observer: Told of tasks and stages.
    """

    def __init__(
        self, settings: Settings, plugins: Plugins | None = None, observer: Observer | None = None
    ) -> None:
        self.settings = settings
        self._observer = observer or Observer()
        self.plugins = plugins or load_plugins(settings)
        self.engine = Engine(settings.docker_host)
        self.runtime = DockerRuntime(self.engine, settings)
        self.coordination = Coordination(self.engine, settings)
        self.admission = Admission(self.runtime, self.coordination, settings.max_bots_per_user)
        self.images = ImageStore(self.engine, settings)
        self.announcer = Announcer([self.plugins.bot_event])
        starter = BotStarter(
            settings, self.plugins, self.images, self.runtime, self.admission, self.announcer
        )
        manager = BotManager(settings, self.announcer, self.runtime, self.admission)
        leads = self.coordination.leadership.held
        self.supervisor = Supervisor(settings, self.announcer, self.runtime, self.admission, leads)
        self.retention = ImageRetention(self.engine, settings)
        self.watcher = Watcher(
            settings,
            self.engine,
            self.runtime,
            self.admission,
            self.announcer,
            self.retention,
            self.coordination.leadership.held,
        )
        self.tasks: dict[str, Task] = {
            "start_bot": starter.start,
            "stop_bot": _without_progress(manager.stop),
            "restart_bot": _without_progress(manager.restart),
            "get_logs": _without_progress(manager.logs),
            "list_bots": _without_progress(manager.list_bots),
            "check_status": _without_progress(manager.status),
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.plugins.close()
        await self.images.close()
        await self.coordination.close()
        await self.engine.close()

    async def run_task(self, name: str, params: Any, report: Report) -> Outcome:
        """Run a task.

        Args:
            name: One of :attr:`tasks`.
            params: Its raw params.
            report: Told of progress.

        Returns:
            The outcome, without any of the secrets in the params.
        """
        redactor = Redactor(secrets_of(params))
        begun = monotonic()
        with hide_secrets(redactor):
            progress = Progress(report, redactor)
            try:
                outcome = await outcome_of(lambda: self.tasks[name](params, progress), redactor)
            finally:
                self._observer.stages_ended(progress.seconds())
            took = monotonic() - begun
            self._observer.task_ended(name, params, outcome, took)
            logger.info("%s of %s: %s in %.0f ms", name, _subject(params), _ending(outcome), 1000 * took)
        return outcome


def _subject(params: Any) -> str:
    ids = [params.get(name) for name in ("user_id", "bot_id")] if isinstance(params, Mapping) else []
    return "/".join(repr(each)[:80] for each in ids if each is not None) or "nobody"


def _ending(outcome: Outcome) -> str:
    return outcome.ending if outcome.error is None else f"{outcome.ending} {outcome.error['code']}"


def load_plugins(settings: Settings) -> Plugins:
    """Load the installed plugins as the settings say.

    Raises:
        PluginError: If one cannot be loaded and ``PLUGINS_STRICT`` is set.
    """
    loaded = load(
        core=core_plugin,
        allowed=settings.plugins_allowed,
        disabled=settings.plugins_disabled,
        safe_mode=settings.plugins_safe_mode,
        strict=settings.plugins_strict,
    )
    return Plugins(loaded, HookRules.of(settings))


def _without_progress(work: Callable[[Mapping[str, Any]], Awaitable[Result]]) -> Task:
    def task(params: Mapping[str, Any], _progress: Progress) -> Awaitable[Result]:
        return work(params)

    return task
