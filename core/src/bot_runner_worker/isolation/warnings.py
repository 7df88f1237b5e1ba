"""What an operator should know about the firewall on this host, in sentences."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from bot_runner_worker.isolation.firewall import Firewall, is_root
from bot_runner_worker.isolation.rules import CLOSED, TABLE
from bot_runner_worker.model.allow_rules import AllowRule
from bot_runner_worker.settings import Settings


def notes(settings: Settings, firewall: Firewall) -> list[str]:
    """What to know about these rules on this host, the most pressing first."""
    return [*_about_this_place(), *_closed_servers(settings, firewall), *_about_life(), *_about(settings)]


def _about_this_place() -> Iterator[str]:
    if not is_root():
        yield "Not run by root: shown as for a host without rules of ours."
    if not {"docker0", "docker_gwbridge"} & {name for _, name in socket.if_nameindex()}:
        yield (
            "There is no docker0 in this network namespace: run this where the Engine's bridges are, on its "
            "host and not in a container; bot-runner-worker doctor tells whether the rules hold."
        )


def _about_life() -> Iterator[str]:
    yield (
        f"The rules are in the table {TABLE} (iptables -t {TABLE} -S), out of the way of the Engine's; they "
        "hold whichever backend either uses, nf_tables or legacy."
    )
    yield (
        "The rules last until the next boot: apply them at each, after docker.service, for example as "
        "ExecStartPre=+ of the worker's unit. Apply them again when the host's name servers change."
    )
    if _firewalld_runs():
        yield "firewalld is running, and drops such rules when it reloads: apply them again after that."
    yield "Connections that are open already stay open; restart bots that must lose theirs."


def _firewalld_runs() -> bool:
    if shutil.which("firewall-cmd") is None:
        return False
    done = subprocess.run(("firewall-cmd", "--state"), capture_output=True, timeout=10, check=False)
    return done.returncode == 0


def _about(settings: Settings) -> Iterator[str]:
    if settings.network_mode == "shared":
        yield (
            f"A network {settings.docker_network} that was made by hand is covered only if the name of its "
            f"bridge (com.docker.network.bridge.name) begins with {settings.bridge_prefix}."
        )


def _closed_servers(settings: Settings, firewall: Firewall) -> Iterator[str]:
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
            if closed and not any(opening.covers(address, port) for opening in firewall.rules.openings):
                entry = AllowRule(ip_network(address), port)
                yield f"{name.upper()} is at {address}, which is closed: add {entry} to FIREWALL_ALLOW."
