"""Checks of the Engine: version, limits, storage, security, runtimes, disk, and the clocks."""

import re
from collections.abc import Iterator
from typing import Any

from bot_runner_worker.containers import probe_container, temporary
from bot_runner_worker.diagnostics.checks.context import CheckContext
from bot_runner_worker.diagnostics.results import (
    CheckResult,
    disk_space,
    engine_gone,
    failed,
    ok,
    warning,
)
from bot_runner_worker.engine import EngineError
from bot_runner_worker.images.disk import EngineDisk
from bot_runner_worker.model.quantities import format_size

OLDEST_API = (1, 41)
"""That of Engine 20.10."""

TESTED = ("20.10", "26.1")
"""The Engines that the tests run on, see ``make test-engines``; docs/operating.md says so too."""

_NEWEST_TESTED_API = (1, 45)

NOTABLE_DRIFT = 5.0
"""Seconds between two clocks that are pointed out."""

REFUSED_DRIFT = 60.0
"""Seconds of difference from which the orchestrator refuses a worker's messages for their age."""

_QUOTA_REFUSED = re.compile("storage-opt", re.IGNORECASE)
_OPEN_API = re.compile(r"API is accessible on", re.IGNORECASE)


async def version(context: CheckContext) -> CheckResult:
    """Check whether it answers, and speaks an API that this worker knows."""
    if context.engine_facts is None:
        return engine_gone(context.settings.docker_host, context.engine_problem)
    answer, info = context.facts.version, context.facts.info
    # The client speaks the newest API that the Engine has, whichever older ones that has given up.
    finding = (
        f"{answer['Version']}, API {answer['ApiVersion']} (back to {answer.get('MinAPIVersion', '?')}), "
        f"{info['OSType']}, {info['NCPU']} CPUs, {format_size(info['MemTotal'])}"
    )
    api = _numbers(answer["ApiVersion"])
    if info["OSType"] != "linux":
        return failed(finding, "Bots need an Engine with Linux containers.")
    if api < OLDEST_API:
        return failed(
            f"{finding}; older than API 1.41",
            "Upgrade to Docker Engine 20.10 (API 1.41) or later.",
        )
    if api > _NEWEST_TESTED_API:
        return ok(
            f"{finding}; newer than the Engines that were tested ({', '.join(TESTED)})",
            "See what is known of newer Engines in docs/operating.md.",
        )
    return ok(finding)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


async def limits(context: CheckContext) -> CheckResult:
    """Check whether the kernel enforces the limits of bots."""
    info = context.facts.info
    finding = f"cgroup v{info.get('CgroupVersion', '1')}, driver {info.get('CgroupDriver', '?')}"
    needed = {"memory": "MemoryLimit", "CPU": "CpuCfsQuota", "processes": "PidsLimit"}
    missing = [what for what, name in needed.items() if not info.get(name)]
    if missing:
        return failed(
            f"{finding}; the kernel does not limit {', '.join(missing)}",
            "Enable the cgroup controllers memory, cpu and pids.",
        )
    if not info.get("SwapLimit"):
        return warning(
            f"{finding}; the kernel does not limit swap, which a bot may use beyond its memory",
            "Switch swap off, or boot with swapaccount=1.",
        )
    return ok(f"{finding}; memory, swap, CPU and processes are limited")


async def storage(context: CheckContext) -> CheckResult:
    """Check whether images are stored as in the tests."""
    info = context.facts.info
    driver, status = info["Driver"], {str(name): str(value) for name, value in info["DriverStatus"] or ()}
    files = status.get("Backing Filesystem", "")
    finding = driver + (f" on {files}" if files else "")
    if "snapshotter" in status.get("driver-type", ""):
        return warning(
            f"{finding}: containerd's image store, with which the limits of images are not kept",
            'Set {"features": {"containerd-snapshotter": false}} in daemon.json; images are then pulled and '
            "built again.",
        )
    if driver == "vfs":
        return warning(
            f"{finding}: copies the whole image for each bot",
            "Put the Engine's data on ext4 or XFS, where it uses overlay2.",
        )
    if driver != "overlay2":
        return warning(
            f"{finding}: this worker was tested with overlay2 only",
            "Use the storage driver overlay2.",
        )
    return ok(finding)


