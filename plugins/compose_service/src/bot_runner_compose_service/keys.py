"""Which keys of a service a bot gets, which are refused, and which mean nothing here."""

from typing import Any

from bot_runner_compose_service.errors import COMPOSE_KEY_REFUSED, invalid
from bot_runner_worker.plugin import Rejected

_PRIVILEGES = (
    "Leave it out: a bot runs unprivileged, and the operator alone can open a device or a capability."
)
_NAMESPACES = "Leave it out: a bot shares nothing with the host or with other containers."
_NAMES = "Leave it out: the operator's resolvers are used; give addresses to the bot in its environment."
_SECRETS = "Send it as env_vars: the worker treats those as secrets, and files of the host are not there."

REFUSED = {
    "blkio_config": _PRIVILEGES,
    "cap_add": _PRIVILEGES,
    "cgroup": _NAMESPACES,
    "cgroup_parent": _NAMESPACES,
    "configs": _SECRETS,
    "credential_spec": _PRIVILEGES,
    "device_cgroup_rules": _PRIVILEGES,
    "devices": _PRIVILEGES,
    "dns": _NAMES,
    "dns_opt": _NAMES,
    "dns_search": _NAMES,
    "extends": "Write the service out: other files and services are not read.",
    "external_links": _NAMESPACES,
    "extra_hosts": _NAMES,
    "gpus": _PRIVILEGES,
    "group_add": _PRIVILEGES,
    "ipc": _NAMESPACES,
    "isolation": _NAMESPACES,
    "mac_address": _NAMESPACES,
    "models": _NAMESPACES,
    "network_mode": "Leave it out: a bot has a network of its own, from which it reaches the Internet.",
    "oom_kill_disable": _PRIVILEGES,
    "oom_score_adj": _PRIVILEGES,
    "pid": _NAMESPACES,
    "ports": "Leave it out: a bot asks Telegram for its updates, nothing from outside reaches it.",
    "post_start": "Do it in the image, or in the command.",
    "pre_stop": "Handle SIGTERM in the bot.",
    "privileged": _PRIVILEGES,
    "provider": _NAMESPACES,
    "runtime": "Leave it out: the operator chooses the runtime of bots.",
    "secrets": _SECRETS,
    "security_opt": _PRIVILEGES,
    "storage_opt": _PRIVILEGES,
    "sysctls": _PRIVILEGES,
    "use_api_socket": _PRIVILEGES,
    "userns_mode": _NAMESPACES,
    "uts": _NAMESPACES,
    "volumes_from": "Put the files into the image.",
}
"""What would weaken how bots are confined, or what the bot could not run without; with what to do instead."""

_LIMITS = "limits come with the request (resource_limits) and from the operator"
_WORKER = "the worker names, restarts, logs and stops bots its own way"
_ALONE = "only this one service is started"
_HARDENED = "bots are confined in any case"
_NETWORK = "a bot has a network of its own"

IGNORED = {
    "annotations": _WORKER, "attach": _WORKER, "container_name": _WORKER, "healthcheck": _WORKER,
    "init": _WORKER, "label_file": _WORKER, "labels": _WORKER, "log_driver": _WORKER, "log_opt": _WORKER,
    "logging": _WORKER, "platform": _WORKER, "pull_policy": _WORKER, "restart": _WORKER,
    "stdin_open": _WORKER, "stop_grace_period": _WORKER, "stop_signal": _WORKER, "tty": _WORKER,
    "depends_on": _ALONE, "develop": _ALONE, "links": _ALONE, "profiles": _ALONE, "scale": _ALONE,
    "cap_drop": _HARDENED, "read_only": _HARDENED,
    "domainname": _NETWORK, "expose": _NETWORK, "hostname": _NETWORK, "networks": _NETWORK,
    "cpu_count": _LIMITS, "cpu_percent": _LIMITS, "cpu_period": _LIMITS, "cpu_quota": _LIMITS,
    "cpu_rt_period": _LIMITS, "cpu_rt_runtime": _LIMITS, "cpu_shares": _LIMITS, "cpus": _LIMITS,
    "cpuset": _LIMITS, "deploy": _LIMITS, "mem_limit": _LIMITS, "mem_reservation": _LIMITS,
    "mem_swappiness": _LIMITS, "memswap_limit": _LIMITS, "pids_limit": _LIMITS, "shm_size": _LIMITS,
    "ulimits": _LIMITS,
    "env_file": "its variables come with env_vars",
}  # fmt: skip
"""What can be left out without harm, with the reason."""

