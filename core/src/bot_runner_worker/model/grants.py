"""Grants: what ``PLUGIN_GRANTS`` opens to one plugin, entry by entry.

An entry names the plugin, one kind of thing, and the thing itself::

    gpu-limits:device=/dev/nvidia0       this device, to read and write; with :r only to read
    gpu-limits:gpus=1                    as many GPUs for a bot, through the Engine's own support for them
    models:mount=/srv/models             exactly this folder or file of the host, to read; with :rw to write
    ping:capability=NET_RAW              this capability

Some things can be opened to nobody, since whoever has them has the host: they are refused here, when the
settings are read. Nor is there anything in :class:`~.options.ContainerOptions` to ask for a privileged
container, the host's network or other limits with.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator

from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.model.identity import LABEL_PREFIX
from bot_runner_worker.model.options import ContainerOptions

Kind = Literal["device", "mount", "capability", "gpus"]

CAPABILITIES = frozenset(
    (
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "IPC_LOCK", "KILL", "NET_BIND_SERVICE",
        "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT", "SYS_NICE",
    )
)  # fmt: skip
"""Capabilities that can be opened: the Engine's own defaults without MKNOD, and two that reach no further
than the container. Any other one (SYS_ADMIN, SYS_PTRACE, NET_ADMIN …) is a way out of it, or around the
firewall."""

MAX_GPUS = 64

_CLOSED_FOLDERS = (
    "/boot", "/dev", "/etc", "/proc", "/root", "/run", "/sys", "/usr", "/var/lib/containerd",
    "/var/lib/docker", "/var/run",
)  # fmt: skip
"""Folders that are mounted into no bot, nor what is in them, nor what they are in: sockets of the Engine and
of others, the kernel, other containers, what root runs."""

_CLOSED_DEVICES = re.compile(
    # Memory, disks by their usual names, what makes disks out of files or of other machines, and consoles. A
    # disk can have any other name: this saves an operator from a slip, not from a wish.
    r"/dev/(mem|kmem|port|kmsg|([shv]|xv)d[a-z].*|sr\d.*|sg\d.*|nvme.*|mmcblk.*|md.*|dm-.*|loop.*|nbd.*|rbd.*|"
    r"zram.*|ram\d.*|fd.*|root|autofs|fuse|btrfs-control|uinput|tty(?!USB|ACM).*|console|vhost.*|uio.*|"
    r"watchdog.*|(block|bsg|char|cpu|disk|input|mapper|net|pts|shm|vfio)(/.*)?)"
)
_ENTRY = re.compile(r"(?P<plugin>[A-Za-z0-9][A-Za-z0-9_.-]*):(?P<kind>[a-z]+)=(?P<value>\S+)")


@dataclass(frozen=True, slots=True)
class Grant:
    """One thing that is open to one plugin.

    Args:
        plugin: The name of the plugin's entry point.
        kind: What kind of thing it is.
        value: A path on the Engine's host, a capability, or a number of GPUs.
        writable: Whether a device or mount may be written to.
    """

    plugin: str
    kind: Kind
    value: str
    writable: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read one entry, see the module's text.

        Raises:
            ValueError: If it is none, or opens what can be opened to nobody.
        """
        found = _ENTRY.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is not of the form PLUGIN:device=PATH, such as tv:device=/dev/dvb0")
        plugin, value = found["plugin"], found["value"]
        match found["kind"]:
            case "device":
                path, _, mode = value.partition(":")
                _check_device(path, mode)
                return cls(plugin, "device", path, writable=mode != "r")
            case "mount":
                path, _, mode = value.partition(":")
                _check_mount(path, mode)
                return cls(plugin, "mount", path, writable=mode == "rw")
            case "capability":
                name = value.upper().removeprefix("CAP_")
                if name not in CAPABILITIES:
                    allowed = ", ".join(sorted(CAPABILITIES))
                    raise ValueError(f"{value} cannot be opened to a bot; capabilities that can: {allowed}")
                return cls(plugin, "capability", name)
            case "gpus":
                if not value.isascii() or not value.isdigit() or not 0 < int(value) <= MAX_GPUS:
                    raise ValueError(f"gpus={value}: not a number from 1 to {MAX_GPUS}")
                return cls(plugin, "gpus", value)
            case kind:
                raise ValueError(f"{kind!r} is none of device, mount, capability, gpus")

    def __str__(self) -> str:
        suffix = {("device", False): ":r", ("mount", True): ":rw"}.get((self.kind, self.writable), "")
        return f"{self.plugin}:{self.kind}={self.value}{suffix}"


def _parsed(value: Any) -> Any:
    return Grant.parse(value) if isinstance(value, str) else value


GrantField = Annotated[Grant, BeforeValidator(_parsed)]
"""A pydantic field with one entry of the list."""


