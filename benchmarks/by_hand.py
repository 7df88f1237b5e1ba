"""The baselines: what somebody does who runs bots by hand, with plain calls to the Docker Engine.

All of them give a container the limits that the runner gives it, an init process and a log of the same
size, and run the same code on the same base image. They leave out what the runner does besides: labels,
dropped capabilities, a network for each bot, a place among the tenant's bots.
"""

import time
from collections.abc import Mapping
from typing import Any

from benchmarks.docker_api import Docker
from benchmarks.leftovers import LABELS

MEMORY = 256 * 1024 * 1024
CPUS = 0.5
PIDS = 128
"""The defaults of the runner's settings."""


def container(image: str, network: str, environment: Mapping[str, str] = {}) -> dict[str, Any]:
    """The body of the call that creates a bot's container."""
    return {
        "Image": image,
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Labels": LABELS,
        "HostConfig": {
            "Init": True,
            "Memory": MEMORY,
            "MemorySwap": MEMORY,
            "NanoCpus": int(CPUS * 1e9),
            "PidsLimit": PIDS,
            "NetworkMode": network,
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "5m", "max-file": "2"}},
        },
    }


def run_options(network: str) -> list[str]:
    """The same as options of ``docker run``."""
    memory = str(MEMORY)
    return [
        *("--init", "--memory", memory, "--memory-swap", memory, "--cpus", str(CPUS)),
        *("--pids-limit", str(PIDS), "--network", network),
        *("--log-opt", "max-size=5m", "--log-opt", "max-file=2"),
        *(part for name, value in LABELS.items() for part in ("--label", f"{name}={value}")),
    ]


def documented_files(base: str, requirements: str, code: str) -> dict[str, str]:
    """The build context of the documented way: dependencies first, so that their layer stays cached."""
    dockerfile = (
        f"FROM {base}\nWORKDIR /app\nCOPY requirements.txt .\n"
        "RUN pip install --no-cache-dir -r requirements.txt\n"
        'COPY bot.py .\nCMD ["python3", "bot.py"]\n'
    )
    return {"Dockerfile": dockerfile, "requirements.txt": requirements + "\n", "bot.py": code}


def create_and_start(docker: Docker, config: Mapping[str, Any]) -> float:
    """The floor: create and start a container of an image that is ready; seconds.

    Two API calls over a connection that is open already; nothing can start a container with fewer.
    """
    began = time.perf_counter()
    made = docker.create(config)
    try:
        docker.start(made)
        return time.perf_counter() - began
    finally:
        docker.remove(made)


def build_and_run(docker: Docker, tag: str, files: Mapping[str, str], config: Mapping[str, Any]) -> float:
    """The documented way: build an image that holds the code, create and start its container; seconds.

    The build is not limited, and its layers are cached: as quick as the way can be. :func:`remove_built`
    removes what was made.
    """
    began = time.perf_counter()
    docker.build(tag, files)
    docker.start(docker.create(config))
    return time.perf_counter() - began


def remove_containers(docker: Docker, image: str) -> None:
    """Remove all containers of an image."""
    for row in docker.json("GET", "/containers/json", all="1", filters={"ancestor": [image]}):
        docker.remove(row["Id"])


def remove_built(docker: Docker, tag: str) -> None:
    """Remove an image that was built by hand, and its containers; layers that another image has stay."""
    remove_containers(docker, tag)
    docker.remove(tag, "images")
