"""The name servers that bots ask, which may be private and must stay open.

The Engine's resolver in each container (127.0.0.11) passes questions on from the container's own network,
through its bridge; only what the host finds on its loopback is asked from the host (Engine 20.10).
"""

import json
from collections.abc import Iterator
from pathlib import Path

from bot_runner_worker.outbound.addresses import Address, parse_address


def name_servers(root: Path = Path("/")) -> tuple[Address, ...]:
    """The name servers of this host and of the Engine's configuration, those on the loopback aside.

    Args:
        root: Where the host's files are.
    """
    found = dict.fromkeys((*_of_the_engine(root), *_of_the_host(root)))
    return tuple(address for address in found if not address.is_loopback)


def _of_the_engine(root: Path) -> Iterator[Address]:
    try:
        configuration = json.loads((root / "etc/docker/daemon.json").read_text())
    except (OSError, ValueError):
        return
    for text in configuration.get("dns") or () if isinstance(configuration, dict) else ():
        yield from _address(str(text))


def _of_the_host(root: Path) -> Iterator[Address]:
    # systemd-resolved lists only itself in the first; the Engine then takes the second.
    for path in ("etc/resolv.conf", "run/systemd/resolve/resolv.conf"):
        try:
            lines = (root / path).read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver":
                yield from _address(words[1])


def _address(text: str) -> Iterator[Address]:
    try:
        yield parse_address(text)
    except ValueError:
        return
