"""The Engine: version, limits that its kernel keeps, storage, security, runtimes."""

import re
from collections.abc import Iterator
from typing import Any

from bot_runner_worker.diagnostics import results as findings
from bot_runner_worker.diagnostics.checks.context import CheckContext
from bot_runner_worker.diagnostics.results import Check, State
from bot_runner_worker.model.quantities import format_size

LIMITS = "limits"
STORAGE = "storage"
SECURITY = "Engine's security"
RUNTIME = "container runtime"

OLDEST_API = (1, 41)
"""That of Engine 20.10."""

TESTED = ("20.10", "26.1")
"""The Engines that the tests run on, see ``make test-engines``; docs/operating.md says so too."""

_NEWEST_TESTED_API = (1, 45)
_OPEN_API = re.compile(r"API is accessible on", re.IGNORECASE)


async def version(here: CheckContext) -> Check:
    """Whether it answers, and speaks what this worker needs."""
    if isinstance(here.facts, str):
        return findings.engine_gone(here.settings.docker_host, here.facts)
    answer, info = here.facts.version, here.facts.info
    # The client speaks the newest API that the Engine has, whichever older ones that has given up.
    finding = (
        f"{answer['Version']}, API {answer['ApiVersion']} (back to {answer.get('MinAPIVersion', '?')}), "
        f"{info['OSType']}, {info['NCPU']} CPUs, {format_size(info['MemTotal'])}"
    )
    api = _numbers(answer["ApiVersion"])
    if info["OSType"] != "linux":
        return Check(findings.ENGINE, State.FAILED, finding, "Bots need an Engine with Linux containers.")
    if api < OLDEST_API:
        return Check(
            findings.ENGINE,
            State.FAILED,
            f"{finding}; older than API 1.41",
            "Upgrade to Docker Engine 20.10 (API 1.41) or later.",
        )
    if api > _NEWEST_TESTED_API:
        return Check(
            findings.ENGINE,
            State.OK,
            f"{finding}; newer than the Engines that were tested ({', '.join(TESTED)})",
            "See what is known of newer Engines in docs/operating.md.",
        )
    return Check(findings.ENGINE, State.OK, finding)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


async def limits(here: CheckContext) -> Check:
    """Whether the kernel enforces the limits that bots are given."""
    info = here.known.info
    finding = f"cgroup v{info.get('CgroupVersion', '1')}, driver {info.get('CgroupDriver', '?')}"
    needed = {"memory": "MemoryLimit", "CPU": "CpuCfsQuota", "processes": "PidsLimit"}
    missing = [what for what, name in needed.items() if not info.get(name)]
    if missing:
        return Check(
            LIMITS,
            State.FAILED,
            f"{finding}; the kernel does not limit {', '.join(missing)}",
            "Enable the cgroup controllers memory, cpu and pids.",
        )
    if not info.get("SwapLimit"):
        return Check(
            LIMITS,
            State.WARNING,
            f"{finding}; the kernel does not limit swap, which a bot may use beyond its memory",
            "Switch swap off, or boot with swapaccount=1.",
        )
    return Check(LIMITS, State.OK, f"{finding}; memory, swap, CPU and processes are limited")


async def storage(here: CheckContext) -> Check:
    """Whether images are kept as the tests have them."""
    info = here.known.info
    driver, status = info["Driver"], {str(name): str(value) for name, value in info["DriverStatus"] or ()}
    files = status.get("Backing Filesystem", "")
    finding = driver + (f" on {files}" if files else "")
    if "snapshotter" in status.get("driver-type", ""):
        return Check(
            STORAGE,
            State.WARNING,
            f"{finding}: containerd's image store, with which the limits of images are not kept",
            'Set {"features": {"containerd-snapshotter": false}} in daemon.json; images are then pulled and '
            "built again.",
        )
    if driver == "vfs":
        return Check(
            STORAGE,
            State.WARNING,
            f"{finding}: copies the whole image for each bot",
            "Put the Engine's data on ext4 or XFS, where it uses overlay2.",
        )
    if driver != "overlay2":
        return Check(
            STORAGE,
            State.WARNING,
            f"{finding}: this worker was tested with overlay2 only",
            "Use the storage driver overlay2.",
        )
    return Check(STORAGE, State.OK, finding)


async def security(here: CheckContext) -> Check:
    """What stands between a bot that breaks out, and the host; what is only advisable is a hint."""
    info = here.known.info
    # Such as name=seccomp,profile=default
    options = dict(
        (each.removeprefix("name=").partition(",")[::2]) for each in info.get("SecurityOptions") or ()
    )
    problems = list(_security_problems(info, options))
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
    return Check(
        SECURITY,
        State.WARNING if problems else State.OK,
        "; ".join([finding, *(what for what, _ in problems)]),
        " ".join([*(remedy for _, remedy in problems), *hints]),
    )


def _security_problems(info: dict[str, Any], options: dict[str, str]) -> Iterator[tuple[str, str]]:
    if "seccomp" not in options or options["seccomp"] == "profile=unconfined":
        yield (
            "bots may use every system call",
            "Use a kernel and an Engine with seccomp, and its default profile.",
        )
    if any(_OPEN_API.search(warning) for warning in info.get("Warnings") or ()):
        yield (
            "the Engine's API is open to the network",
            "Take the tcp:// address out of the Engine's hosts, or protect it with TLS (tlsverify).",
        )


async def runtime(here: CheckContext) -> Check:
    """Whether the Engine has the bots' runtime; whether that works, the base image's check shows."""
    info, wanted = here.known.info, here.settings.container_runtime
    if wanted is None:
        return Check(RUNTIME, State.OK, f"the Engine's own ({info.get('DefaultRuntime', 'runc')})")
    if wanted not in info.get("Runtimes", {}):
        return Check(
            RUNTIME,
            State.FAILED,
            f"the Engine knows no {wanted}, but {', '.join(sorted(info.get('Runtimes', {})))}: no bot starts",
            "Add it to runtimes in daemon.json, or correct CONTAINER_RUNTIME.",
        )
    return Check(RUNTIME, State.OK, wanted)
