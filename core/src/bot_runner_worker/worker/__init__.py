"""The worker process: tasks from an Avtomatika orchestrator, through its SDK, to the runner."""

from bot_runner_worker.worker.process import run_worker

__all__ = ["run_worker"]
