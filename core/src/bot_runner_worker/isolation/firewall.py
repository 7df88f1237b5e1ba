"""The firewall of this host: installs and removes the rules, and warns of what they do not cover."""

import os
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from bot_runner_worker.isolation.host import name_servers
from bot_runner_worker.isolation.rules import CLOSED, IPV4, IPV6, TABLE, Egress, Family, RuleSet
from bot_runner_worker.model.addresses import AllowRule
from bot_runner_worker.model.errors import OperatorError
from bot_runner_worker.settings import Settings

_WAIT = ("-w", "10")
"""Options that wait up to 10 s for other programs that change rules, such as the Engine."""

_SECONDS = 30.0
_DNS = 53


NO_LIMITS = (
    "The limits on bots' connections and bandwidth are not in force. If firewall apply does not change that, "
    "this kernel lacks xt_hashlimit or xt_connlimit: install its modules, or set CONTAINER_CONNECTION_LIMIT, "
    "CONTAINER_CONNECTION_RATE_LIMIT and CONTAINER_BANDWIDTH_LIMIT to 0."
)


class FirewallError(OperatorError):
    """The host's firewall cannot be read or changed."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__("FIREWALL_FAILED", message, hint=hint, stage="firewall")


@dataclass(frozen=True, slots=True)
class Step:
    """One command.

    Args:
        command: Program and arguments.
        text: Its standard input.
    """

    command: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        return f"{shlex.join(self.command)} <<'RULES'\n{self.text}RULES"


class Firewall:
    """The firewall of the network namespace of this process.

    All methods raise :class:`FirewallError` if the host's rules cannot be read, or not be changed.

    Args:
        rules: The rules that it should have.
    """

    def __init__(self, rules: RuleSet) -> None:
        self.rules = rules

    def plan(self, *, remove: bool = False) -> list[Step]:
        """The commands that install or remove the rules.

        Reading the installed rules takes root's rights; without them, a host without our rules is assumed.
        """
        steps = (self._step(family, self.rules, remove=remove) for family in _families())
        return [step for step in steps if step is not None]

    def apply(self) -> list[Step]:
        """Install the rules, or replace those that are installed; returns the commands that were run.

        Limits that this kernel has no match for are left out, see :meth:`limits_in_place`: what is closed
        does not depend on them.
        """
        return self._execute(remove=False)

    def remove(self) -> list[Step]:
        """Remove the rules, those of earlier settings included; returns the commands that were run."""
        return self._execute(remove=True)

    def in_place(self) -> bool:
        """Whether the rules are installed and come first."""
        return all(self.rules.in_place(self.state(family)) for family in _families())

    def limits_in_place(self) -> bool:
        """Whether the limits on bots' connections and bandwidth are installed."""
        return all(self.rules.limits_in_place(self.state(family)) for family in _families())

    def lacks_limits(self) -> bool:
        """Whether the rules are in place without their limits; false where that cannot be seen from."""
        return is_root() and self.in_place() and not self.limits_in_place()

    def state(self, family: Family) -> str:
        """The installed rules of a family, as its command prints them."""
        return run((family.command, *_WAIT, "-t", TABLE, "-S"))

    def _execute(self, *, remove: bool) -> list[Step]:
        if not is_root():
            raise FirewallError(
                "The host's firewall can be changed by root only.",
                hint="Run the command with sudo; bot-runner-worker firewall show prints what it would do.",
            )
        done = []
        for family in _families():
            step = self._step(family, self.rules, remove=remove)
            if step is None:
                continue
            try:
                run(step.command, step.text)
            except FirewallError:
                # A transaction is taken as a whole or not at all, and a match may be missing.
                bare = replace(self.rules, egress=self.rules.egress.without_limits)
                step = self._step(family, bare, remove=remove)
                if step is None or bare == self.rules:
                    raise
                run(step.command, step.text)
            done.append(step)
        return done

    def _step(self, family: Family, rules: RuleSet, *, remove: bool) -> Step | None:
        state = self.state(family) if is_root() else ""
        text = rules.remove(state) if remove else rules.apply(family, state)
        return Step((family.restore, "--noflush", *_WAIT), text) if text else None


def rules_of(settings: Settings) -> RuleSet:
    """The rules for these settings on this host, whose name servers stay open."""
    dns = (AllowRule(ip_network(address), _DNS) for address in name_servers())
    egress = Egress(
        settings.firewall_closed_ports,
        settings.container_connection_limit,
        settings.container_connection_rate_limit,
        settings.container_bandwidth_limit,
    )
    return RuleSet(settings.bridge_prefix, (*dns, *settings.firewall_allow), egress)


def is_root() -> bool:
    """Whether this process may read and change the host's rules."""
    return os.geteuid() == 0


