"""What a hostile input may leave behind or use up in this process: child processes, memory."""

import gc
from pathlib import Path

from bot_runner_worker.testing.effects import children
from bot_runner_worker.testing.waiting import until

__all__ = ["PeakMemory", "children", "gone"]


async def gone(before: set[int]) -> None:
    """Wait until no children are there besides those ``before``."""
    await until(lambda: not children() - before, 5, lambda: f"the end of {children() - before}")


class PeakMemory:
    """By how many bytes this process grew at most; use it as a context manager."""

    def __enter__(self) -> "PeakMemory":
        gc.collect(1)  # what the last case left; all that lives in this process takes a tenth of a second
        self._before = _status("VmRSS")
        # The kernel begins to look for the peak anew.
        Path("/proc/self/clear_refs").write_text("5")
        return self

    def __exit__(self, *_: object) -> None:
        self.growth = _status("VmHWM") - self._before


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
