"""The ``RUN`` steps of a build, in containers of ours.

The Engine's classic builder would run them, too, but with NET_RAW, without our list of system calls, and it
makes an image of whatever a command leaves: files of holes, written in no time, fill the Engine's disk then,
and nobody can stop it. So commands run in containers that are hardened as all are, and what they have written
is measured before it becomes an image.
"""

import hashlib
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from bot_runner_worker.aio import run_to_completion
from bot_runner_worker.containers import (
    OutputExceeded,
    bytes_written,
    folder_in_memory,
    hardened,
    run,
    temporary,
)
from bot_runner_worker.engine import Engine, EngineError, containers
from bot_runner_worker.engine import images as engine_images
from bot_runner_worker.engine.builds import BuildError, BuildLog
from bot_runner_worker.engine.messages import known_cause
from bot_runner_worker.images import build_errors
from bot_runner_worker.model.identity import STEP
from bot_runner_worker.settings import Settings

CAPABILITIES = (
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE",
    "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
)  # fmt: skip
"""What package managers expect of root: Docker's own list but for NET_RAW, with which one forges packets."""

_SHELL = ("/bin/sh", "-c")
_VOLUME_SIZE = 64 * 1024 * 1024
_MOST_SHOWN = 200
"""Characters of a command in errors, and in its image's history."""


class CommandSteps:
    """Runs the commands of one build.

    Args:
        engine: The Engine.
        settings: Limits and names.
        network: Name of their network.
        labels: For their containers; their images have them already.
        log: The build's output so far.
        images: Where the id of each image that is made is noted.
        check_size: Awaited before what a command has written becomes an image.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        network: str,
        *,
        labels: Mapping[str, str],
        log: BuildLog,
        images: dict[str, None],
        check_size: Callable[[], Awaitable[None]],
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._network = network
        self._labels = labels
        self._log = log
        self._images = images
        self._check_size = check_size
        self._container = ""

    async def written(self) -> int:
        """Bytes that the running command has written."""
        container = self._container
        if not container:
            return 0
        try:
            return await bytes_written(self._engine, container, enough=self._settings.max_image_size)
        except EngineError:
            if self._container:
                raise
            return 0  # it is being removed

    async def run(self, image: str, text: str, arguments: Mapping[str, str], given: Mapping[str, str]) -> str:
        """Run a command, unless an image of what it leaves is there; returns the id of that.

        Args:
            image: Id of the image that it runs on.
            text: All after ``RUN``.
            arguments: Build arguments in force.
            given: Variables that change nothing about what comes out, such as proxies.

        Raises:
            BuildError: If it fails, without a log.
            EngineError: If the Engine refuses something.
            Rejected: ``BUILD_LIMIT_EXCEEDED``.
        """
        config = await engine_images.config(self._engine, image)
        command = _command(text, config.get("Shell") or _SHELL)
        own = {entry.partition("=")[0] for entry in config.get("Env") or ()}
        variables = {name: value for name, value in arguments.items() if name not in own}
        step = hashlib.sha256(json.dumps([image, command, variables]).encode()).hexdigest()
        made = await engine_images.find_child(self._engine, image, {**self._labels, STEP: step})
        if made is None:
            config["Labels"] = {**(config.get("Labels") or {}), STEP: step}
            others = {name: value for name, value in given.items() if name not in own}
            body = self._container_config(image, config, command, others | variables)
            made = await self._made(body, config, command)
        self._images[made] = None
        return made

    async def _made(
        self, body: Mapping[str, Any], config: Mapping[str, Any], command: tuple[str, ...]
    ) -> str:
        name = f"{self._settings.docker_network}-work-{secrets.token_hex(6)}"
        try:
            async with temporary(self._engine, name, body):
                self._container = name
                try:
                    await self._end_of(command)
                    # Whoever watches may have looked too early.
                    await self._check_size()
                    return await run_to_completion(self._commit(config, command))
                finally:
                    self._container = ""
        except EngineError as error:
            if error.not_found and "image" in error.message.lower():
                raise BuildError(error.message, []) from error  # the image of the step before is gone
            cause = known_cause(error.message)
            if cause is None:
                raise
            raise BuildError(f"{cause.reason} {cause.hint}", []) from error

    async def _end_of(self, command: tuple[str, ...]) -> None:
        settings = self._settings

        async def printed(text: str) -> None:
            self._log.add(text)

        try:
            ended = await run(
                self._engine,
                self._container,
                seconds=settings.build_timeout_seconds,
                output_limit=settings.build_output_limit - self._log.size,
                on_output=printed,
            )
        except OutputExceeded as error:
            raise build_errors.output_exceeded(settings, self._log.lines()) from error
        if ended.code:
            raise BuildError(
                f"The command '{_shown(command)}' returned a non-zero code: {ended.code}",
                [],
                exit_code=ended.code,
                out_of_memory=ended.out_of_memory,
            )

    async def _commit(self, config: Mapping[str, Any], command: tuple[str, ...]) -> str:
        made = await containers.commit(self._engine, self._container, config, comment=_shown(command))
        self._images[made] = None
        return made

    def _container_config(
        self,
        image: str,
        config: Mapping[str, Any],
        command: tuple[str, ...],
        variables: Mapping[str, str],
    ) -> dict[str, Any]:
        settings = self._settings
        host = hardened(
            settings,
            memory=settings.build_memory_limit,
            cpu=settings.build_cpu_limit,
            pids=settings.build_pids_limit,
            network=self._network,
            ulimits={"fsize": settings.max_image_size, "core": 0},
        )
        # Those of a base image: else folders without any limit on the host.
        mounts = [folder_in_memory(path, _VOLUME_SIZE) for path in config.get("Volumes") or ()]
        # The container's own variables would stay in the image.
        set_them = ("env", *(f"{name}={value}" for name, value in variables.items())) if variables else ()
        return {
            "Image": image,
            "Entrypoint": [*set_them, *command],
            "Cmd": [],
            "Labels": dict(self._labels),
            # Given to an image without one, it would stay there.
            **({"Healthcheck": {"Test": ["NONE"]}} if config.get("Healthcheck") else {}),
            "HostConfig": host | {"CapAdd": list(CAPABILITIES), "Mounts": mounts},
        }


def _shown(command: Sequence[str]) -> str:
    text = " ".join(command)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def _command(text: str, shell: Sequence[str]) -> tuple[str, ...]:
    """What a ``RUN`` runs: a list as it is, any other text with the shell."""
    if text.startswith("["):
        try:
            # Of what follows the list, the classic builder reads nothing either.
            words, _ = json.JSONDecoder().raw_decode(text)
        except (ValueError, RecursionError):
            words = None
        if words and isinstance(words, list) and all(isinstance(word, str) for word in words):
            return tuple(words)
    return (*shell, text)
