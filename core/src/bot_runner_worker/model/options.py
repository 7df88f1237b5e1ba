"""What plugins may ask of a bot's container, and how it is merged: plugins propose, the core disposes."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.model.identity import LABEL_PREFIX
from bot_runner_worker.model.paths import MAX_FILES, checked_path
from bot_runner_worker.model.quantities import format_size


@dataclass(frozen=True, slots=True)
class Files:
    """Files that are put into the created container before it starts.

    Args:
        root: Absolute folder inside the container.
        content: Bytes by relative path below ``root``; see :meth:`of` for a checked way to make it.
        owner: Numeric user and group that own the files.
    """

    root: str
    content: Mapping[str, bytes]
    owner: int = 0

    @classmethod
    def of(cls, root: str, files: Mapping[str, str | bytes], *, owner: int = 0, max_size: int) -> Self:
        """Check paths and sizes.

        Args:
            root: Absolute folder inside the container.
            files: Text or bytes by relative path.
            owner: Numeric user and group that own the files.
            max_size: Largest sum of sizes in bytes.

        Raises:
            Rejected: ``INVALID_PATH`` or ``CONTEXT_TOO_LARGE``.
        """
        content: dict[str, bytes] = {}
        seen: set[str] = set()
        for path, value in files.items():
            name = checked_path(path)
            content[name] = value.encode() if isinstance(value, str) else value
            seen.add(name.casefold())
        folders = {
            "/".join(name.split("/")[:depth]) for name in seen for depth in range(1, name.count("/") + 1)
        }
        if len(seen) != len(files) or seen & folders:
            raise Rejected(
                Code.INVALID_PATH,
                "A path is there twice, or is a file and a folder at once.",
                hint="Give each file a path of its own; upper and lower case do not make a difference.",
            )
        if len(content) > MAX_FILES or sum(map(len, content.values())) > max_size:
            raise Rejected(
                Code.CONTEXT_TOO_LARGE,
                f"The bot has more than {MAX_FILES} files, or more than {format_size(max_size)} of them.",
                hint="Leave out what the bot does not need, or ask the operator to raise MAX_CONTEXT_SIZE.",
                details={"limit_bytes": max_size, "limit_files": MAX_FILES},
            )
        return cls(root, content, owner)

    def digest(self) -> str:
        """Hex SHA-256 of the paths, contents and owner."""
        total = hashlib.sha256(f"{self.root}\0{self.owner}".encode())
        for path in sorted(self.content):
            total.update(f"\0{path}\0".encode() + hashlib.sha256(self.content[path]).digest())
        return total.hexdigest()


@dataclass(frozen=True, slots=True)
class Device:
    """A device of the Engine's host; refused unless the operator's ``PLUGIN_GRANTS`` open it.

    Args:
        path: Its path on the host, such as ``/dev/nvidia0``.
        inside: Its path in the container; the same by default.
        writable: Whether the bot may also write to it.
    """

    path: str
    inside: str = ""
    writable: bool = True


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder or file of the Engine's host; refused unless the operator's ``PLUGIN_GRANTS`` open it.

    Args:
        source: Absolute path on the host, exactly as it is granted. It must be there: nothing is created.
        target: Absolute path in the container.
        writable: Whether the bot may also write to it.
    """

    source: str
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class ContainerOptions:
    """One plugin's wishes for the bot's container; what is left out keeps the image's or the core's value.

    There is no way to ask for other limits, networks or privileges: these are the core's. Devices, mounts,
    capabilities and GPUs are refused with ``OPTION_REFUSED``, unless the operator opens each of them to this
    plugin with ``PLUGIN_GRANTS``.

    Args:
        entrypoint: Replaces the image's entrypoint.
        command: Replaces the image's command.
        environment: Variables; the request's ``env_vars`` win over them.
        working_dir: Absolute folder.
        user: Name or numeric id, optionally with a group: ``10001:10001``.
        files: Put into the container before it starts.
        labels: Labels outside the runner's own prefix ``io.avtomatika.bot-runner.``.
        tmpfs: Size in bytes by absolute path of a folder in memory (counts against the memory limit).
        devices: Devices of the host.
        mounts: Folders and files of the host.
        capabilities: Linux capabilities without their prefix, such as ``NET_BIND_SERVICE``. They are of use
            to a bot that runs as root only.
        gpus: How many GPUs the bot gets, through the Engine's own support for them.
    """

    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    working_dir: str | None = None
    user: str | None = None
    files: tuple[Files, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    tmpfs: Mapping[str, int] = field(default_factory=dict)
    devices: tuple[Device, ...] = ()
    mounts: tuple[Mount, ...] = ()
    capabilities: tuple[str, ...] = ()
    gpus: int = 0


def merge(contributions: Iterable[tuple[str, ContainerOptions]]) -> ContainerOptions:
    """Merge the plugins' options into one.

    Args:
        contributions: Plugin names with their options.

    Raises:
        Rejected: ``OPTION_REFUSED`` if two plugins set the same thing to different values, or a label is the
            runner's own.
    """
    single: dict[str, tuple[str, object]] = {}
    mappings: dict[str, dict[str, tuple[str, object]]] = {"environment": {}, "labels": {}, "tmpfs": {}}
    devices: dict[str, tuple[str, object]] = {}
    mounts: dict[str, tuple[str, object]] = {}
    capabilities: set[str] = set()
    files: list[Files] = []
    for plugin, options in contributions:
        for name in ("entrypoint", "command", "working_dir", "user"):
            value = getattr(options, name)
            if value is not None:
                _set(single, name, plugin, value)
        for name, merged in mappings.items():
            for key, value in getattr(options, name).items():
                if name == "labels" and key.startswith(LABEL_PREFIX):
                    raise Rejected(
                        Code.OPTION_REFUSED,
                        f"The plugin {plugin} tried to set the label {key}, which is the runner's own.",
                        hint="This is a fault of the plugin; report it to the operator.",
                    )
                _set(merged, key, plugin, value)
        for device in options.devices:
            _set(devices, device.inside or device.path, plugin, device)
        for mount in options.mounts:
            _set(mounts, mount.target, plugin, mount)
        if options.gpus:
            _set(single, "gpus", plugin, options.gpus)
        capabilities.update(options.capabilities)
        files.extend(options.files)
    values = {name: value for name, (_, value) in single.items()}
    plain = {name: {key: value for key, (_, value) in merged.items()} for name, merged in mappings.items()}
    return ContainerOptions(
        files=tuple(files),
        devices=tuple(device for _, device in devices.values()),  # type: ignore[misc]
        mounts=tuple(mount for _, mount in mounts.values()),  # type: ignore[misc]
        capabilities=tuple(sorted(capabilities)),
        **values,  # type: ignore[arg-type]
        **plain,  # type: ignore[arg-type]
    )


def _set(target: dict[str, tuple[str, object]], key: str, plugin: str, value: object) -> None:
    previous = target.setdefault(key, (plugin, value))
    if previous[1] != value:
        raise Rejected(
            Code.OPTION_REFUSED,
            f"The plugins {previous[0]} and {plugin} set the container's {key} to different values.",
            hint="Ask the operator to leave out one of the plugins.",
            details={"option": key, "plugins": [previous[0], plugin]},
        )