def can_keep(settings: Settings) -> bool:
    """Whether this process may read and put back the rules of the Engine's host: as root, in its network."""
    return (
        is_root()
        and settings.docker_host.startswith("unix://")
        and shutil.which(IPV4.restore) is not None
        and _sees_the_engines_bridges()
    )


def how_to_close(settings: Settings) -> str:
    """The one command that puts the rules in place, in a sentence for the operator."""
    default = Settings.model_fields["bridge_prefix"].default
    prefix = "" if settings.bridge_prefix == default else f"BRIDGE_PREFIX={settings.bridge_prefix} "
    if _sees_the_engines_bridges():
        return f"Close it on the Engine's host, as root: {prefix}bot-runner-worker firewall apply"
    options = "--rm --network host --cap-add NET_ADMIN" + (f" -e {prefix.strip()}" if prefix else "")
    return f"Close it on the Engine's host: docker run {options} bot-runner-worker firewall apply"


def run(command: tuple[str, ...], text: str = "") -> str:
    """Run a command and return its standard output.

    Raises:
        FirewallError: If it is not there, fails, or takes longer than half a minute.
    """
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except FileNotFoundError as error:
        raise FirewallError(f"There is no command {command[0]}.", hint="Install iptables.") from error
    except subprocess.TimeoutExpired as error:
        raise FirewallError(f"{command[0]} took longer than {_SECONDS:.0f} s.", hint="Try again.") from error
    if done.returncode != 0:
        reason = " ".join(done.stderr.split())[:500]
        raise FirewallError(
            f"{shlex.join(command)} failed: {reason}",
            hint="Nothing was changed by it; the rules are shown by bot-runner-worker firewall show.",
        )
    return done.stdout


def _families() -> tuple[Family, ...]:
    # A kernel without IPv6 has nothing to close there, and ip6tables fails.
    return (IPV4, IPV6) if Path("/proc/net/if_inet6").exists() else (IPV4,)


def warnings(settings: Settings, firewall: Firewall) -> list[str]:
    """What an operator should know about these rules on this host, the most urgent first."""
    found = []
    if not is_root():
        found.append("Not run by root: shown as for a host without rules of ours.")
    if not _sees_the_engines_bridges():
        found.append(
            "There is no docker0 in this network namespace: run this where the Engine's bridges are, on its "
            "host and not in a container; bot-runner-worker doctor tells whether the rules hold."
        )
    if firewall.lacks_limits():
        found.append(NO_LIMITS)
    found += [
        *_closed_servers(settings, firewall.rules),
        f"The rules are in the table {TABLE} (iptables -t {TABLE} -S), out of the way of the Engine's; they "
        "hold whichever backend either uses, nf_tables or legacy.",
        "The rules last until the next boot: apply them at each, after docker.service, for example as "
        "ExecStartPre=+ of the worker's unit. Apply them again when the host's name servers change.",
    ]
    if _firewalld_is_running():
        found.append(
            "firewalld is running, and drops such rules when it reloads: firewall keep puts them back."
        )
    found.append("Connections that are open already stay open; restart bots that must lose theirs.")
    if settings.network_mode == "shared":
        found.append(
            f"A network {settings.docker_network} that was made by hand is covered only if the name of its "
            f"bridge (com.docker.network.bridge.name) begins with {settings.bridge_prefix}."
        )
    return found


def _sees_the_engines_bridges() -> bool:
    return bool({"docker0", "docker_gwbridge"} & {name for _, name in socket.if_nameindex()})


def _firewalld_is_running() -> bool:
    if shutil.which("firewall-cmd") is None:
        return False
    done = subprocess.run(("firewall-cmd", "--state"), capture_output=True, timeout=10, check=False)
    return done.returncode == 0


def _closed_servers(settings: Settings, rules: RuleSet) -> Iterator[str]:
    for name in ("http_proxy", "https_proxy", "package_index_url"):
        url = getattr(settings, name)
        server = urlsplit(url if "//" in url else f"//{url}") if url else None
        if server is None or server.hostname is None:
            continue
        port = server.port or (443 if server.scheme == "https" else 80)
        try:
            found = socket.getaddrinfo(server.hostname, port, type=socket.SOCK_STREAM)
        except OSError:
            continue
        for address in dict.fromkeys(ip_address(str(entry[4][0]).partition("%")[0]) for entry in found):
            closed = any(address in network for network in CLOSED)
            if closed and not any(rule.covers(address, port) for rule in rules.allow_rules):
                entry = AllowRule(ip_network(address), port)
                yield f"{name.upper()} is at {address}, which is closed: add {entry} to FIREWALL_ALLOW."