def check_grants(grants: Iterable[Grant], *, engine_socket: str, bots_are_neighbours: bool) -> None:
    """Check that grants fit each other and the other settings.

    Args:
        grants: All of them.
        engine_socket: Address of the Engine.
        bots_are_neighbours: Whether bots share one network.

    Raises:
        ValueError: If one opens more than it says.
    """
    grants = tuple(grants)
    mounts = [grant for grant in grants if grant.kind == "mount"]
    socket = PurePosixPath(engine_socket.removeprefix("unix://"))
    for mount in mounts:
        path = PurePosixPath(mount.value)
        if engine_socket.startswith("unix://") and socket.is_relative_to(path):
            raise ValueError(f"PLUGIN_GRANTS: {mount}: the Engine's socket can be opened to nobody")
        for outer in mounts:
            # What can be written to can be turned into a link to anywhere, which the Engine would follow.
            if outer.writable and path != PurePosixPath(outer.value) and path.is_relative_to(outer.value):
                raise ValueError(
                    f"PLUGIN_GRANTS: {mount} lies in {outer}, from where a bot could lead it anywhere"
                )
    for grant in grants:
        if grant.kind == "capability" and grant.value == "NET_RAW" and bots_are_neighbours:
            raise ValueError(
                f"PLUGIN_GRANTS: {grant}: with NETWORK_MODE=shared, a bot could pose as its neighbours"
            )


def check_granted(plugin: str, options: ContainerOptions, grants: Iterable[Grant]) -> None:
    """Refuse what is not open to a plugin.

    Args:
        plugin: The plugin's name.
        options: What it asks for.
        grants: The operator's.

    Raises:
        Rejected: ``OPTION_REFUSED``, with the entry that would open it; labels of the runner's own cannot be
            opened.
    """
    for label in options.labels:
        if label.lower().startswith(LABEL_PREFIX):
            raise Rejected(
                Code.OPTION_REFUSED,
                f"The plugin {plugin} tried to set the label {label[:100]}, which is the runner's own.",
                hint="This is a fault of the plugin; report it to the operator.",
                details={"plugin": plugin, "option": "labels"},
            )
    mine = [grant for grant in grants if grant.plugin == plugin]
    for device in options.devices:
        wanted = Grant(plugin, "device", device.path, device.writable)
        if not _covered(wanted, mine):
            raise _refused(plugin, f"the device {device.path}", wanted)
    for mount in options.mounts:
        wanted = Grant(plugin, "mount", mount.source, mount.writable)
        if not _covered(wanted, mine):
            way = "to write" if mount.writable else "to read"
            raise _refused(plugin, f"the mount of {mount.source} {way}", wanted)
    for name in options.capabilities:
        wanted = Grant(plugin, "capability", name)
        if wanted not in mine:
            raise _refused(plugin, f"the capability {name}", wanted)
    if options.gpus > max((int(grant.value) for grant in mine if grant.kind == "gpus"), default=0):
        raise _refused(plugin, f"{options.gpus} GPUs", Grant(plugin, "gpus", str(options.gpus)))


def _covered(wanted: Grant, grants: Iterable[Grant]) -> bool:
    return any(
        (each.kind, each.value) == (wanted.kind, wanted.value) and (each.writable or not wanted.writable)
        for each in grants
    )


def _refused(plugin: str, what: str, wanted: Grant) -> Rejected:
    try:
        Grant.parse(str(wanted))
    except ValueError:
        hint = "This can be opened to no plugin; report it to the plugin's author."
    else:
        hint = f"The operator can open exactly that with PLUGIN_GRANTS={wanted}."
    return Rejected(
        Code.OPTION_REFUSED,
        f"The plugin {plugin} asks for {what}, which is not open to it.",
        hint=hint,
        details={"plugin": plugin, "option": wanted.kind, "value": wanted.value},
    )


def _check_device(path: str, mode: str) -> None:
    _check_path(path)
    if not path.startswith("/dev/") or mode not in ("", "r", "rw"):
        raise ValueError(f"{path}: not a path of a device, such as /dev/nvidia0 or /dev/nvidia0:r")
    if _CLOSED_DEVICES.fullmatch(path):
        raise ValueError(f"{path}: whoever has this device has the host, it can be opened to nobody")


def _check_mount(path: str, mode: str) -> None:
    _check_path(path)
    if mode not in ("", "r", "rw"):
        raise ValueError(f"{path}:{mode}: after the path of a mount comes nothing, or :rw")
    for closed in _CLOSED_FOLDERS:
        inner, outer = PurePosixPath(path), PurePosixPath(closed)
        if inner.is_relative_to(outer) or outer.is_relative_to(inner):
            raise ValueError(f"{path}: holds, or lies in, {closed}, which can be opened to nobody")


def _check_path(path: str) -> None:
    if not path.startswith("/") or path.startswith("//") or str(PurePosixPath(path)) != path or ".." in path:
        raise ValueError(f"{path!r} is not an absolute path in its plainest form")
