"""``bot-runner-worker firewall``: show, apply, keep, remove."""

from collections.abc import Callable
from time import sleep
from typing import Any

import typer

from bot_runner_worker.cli.output import AsJson, or_exit, print_json
from bot_runner_worker.isolation.firewall import Firewall, Step, is_root, rules_of, warnings
from bot_runner_worker.settings import Settings

KEEP_SECONDS = 20.0
"""Seconds between two looks of keep."""

firewall = typer.Typer(
    help="Close the host, private networks and cloud metadata to bots, on the bots' bridges only. "
    "The internet and name servers stay open, and what FIREWALL_ALLOW lists.",
    no_args_is_help=True,
)


@firewall.command()
def show(as_json: AsJson = False) -> None:
    """Print the commands that apply would run, as a shell script; change nothing."""
    report = _report(lambda wall: wall.plan())
    if as_json:
        print_json(report)
        return
    for note in report["notes"]:
        print(f"# {note}")
    if report["in_place"]:
        print("# The rules are in place; this puts them there anew.")
    for step in report["commands"]:
        print(step["shell"])


@firewall.command()
def apply(as_json: AsJson = False) -> None:
    """Put the rules in place; doing it again replaces them. Needs root."""
    report = _report(lambda wall: wall.apply())
    if as_json:
        print_json(report)
        return
    print(f"Closed to bots on {report['bridges']}: this host, private, link-local and metadata addresses.")
    print("Open: " + ", ".join(["the internet", *report["open"]]) + ".")
    for note in report["notes"]:
        print(f"- {note}")


@firewall.command()
def keep() -> None:
    """Put the rules in place, and back whenever they are gone. Needs root; runs until it is stopped.

    For a host where no worker can do that, since it runs in a container. The rules stay after its end.
    """
    settings = or_exit(Settings.load_without_token)
    applied = None
    while True:
        wall = Firewall(rules_of(settings))  # the host's name servers may be others by now
        if wall.rules != applied or not or_exit(wall.in_place):
            or_exit(wall.apply)
            print(f"{'Put back' if applied else 'In place'}: the rules for {wall.rules.prefix}*.", flush=True)
        applied = wall.rules
        sleep(KEEP_SECONDS)


@firewall.command()
def remove(as_json: AsJson = False) -> None:
    """Take the rules away without a trace. Needs root."""
    report = _report(lambda wall: wall.remove())
    if as_json:
        print_json(report)
    elif report["commands"]:
        print(f"Removed the rules for {report['bridges']}.")
    else:
        print(f"There were no rules for {report['bridges']}.")


def _report(work: Callable[[Firewall], list[Step]]) -> dict[str, Any]:
    settings = or_exit(Settings.load_without_token)
    wall = Firewall(rules_of(settings))
    steps = or_exit(lambda: work(wall))
    return {
        "bridges": f"{wall.rules.prefix}*",
        "in_place": or_exit(wall.in_place) if is_root() else None,
        "open": [str(rule) for rule in wall.rules.allow_rules],
        "commands": [{"command": step.command, "input": step.text, "shell": str(step)} for step in steps],
        "notes": warnings(settings, wall),
    }
