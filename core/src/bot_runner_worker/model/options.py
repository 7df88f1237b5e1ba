"""Options of a bot's container that plugins ask for, and how they are merged.

The types validate themselves: a wrong value raises pydantic's ``ValidationError`` where the plugin makes it.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, StrictBool, StrictBytes, StrictInt, ValidationError
from pydantic.dataclasses import dataclass

from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.model.paths import MAX_FILES, FileManifest, checked_path

MAX_TEXT = 128 * 1024
"""Bytes of all texts of one option: an environment or a command line that is larger does not start."""

MAX_ITEMS = 1000

_CLOSED_TARGETS = ("/dev", "/proc", "/sys")

_Texts = TypeVar("_Texts", tuple[str, ...], Mapping[str, str])


def _bounded(texts: _Texts) -> _Texts:
    every = [*texts, *texts.values()] if isinstance(texts, Mapping) else texts
    if sum(map(len, map(str.encode, every))) > MAX_TEXT:
        raise ValueError(f"more than {MAX_TEXT} bytes in all")
    return texts


def _file_path(path: str) -> str:
    if checked_path(path) != path:
        raise ValueError("a path is not in its plainest form; use Files.of")
    return path


def _absolute(path: str) -> str:
    if not path.startswith("/") or ".." in PurePosixPath(path).parts or not path.isprintable():
        raise ValueError(f"{path[:80]!r} is not an absolute path")
    return path


def _target(path: str) -> str:
    path = "/" + "/".join(part for part in path.split("/") if part not in ("", "."))
    if path == "/" or any(PurePosixPath(path).is_relative_to(closed) for closed in _CLOSED_TARGETS):
        raise ValueError(f"{path[:80]!r} is the container's own")
    if ":" in path or "," in path:
        raise ValueError(f"{path[:80]!r} holds a colon or comma")
    return path


def _few_files(files: "tuple[Files, ...]") -> "tuple[Files, ...]":
    if sum(len(each.content) for each in files) > MAX_FILES:
        raise ValueError(f"more than {MAX_FILES} files")
    return files


# The pattern also refuses what is no valid Unicode.
_Text = Annotated[str, Field(strict=True, max_length=MAX_TEXT, pattern=r"\A[^\x00]*\z")]
_Variable = Annotated[_Text, Field(pattern=r"\A[A-Za-z_][A-Za-z0-9_]{0,127}\z")]
_User = Annotated[_Text, Field(pattern=r"\A[A-Za-z0-9_.-]{1,64}(:[A-Za-z0-9_.-]{1,64})?\z")]
_Capability = Annotated[_Text, Field(pattern=r"\A[A-Z][A-Z_]{1,40}\z")]
_Absolute = Annotated[_Text, AfterValidator(_absolute)]
_Target = Annotated[_Absolute, AfterValidator(_target)]
_Device = Annotated[_Text, Field(pattern=r"\A[^:]*\z"), AfterValidator(_absolute)]
_Count = Annotated[StrictInt, Field(ge=0)]
_Words = Annotated[tuple[_Text, ...], Field(max_length=MAX_ITEMS), AfterValidator(_bounded)]
_FEW = Field(max_length=MAX_ITEMS)
_STRICT = ConfigDict(extra="forbid", hide_input_in_errors=True)


@dataclass(frozen=True, slots=True, config=_STRICT)
class Files:
    """Files that are put into the created container before it starts.

    Args:
        root: Absolute folder inside the container.
        content: Bytes by relative path below ``root``; see :meth:`of` for a checked way to make it.
        owner: Numeric user and group that own the files.
    """

    root: _Absolute
    content: Annotated[
        Mapping[Annotated[str, Field(strict=True), AfterValidator(_file_path)], StrictBytes],
        Field(max_length=MAX_FILES),
    ]
    owner: _Count = 0

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
        manifest = FileManifest(max_size)
        content: dict[str, bytes] = {}
        for path, value in files.items():
            data = value.encode() if isinstance(value, str) else value
            content[manifest.add(path, len(data))] = data
        return cls(root, content, owner)

    def digest(self) -> str:
        """Hex SHA-256 of the paths, contents and owner."""
        total = hashlib.sha256(f"{self.root}\0{self.owner}".encode())
        for path in sorted(self.content):
            total.update(f"\0{path}\0".encode() + hashlib.sha256(self.content[path]).digest())
        return total.hexdigest()


@dataclass(frozen=True, slots=True, config=_STRICT)
class Device:
    """A device of the Engine's host; ``PLUGIN_GRANTS`` has to open it to the plugin.

    Args:
        path: Its path on the host, such as ``/dev/nvidia0``.
        inside: Its path in the container; the same by default.
        writable: Whether the bot may also write to it.
    """

    path: _Device
    inside: Literal[""] | _Device = ""
    writable: StrictBool = True

    def __post_init__(self) -> None:
        if not self.inside:
            object.__setattr__(self, "inside", self.path)


@dataclass(frozen=True, slots=True, config=_STRICT)
class Mount:
    """A folder or file of the host; ``PLUGIN_GRANTS`` has to open it to the plugin.

    Args:
        source: Absolute path on the host, exactly as it is granted. It must be there: nothing is created.
        target: Absolute path in the container.
        writable: Whether the bot may also write to it.
    """

    source: _Absolute
    target: _Target
    writable: StrictBool = False


@dataclass(frozen=True, slots=True, config=_STRICT)
class ContainerOptions:
    """Options of a bot's container that one plugin asks for.

    What is left out keeps the image's or the core's value. There is no way to ask for other limits, networks
    or privileges: these are the core's. Devices, mounts, capabilities and GPUs are refused with
    ``OPTION_REFUSED``, unless the operator opens each of them to this plugin with ``PLUGIN_GRANTS``.

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

    entrypoint: _Words | None = None
    command: _Words | None = None
    environment: Annotated[Mapping[_Variable, _Text], _FEW, AfterValidator(_bounded)] = field(
        default_factory=dict
    )
    working_dir: _Absolute | None = None
    user: _User | None = None
    files: Annotated[tuple[Files, ...], _FEW, AfterValidator(_few_files)] = ()
    labels: Annotated[Mapping[_Text, _Text], _FEW, AfterValidator(_bounded)] = field(default_factory=dict)
    # The kernel takes a size of 0 for "unlimited".
    tmpfs: Annotated[Mapping[_Target, Annotated[StrictInt, Field(ge=4096)]], _FEW] = field(
        default_factory=dict
    )
    devices: Annotated[tuple[Device, ...], _FEW] = ()
    mounts: Annotated[tuple[Mount, ...], _FEW] = ()
    capabilities: Annotated[tuple[_Capability, ...], _FEW] = ()
    gpus: _Count = 0


