"""The baselines: what somebody does who runs bots by hand, with plain calls to the Docker Engine.

All of them give a container the limits that the runner gives it, an init process and a log of the same
size, and run the same code on the same base image. They leave out what the runner does besides: labels,
dropped capabilities, a network for each bot, a place among the tenant's bots.
"""

import time
from collections.abc import Mapping
from typing import Any

from benchmarks.docker_api import Docker, tar_of
from benchmarks.leftovers import LABELS

MIB = 1024 * 1024
MEMORY = 256 * MIB
CPUS = 0.5
PIDS = 128
"""The defaults of the runner's settings."""


def container(
    image: str, network: str, *, environment: Mapping[str, str] | None = None, cpus: float = CPUS
) -> dict[str, Any]:
    """The body of the call that creates a bot's container."""
    return {
        "Image": image,
        "Env": [f"{name}={value}" for name, value in (environment or {}).items()],
        "Labels": LABELS,
        "HostConfig": {
            "Init": True,
            "Memory": MEMORY,
            "MemorySwap": MEMORY,
            "NanoCpus": int(cpus * 1e9),
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


def put_and_start(docker: Docker, config: Mapping[str, Any], code: str) -> str:
    """What nobody can do with less who puts a bot's code into its container; returns the container's id.

    Three API calls: create the container, put the code into it, start it.

    Args:
        docker: The Engine.
        config: See :func:`container`; its image holds all but the code.
        code: The bot's.
    """
    made = docker.create({**config, "Cmd": ["python3", "/app/bot.py"]})
    try:
        tar, headers = tar_of({"app/bot.py": code}), {"Content-Type": "application/x-tar"}
        docker.call("PUT", f"/containers/{made}/archive", tar, headers=headers, path="/")
        docker.start(made)
    except BaseException:
        docker.remove(made)
        raise
    return made


def put_start_and_remove(docker: Docker, config: Mapping[str, Any], code: str) -> float:
    """The seconds that :func:`put_and_start` takes; nothing is left."""
    began = time.perf_counter()
    made = put_and_start(docker, config, code)
    took = time.perf_counter() - began
    docker.remove(made)
    return took


def install_and_run(
    docker: Docker, tag: str, tools: str, requirement: str, config: Mapping[str, Any], code: str
) -> float:
    """What nobody can do with less who installs a requirement without a build, with no wheel cached; seconds.

    Seven API calls: create a container, start it, wait for uv in it, commit it, and :func:`put_and_start`.
    Nothing is limited but the bot.

    Args:
        docker: The Engine.
        tag: Of the image with the requirement; :func:`remove_installed` removes all that was made.
        tools: An image with uv.
        requirement: What to install.
        config: See :func:`container`.
        code: The bot's.
    """
    began = time.perf_counter()
    cache = {"Type": "volume", "Target": "/cache", "VolumeOptions": {"Labels": LABELS}}
    install = (
        *("uv", "pip", "install", "--system", "--break-system-packages", "--system-certs", "--no-progress"),
        *("--only-binary", ":all:", "--link-mode", "copy", "--cache-dir", "/cache", "--", requirement),
    )
    installing = {
        "Image": tools,
        "Cmd": list(install),
        "Labels": LABELS,
        "HostConfig": {"NetworkMode": config["HostConfig"]["NetworkMode"], "Mounts": [cache]},
    }
    made = docker.create(installing, name=_installing(tag))
    docker.start(made)
    if status := docker.json("POST", f"/containers/{made}/wait")["StatusCode"]:
        raise RuntimeError(f"uv pip install {requirement} ended with {status}")
    docker.json("POST", "/commit", {}, container=made, repo=tag, pause="0")
    put_and_start(docker, {**config, "Image": tag}, code)
    return time.perf_counter() - began


def remove_installed(docker: Docker, tag: str) -> None:
    """Remove an image of :func:`install_and_run`, its containers and its cache."""
    docker.remove(_installing(tag))
    remove_built(docker, tag)


def _installing(tag: str) -> str:
    return tag.replace("/", "-").replace(":", "-")


def build_and_run(
    docker: Docker, tag: str, files: Mapping[str, str], config: Mapping[str, Any], *, leave: bool = False
) -> float:
    """The documented way: build an image that holds the code, create and start its container; seconds.

    The build is not limited, and its layers are cached: as quick as the way can be.

    Args:
        docker: The Engine.
        tag: Of the image, which is removed in the end; layers that another image has stay.
        files: See :func:`documented_files`.
        config: See :func:`container`.
        leave: Leave image and container to :func:`remove_built`.
    """
    began = time.perf_counter()
    try:
        docker.build(tag, files)
        made = docker.create(config)
        docker.start(made)
        return time.perf_counter() - began
    finally:
        if not leave:
            remove_built(docker, tag)


def remove_built(docker: Docker, tag: str) -> None:
    """Remove an image that was built by hand, and its containers."""
    for row in docker.json("GET", "/containers/json", all="1", filters={"ancestor": [tag]}):
        docker.remove(row["Id"])
    docker.remove_image(tag)
