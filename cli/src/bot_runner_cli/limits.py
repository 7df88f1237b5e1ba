"""``--memory``, ``--cpu`` and ``--pids``."""

import re
from typing import Any

from bot_runner_cli.errors import UsageError

_SIZE = re.compile(r"(\d+(?:\.\d+)?)([kmg])?(?:i?b)?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3}


def resource_limits(memory: str | None, cpu: float | None, pids: int | None) -> dict[str, Any]:
    """The request's ``resource_limits``, of which the operator's settings are the upper bound.

    Args:
        memory: As Docker writes it: ``128m``, ``1g``, or plain bytes.
        cpu: Cores.
        pids: Processes and threads.

    Raises:
        UsageError: The memory cannot be read.
    """
    limits = {"memory_mb": None if memory is None else _mebibytes(memory), "cpu_cores": cpu, "pids": pids}
    return {name: value for name, value in limits.items() if value is not None}


def _mebibytes(size: str) -> int:
    match = _SIZE.fullmatch(size.strip())
    if match is None:
        raise UsageError("--memory takes a size such as 128m or 1g.")
    amount, unit = match.groups()
    mebibytes = int(float(amount) * 1024 ** _POWERS[(unit or "").lower()] / 1024**2)
    if mebibytes < 1:
        raise UsageError("--memory is less than 1 MiB.", hint="Give a unit, as in 128m.")
    return mebibytes