async def security(context: CheckContext) -> CheckResult:
    """Check what protects the host from a bot that breaks out; a recommendation is a hint."""
    info = context.facts.info
    # Such as name=seccomp,profile=default
    options = dict(
        (each.removeprefix("name=").partition(",")[::2]) for each in info.get("SecurityOptions") or ()
    )
    ours = context.settings.container_seccomp == "strict"
    problems = list(_security_problems(info, options, ours=ours))
    mapped = "rootless" if "rootless" in options else "userns-remap" if "userns" in options else ""
    finding = ", ".join(
        [
            "seccomp" if "seccomp" in options else "no seccomp",
            next((name for name in ("apparmor", "selinux") if name in options), "no AppArmor or SELinux"),
            mapped or "no userns-remap",
            "live-restore" if info.get("LiveRestoreEnabled") else "no live-restore",
        ]
    )
    hints = []
    if not mapped:
        hints.append("With userns-remap (daemon.json), root in a bot is nobody on the host.")
    if not info.get("LiveRestoreEnabled"):
        hints.append("With live-restore (daemon.json), bots go on running while the Engine is restarted.")
    # The Engine then refuses every container that comes with a profile (WithSeccomp in moby's daemon).
    refused = ours and "seccomp" not in options
    return (failed if refused else warning if problems else ok)(
        "; ".join([finding, *(what for what, _ in problems)]),
        " ".join([*(remedy for _, remedy in problems), *hints]),
    )


def _security_problems(
    info: dict[str, Any], options: dict[str, str], *, ours: bool
) -> Iterator[tuple[str, str]]:
    if ours and "seccomp" not in options:
        yield (
            "the Engine cannot apply CONTAINER_SECCOMP=strict: no bot starts",
            "Use a kernel and an Engine with seccomp, or set CONTAINER_SECCOMP to engine: bots may then use "
            "every system call.",
        )
    if not ours and options.get("seccomp", "profile=unconfined") == "profile=unconfined":
        yield (
            "bots may use every system call",
            "Use a kernel and an Engine with seccomp, and its default profile.",
        )
    if any(_OPEN_API.search(warning) for warning in info.get("Warnings") or ()):
        yield (
            "the Engine's API is open to the network",
            "Take the tcp:// address out of the Engine's hosts, or protect it with TLS (tlsverify).",
        )


async def runtime(context: CheckContext) -> CheckResult:
    """Check whether the Engine has the bots' runtime; the base image's check uses it."""
    info, wanted = context.facts.info, context.settings.container_runtime
    if wanted is None:
        return ok(f"the Engine's own ({info.get('DefaultRuntime', 'runc')})")
    if wanted not in info.get("Runtimes", {}):
        return failed(
            f"the Engine knows no {wanted}, but {', '.join(sorted(info.get('Runtimes', {})))}: no bot starts",
            "Add it to runtimes in daemon.json, or correct CONTAINER_RUNTIME.",
        )
    return ok(wanted)


async def disk(context: CheckContext) -> CheckResult:
    """Check the free space on the Engine's disk."""
    free = await EngineDisk(context.engine, context.settings).free()
    return disk_space(free, context.settings.min_free_disk)


async def disk_limit(context: CheckContext) -> CheckResult:
    """Check whether the Engine limits a container's size, with one that is created and never started."""
    size = format_size(context.settings.container_disk_limit)
    if context.facts.base_image is None:
        return warning("cannot be tried without the base image", "Pull the base image.")
    runtime = context.settings.container_runtime
    name, config = probe_container(context.settings, ["true"], runtime=runtime, storage={"size": "64m"})
    try:
        async with temporary(context.engine, name, config):
            return ok(f"{size}, enforced by the Engine's storage")
    except EngineError as error:
        if not _QUOTA_REFUSED.search(error.message):
            raise
    return ok(
        f"{size}, watched by the worker: this storage cannot enforce it",
        "With overlay2 on XFS that is mounted with pquota, the kernel enforces it.",
    )


async def clock(context: CheckContext) -> CheckResult:
    """Compare this process's clock with the Engine's and the orchestrator's."""
    orchestrators = context.orchestrator.clock_drift
    engines = context.engine_facts.clock_drift if context.engine_facts else None
    drifts = {"the orchestrator's": orchestrators, "the Engine's": engines}
    known = {whose: seconds for whose, seconds in drifts.items() if seconds is not None}
    if not known:
        return warning("nobody answers whose clock could be compared")
    off = {whose: seconds for whose, seconds in known.items() if abs(seconds) >= NOTABLE_DRIFT}
    if not off:
        return ok(f"agrees with {' and '.join(known)}")
    finding = "; ".join(
        f"{whose} is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} this one"
        for whose, seconds in off.items()
    )
    remedy = "Let all machines keep their time with NTP (timedatectl set-ntp true)."
    if orchestrators is not None and abs(orchestrators) >= REFUSED_DRIFT:
        return failed(f"{finding}, so that it refuses this worker's messages", remedy)
    return warning(finding, remedy)
