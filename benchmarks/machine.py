"""What the figures were measured on, and whether it was quiet."""

import os
import platform
from datetime import UTC, datetime
from typing import Any

from benchmarks.docker_api import Docker

BUSY_SHARE = 0.5
"""A load of more than so much of the cores is no quiet machine."""


def facts(docker: Docker) -> dict[str, Any]:
    """Facts about the machine and its load, which are part of the results."""
    version = docker.json("GET", "/version")
    return {
        "began": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "Engine": version["Version"],
        "cores": os.cpu_count() or 1,
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def warning(machine: dict[str, Any]) -> str | None:
    """What to say of a machine that is busy."""
    if machine["load"] <= BUSY_SHARE * machine["cores"]:
        return None
    return (
        f"the load is {machine['load']} on {machine['cores']} cores: figures of a busy machine are noisy, "
        "and those of rows with little work suffer most"
    )
