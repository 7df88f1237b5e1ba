"""Checks of a worker's surroundings, each with a finding and, where something is wrong, a remedy.

One module for each concern; :mod:`bot_runner_worker.checks.suite` lists and runs them.
"""

from bot_runner_worker.checks.suite import NAMES, Progress, run_checks
from bot_runner_worker.health.findings import Check, State

__all__ = ["NAMES", "Check", "Progress", "State", "run_checks"]
