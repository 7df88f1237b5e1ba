"""One runner: the settings, plugins and Engine put together, with its tasks by name.

The orchestrator's worker and the command ``bot-runner-worker task`` both run tasks through it.
"""

from typing import Any, Self

from bot_runner_worker.bots.admission import Admission
from bot_runner_worker.bots.docker_runtime import DockerRuntime
from bot_runner_worker.bots.limits_watch import LimitsWatch
from bot_runner_worker.bots.supervisor import Supervisor
from bot_runner_worker.engine import Engine
from bot_runner_worker.images.gc import ImageCollector
from bot_runner_worker.images.store import ImageStore
from bot_runner_worker.isolation.guard import IsolationGuard
from bot_runner_worker.networks.prewarm import PrewarmedNetworks
from bot_runner_worker.plugins.loading import load
from bot_runner_worker.plugins.manager import Plugins
from bot_runner_worker.settings import Settings
from bot_runner_worker.tasks.outcome import Outcome
from bot_runner_worker.tasks.progress import Report
from bot_runner_worker.tasks.task_runner import Observer, TaskRunner


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
        self.plugins = plugins or load_plugins(settings)
        self.engine = Engine(settings.docker_host)
        self.networks_ahead = PrewarmedNetworks(self.engine, settings)
        self.runtime = DockerRuntime(self.engine, settings, self.networks_ahead)
        self.admission = Admission(self.runtime, settings.max_bots_per_user, settings.max_concurrent_tasks)
        self.images = ImageStore(self.engine, settings, self.admission.making, self.networks_ahead)
        self.isolation = IsolationGuard(self.engine, settings, self.images.base)
        self._task_runner = TaskRunner(
            settings,
            self.plugins,
            self.images,
            self.runtime,
            self.admission,
            observer,
            self.isolation.ensure_closed,
        )
        self.tasks = self._task_runner.tasks
        self.announcer = self._task_runner.announcer
        self.supervisor = Supervisor(settings, self.announcer, self.runtime, self.admission)
        self.image_gc = ImageCollector(self.engine, settings)
        self.limits_watch = LimitsWatch(
            settings,
            self.engine,
            self.runtime,
            self.admission,
            self.announcer,
            self.image_gc,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.plugins.close()
        await self.isolation.close()
        await self.images.close()
        await self.runtime.close()
        await self.networks_ahead.close()
        await self.engine.close()

    @property
    def waiting(self) -> int:
        """See :attr:`TaskRunner.waiting`."""
        return self._task_runner.waiting

    async def run_task(self, name: str, params: Any, report: Report) -> Outcome:
        """See :meth:`TaskRunner.run_task`."""
        return await self._task_runner.run_task(name, params, report)


def load_plugins(settings: Settings) -> Plugins:
    """Load the installed plugins as the settings say.

    Raises:
        PluginError: If one cannot be loaded and ``PLUGINS_STRICT`` is set.
    """
    loaded = load(
        allowed=settings.plugins_allowed,
        disabled=settings.plugins_disabled,
        safe_mode=settings.plugins_safe_mode,
        strict=settings.plugins_strict,
    )
    return Plugins(loaded, settings)
