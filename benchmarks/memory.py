"""What a process takes of the memory, from /proc."""

from pathlib import Path

BYTES_PER_MB = 1_000_000


def resident(pid: int) -> float:
    """The process's resident memory (RSS), in MB."""
    return _kib(Path(f"/proc/{pid}/status").read_text(), "VmRSS") * 1024 / BYTES_PER_MB


def proportional(pid: int) -> float:
    """The same with what is shared counted by its share (PSS), in MB."""
    return _kib(Path(f"/proc/{pid}/smaps_rollup").read_text(), "Pss") * 1024 / BYTES_PER_MB


def available() -> float:
    """What this machine could still give to processes, in MB."""
    return _kib(Path("/proc/meminfo").read_text(), "MemAvailable") * 1024 / BYTES_PER_MB


def _kib(text: str, name: str) -> int:
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name}:"))
