"""Putting the rules in place on this host, and taking them away."""

import os
import shlex
import subprocess
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from bot_runner_worker.isolation.resolvers import name_servers
from bot_runner_worker.isolation.rules import IPV4, IPV6, TABLE, Family, RuleSet
from bot_runner_worker.model.allow_rules import AllowRule
from bot_runner_worker.model.errors import OperatorError
from bot_runner_worker.settings import Settings

_WAIT = ("-w", "10")
"""Wait for others who change rules, as the Engine does, for that many seconds."""

_SECONDS = 30.0
_DNS = 53


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
    """The firewall of the host's network namespace in which this process is.

    Args:
        rules: What is wanted.
    """

    def __init__(self, rules: RuleSet) -> None:
        self.rules = rules

    def plan(self, *, remove: bool = False) -> list[Step]:
        """The commands that put the rules in place, or take them away, as things are now.

        Without root's rights, which reading takes: as they would be on a host without any rule of ours.

        Raises:
            FirewallError: If the rules cannot be read.
        """
        steps = []
        for family in _families():
            state = self.state(family) if is_root() else ""
            text = self.rules.remove(state) if remove else self.rules.apply(family, state)
            if text:
                steps.append(Step((family.restore, "--noflush", *_WAIT), text))
        return steps

    def apply(self) -> list[Step]:
        """Put the rules in place; those that are there are replaced. Returns the commands that were run.

        Raises:
            FirewallError: If it is not allowed, or fails.
        """
        return self._execute(remove=False)

    def remove(self) -> list[Step]:
        """Take the rules away, those of earlier settings included. Returns the commands that were run.

        Raises:
            FirewallError: If it is not allowed, or fails.
        """
        return self._execute(remove=True)

    def in_place(self) -> bool:
        """Whether the rules are in place and come first.

        Raises:
            FirewallError: If the rules cannot be read.
        """
        return all(self.rules.in_place(self.state(family)) for family in _families())

    def state(self, family: Family) -> str:
        """The rules of a family that are in place, as its command prints them.

        Raises:
            FirewallError: If they cannot be read.
        """
        return run((family.command, *_WAIT, "-t", TABLE, "-S"))

    def _execute(self, *, remove: bool) -> list[Step]:
        if not is_root():
            raise FirewallError(
                "The host's firewall can be changed by root only.",
                hint="Run the command with sudo; bot-runner-worker firewall show prints what it would do.",
            )
        steps = self.plan(remove=remove)
        for step in steps:
            run(step.command, step.text)
        return steps


def rules_of(settings: Settings) -> RuleSet:
    """The rules that these settings ask for on this host: its name servers stay open."""
    dns = (AllowRule(ip_network(address), _DNS) for address in name_servers())
    return RuleSet(settings.bridge_prefix, (*dns, *settings.firewall_allow))


def is_root() -> bool:
    """Whether this process may read and change the host's rules."""
    return os.geteuid() == 0


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
