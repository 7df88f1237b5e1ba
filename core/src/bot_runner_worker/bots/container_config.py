"""The configuration of a bot's container: the plugins' options inside the core's limits."""

import logging
import re
from typing import Any

from bot_runner_worker.containers import folder_in_memory, hardened
from bot_runner_worker.engine import Engine, EngineError, containers
from bot_runner_worker.model import identity
from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.model.options import ContainerOptions, Mount
from bot_runner_worker.model.results import timestamp
from bot_runner_worker.model.spec import BotSpec
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

NEXT = "-next"
"""Suffix of the name of a container that is about to become the bot."""

PREVIOUS = "-previous"
"""Suffix of the name of a container that has given way to its replacement, until that has started."""

RUNNING_POLICY = {"Name": "on-failure", "MaximumRetryCount": 0}
"""A bot that should run: the Engine restarts it after each failure, with a delay that doubles from 100 ms to
one minute, even while no worker is there. When to give it up is the supervisor's to say."""

STOPPED_POLICY = {"Name": "no"}
"""A bot that should not run. The policy is the one part of a container that can be changed later and is kept
by the Engine, so it doubles as the record of what is wanted."""

UNPRIVILEGED = "10001:10001"
"""Whom bots run as that must not be root and whose image names nobody; as in images generated here."""

_QUOTA_REFUSED = re.compile("storage-opt", re.IGNORECASE)

_VOLUME_SIZE = 64 * 1024 * 1024

_FILE_SIZE_FACTOR = 2
"""A single file ends at this many times CONTAINER_DISK_LIMIT, should that be before the watch sees it. Not at
once the limit: a bot that is over it should be told so, not meet a write error that names no cause."""

_OPEN_FILES = 16_384
"""Files that a process may have open, where the Engine's own limit may be a billion: counting those of all
processes must come to an end, see :mod:`bot_runner_worker.bots.hidden_files`."""


def container_config(spec: BotSpec, settings: Settings, network: str, cpu: float = 0.0) -> dict[str, Any]:
    """Body of ``POST /containers/create`` (Docker API v1.41).

    The core's part comes last and wins: no capabilities, no new privileges, limits that are never 0 (which
    the Engine takes for "unlimited"), no ports, the bots' network, our labels over the image's. Devices,
    mounts, capabilities and GPUs are those that the operator has opened
    (:func:`bot_runner_worker.model.grants.check_granted` has refused all others).

    Args:
        spec: The bot.
        settings: The operator's settings.
        network: Name of the bot's network.
        cpu: Cores that it starts with, if that is more than its limit.
    """
    options = spec.options
    environment = {**settings.proxy_environment(), **options.environment, **spec.environment}
    tmpfs = dict.fromkeys(spec.image.volumes, _VOLUME_SIZE) | dict(options.tmpfs)
    config: dict[str, Any] = {
        "Image": spec.image.id,
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Labels": {**_neutral_labels(spec), **options.labels, **_labels(spec, settings)},
        # The image's health check would run forever and its result is not used.
        "Healthcheck": {"Test": ["NONE"]},
        "StopSignal": "SIGTERM",
        "StopTimeout": settings.stop_grace_seconds,
        "HostConfig": hardened(
            settings,
            memory=spec.limits.memory,
            cpu=max(spec.limits.cpu, cpu),
            pids=spec.limits.pids,
            log_size=settings.container_log_limit,
            network=network,
            ulimits={"fsize": _FILE_SIZE_FACTOR * settings.container_disk_limit, "nofile": _OPEN_FILES},
            restart=RUNNING_POLICY,
        ),
    }
    config["HostConfig"] |= _granted(options)
    # A volume of the image would be a directory without any limit on the host.
    in_memory = [folder_in_memory(path, size) for path, size in tmpfs.items()]
    if mounts := [*in_memory, *map(_mount, options.mounts)]:
        config["HostConfig"]["Mounts"] = mounts
    if settings.container_runtime is not None:
        config["HostConfig"]["Runtime"] = settings.container_runtime
    if options.entrypoint is not None:
        config["Entrypoint"] = list(options.entrypoint)
    if options.command is not None:
        config["Cmd"] = list(options.command)
    if options.working_dir is not None:
        config["WorkingDir"] = options.working_dir
    if user := user_of(spec, settings):
        config["User"] = user
    return config


