"""The worker's test helpers for waiting; its package is not installed in the orchestrator's environment."""

import importlib.util
from pathlib import Path

_SOURCE = Path(__file__).parents[2] / "core/src/bot_runner_worker/testing/waiting.py"
_spec = importlib.util.spec_from_file_location("bot_runner_worker_testing_waiting", _SOURCE)
assert _spec
assert _spec.loader
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)

SCALE, stays, until, until_sync = _module.SCALE, _module.stays, _module.until, _module.until_sync