_OPTION_OF_TYPE = {"Files": "files", "Device": "devices", "Mount": "mounts", "ContainerOptions": ""}


def wrong_option(error: BaseException) -> tuple[str, str] | None:
    """The option and reason of a ``ValidationError`` here; ``None`` for other errors."""
    if not isinstance(error, ValidationError) or error.title not in _OPTION_OF_TYPE:
        return None
    first = error.errors(include_url=False, include_input=False)[0]
    option = _OPTION_OF_TYPE[error.title] or str(first["loc"][0])
    return option[:100], first["msg"].removeprefix("Value error, ")[:500]


def _entries(options: ContainerOptions) -> Iterator[tuple[str, str, Any]]:
    """Yield option, key and value of all that only one plugin may set."""
    for option in ("entrypoint", "command", "working_dir", "user"):
        if (value := getattr(options, option)) is not None:
            yield option, option, value
    if options.gpus:
        yield "gpus", "gpus", options.gpus
    for option in ("environment", "labels", "tmpfs"):
        for key, value in getattr(options, option).items():
            yield option, key, value
    for device in options.devices:
        yield "devices", device.inside, device
    for mount in options.mounts:
        yield "mounts", mount.target, mount


def merge(contributions: Iterable[tuple[str, ContainerOptions]]) -> ContainerOptions:
    """Merge the plugins' options into one.

    Args:
        contributions: Plugin names with their options.

    Raises:
        Rejected: ``OPTION_REFUSED`` if two plugins set the same thing to different values, or all plugins'
            options together are too large.
    """
    found: dict[tuple[str, str], tuple[str, Any]] = {}
    capabilities: set[str] = set()
    files: list[Files] = []
    for plugin, options in contributions:
        for option, key, value in _entries(options):
            other, previous = found.setdefault((option, key), (plugin, value))
            if previous != value:
                raise Rejected(
                    Code.OPTION_REFUSED,
                    f"The plugins {other} and {plugin} set the container's {key} to different values.",
                    hint="Ask the operator to leave out one of the plugins.",
                    details={"option": key, "plugins": [other, plugin]},
                )
        capabilities.update(options.capabilities)
        files.extend(options.files)
    merged: dict[str, dict[str, Any]] = defaultdict(dict)
    for (option, key), (_, value) in found.items():
        merged[option][key] = value
    single: dict[str, Any] = {
        option: merged[option][option]
        for option in ("entrypoint", "command", "working_dir", "user", "gpus")
        if option in merged
    }
    try:
        return ContainerOptions(
            environment=merged["environment"],
            labels=merged["labels"],
            tmpfs=merged["tmpfs"],
            devices=tuple(merged["devices"].values()),
            mounts=tuple(merged["mounts"].values()),
            capabilities=tuple(sorted(capabilities)),
            files=tuple(files),
            **single,
        )
    except ValidationError as error:
        option, reason = wrong_option(error) or ("", "")
        raise Rejected(
            Code.OPTION_REFUSED,
            f"The {option} of all plugins together cannot be used: {reason}.",
            hint="Ask the operator to leave out one of the plugins.",
            details={"option": option},
        ) from None