def user_of(spec: BotSpec, settings: Settings) -> str | None:
    """Whom a bot runs as; ``None`` for whom its image names.

    Raises:
        Rejected: ``IMAGE_REFUSED`` if that is root, or might be, and ``RUN_AS_ROOT`` does not allow it.
    """
    named = spec.options.user if spec.options.user is not None else spec.image.user
    if settings.run_as_root == "allowed" or _number_of(named):
        return spec.options.user
    if not named.partition(":")[0]:
        return UNPRIVILEGED
    raise Rejected(
        Code.IMAGE_REFUSED,
        f"The bot is to run as {named[:80]!r}, but it may only run as a user with a number of its own.",
        hint="Write a number instead of the name, such as USER 1000, or leave USER out.",
        details={"user": named[:80]},
        stage="options",
    )


def root_note(spec: BotSpec, settings: Settings) -> list[str]:
    """What to tell the author of a bot that runs as root; empty for any other."""
    user = user_of(spec, settings) or spec.image.user
    if user.partition(":")[0].lstrip("0") not in ("", "root"):
        return []
    return [
        "The bot runs as root in its container. Without privileges it needs no root: add USER 10001 to the "
        "Dockerfile, and let that user own what the bot writes."
    ]


def _number_of(user: str) -> int:
    # A name says nothing: the image's own /etc/passwd says which number it has.
    name = user.partition(":")[0]
    return int(name) if name.isascii() and name.isdecimal() and len(name) < 11 else 0


def mount_points(spec: BotSpec) -> list[str]:
    """The paths in a bot's container at which something is mounted."""
    options = spec.options
    return [*spec.image.volumes, *options.tmpfs, *(mount.target for mount in options.mounts)]


def _mount(mount: Mount) -> dict[str, Any]:
    # Not a bind, which would create what is not there, as root's.
    return {
        "Type": "bind",
        "Source": mount.source,
        "Target": mount.target,
        "ReadOnly": not mount.writable,
        "BindOptions": {"Propagation": "rprivate"},
    }


def _granted(options: ContainerOptions) -> dict[str, Any]:
    found: dict[str, Any] = {
        "CapAdd": list(options.capabilities),
        "Devices": [
            {
                "PathOnHost": device.path,
                "PathInContainer": device.inside or device.path,
                "CgroupPermissions": "rw" if device.writable else "r",
            }
            for device in options.devices
        ],
        "DeviceRequests": [{"Count": options.gpus, "Capabilities": [["gpu"]]}] if options.gpus else [],
    }
    return {name: value for name, value in found.items() if value}


def _labels(spec: BotSpec, settings: Settings) -> dict[str, str]:
    return {
        **spec.bot.labels(settings.runner_namespace),
        identity.ROLE: "bot",
        identity.MODE: spec.mode,
        identity.SOURCE: spec.source,
        identity.IMAGE_REFERENCE: spec.image.reference,
        identity.REQUEST_DIGEST: spec.request_digest,
        identity.SPEC_DIGEST: spec.digest(),
        identity.CPU_LIMIT: str(spec.limits.cpu),
        identity.STARTED_AT: timestamp(spec.started_at),
        identity.EXPIRES_AT: timestamp(spec.expires_at),
    }


def _neutral_labels(spec: BotSpec) -> dict[str, str]:
    # Labels of an image reach its containers: one that posed as the runner's would be believed.
    return {name: "" for name in spec.image.labels if name.startswith(identity.LABEL_PREFIX)}


class DiskQuota:
    """Creates containers with a limit on their writable layer, if the Engine has such.

    With overlay2 that takes XFS with project quotas. Elsewhere the Engine refuses to create the container,
    which is tried once. The quota lies a little above the limit for which
    :mod:`bot_runner_worker.bots.limits_watch` ends bots, so that a bot is told why it was ended, however fast
    it writes.

    Args:
        engine: The Engine.
        limit: Bytes that a bot may write.
    """

    def __init__(self, engine: Engine, limit: int) -> None:
        self._engine = engine
        self._size = limit + limit // 10
        self._refused = False

    async def create(self, name: str, config: dict[str, Any]) -> str:
        """Create a container and return its id.

        Raises:
            EngineError: See :func:`bot_runner_worker.engine.containers.create`.
        """
        if not self._refused:
            host = {**config["HostConfig"], "StorageOpt": {"size": str(self._size)}}
            try:
                return await containers.create(self._engine, name, {**config, "HostConfig": host})
            except EngineError as error:
                if not _QUOTA_REFUSED.search(error.message):
                    raise
                self._refused = True
                logger.info(
                    "disk use of bots is watched, since the Engine cannot limit it: %s", error.message
                )
        return await containers.create(self._engine, name, config)