TAKEN = frozenset(
    ("build", "image", "command", "entrypoint", "environment", "tmpfs", "user", "volumes", "working_dir")
)

BUILD_REFUSED = {
    "additional_contexts": "Put the files into the build's own context.",
    "args": "Write the values into the Dockerfile as defaults of its ARG lines.",
    "dockerfile_inline": "Put the Dockerfile into the repository.",
    "entitlements": _PRIVILEGES,
    "extra_hosts": _NAMES,
    "isolation": _NAMESPACES,
    "network": "Leave it out: builds have a network of their own.",
    "privileged": _PRIVILEGES,
    "secrets": "Builds get no secrets; fetch what needs one when the bot starts.",
    "ssh": "Builds get no secrets; fetch what needs one when the bot starts.",
    "target": "Put the stage last, or into a Dockerfile of its own: the last stage is built.",
}
BUILD_IGNORED = frozenset(
    ("cache_from", "cache_to", "labels", "no_cache", "platforms", "provenance", "pull", "sbom", "shm_size",
     "tags", "ulimits")
)  # fmt: skip
BUILD_TAKEN = frozenset(("context", "dockerfile"))

_HARMLESS = {
    "network_mode": ("bridge",),
    "security_opt": (["no-new-privileges"], ["no-new-privileges:true"], ["no-new-privileges=true"]),
}


def checked_keys(name: str, service: dict[str, Any]) -> list[str]:
    """Refuse what a bot does not get, and say what means nothing.

    Args:
        name: The service's name.
        service: Its keys, with those of its ``build`` as ``build.…``.

    Returns:
        Notes for the bot's author.

    Raises:
        Rejected: ``COMPOSE_KEY_REFUSED`` with a hint for each key, or ``INVALID_COMPOSE_FILE`` for one that
            Compose does not know.
    """
    refused = {key: hint for key, value in service.items() if (hint := _refusal(key, value))}
    if refused:
        shown = list(refused)[:8]
        raise Rejected(
            COMPOSE_KEY_REFUSED,
            f"The service {name} asks for what bots do not get here: {', '.join(shown)}.",
            hint=" ".join(f"{key}: {refused[key]}" for key in shown),
            details={"refused": refused},
        )
    notes: dict[str, list[str]] = {}
    for key, value in service.items():
        if key in TAKEN or key.startswith("x-") or key.removeprefix("build.") in BUILD_TAKEN:
            continue
        if key in IGNORED or key in REFUSED:
            if value not in (None, [], {}, "false"):
                notes.setdefault(IGNORED.get(key, _HARDENED), []).append(key)
        elif key.startswith("build."):
            if key.removeprefix("build.") not in BUILD_IGNORED | BUILD_REFUSED.keys():
                raise _unknown(name, key)
            notes.setdefault(_WORKER, []).append(key)
        else:
            raise _unknown(name, key)
    return [f"of the Compose file, {', '.join(keys)} has no effect: {why}" for why, keys in notes.items()]


def _refusal(key: str, value: Any) -> str | None:
    hint = BUILD_REFUSED.get(key.removeprefix("build.")) if key.startswith("build.") else REFUSED.get(key)
    if hint is None or value in (None, [], {}, "false", "") or value in _HARMLESS.get(key, ()):
        return None
    return hint


def _unknown(name: str, key: str) -> Rejected:
    return invalid(
        f"has a key {key[:80]!r} in the service {name}, which Compose does not know", "Correct its name."
    )
