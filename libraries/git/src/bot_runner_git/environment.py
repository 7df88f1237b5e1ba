"""The environment of git processes: nothing of the machine's or the user's configuration counts.

Configuration is given by ``GIT_CONFIG_COUNT`` and its pairs: arguments would show the credentials to every
user of the machine.
"""

import ssl
from collections.abc import Sequence
from pathlib import Path

from bot_runner_git.address import RepositoryAddress

# Servers that prepare a large pack only send a few bytes now and then: silence counts, not slowness; what is
# slow meets the time limit of the whole.
_LOW_SPEED_BYTES = 1
_LOW_SPEED_SECONDS = 60

_FIXED = {
    # A redirect leads to an address that was not checked.
    "http.followRedirects": "false",
    "http.lowSpeedLimit": str(_LOW_SPEED_BYTES),
    "http.lowSpeedTime": str(_LOW_SPEED_SECONDS),
    "transfer.bundleURI": "false",
    "fetch.recurseSubmodules": "false",
    # One pack, not a file for each object.
    "transfer.unpackLimit": "1",
    "pack.threads": "1",
    # Larger objects are streamed instead of held in memory.
    "core.bigFileThreshold": "8m",
    "core.packedGitWindowSize": "16m",
    "core.packedGitLimit": "128m",
    "core.hooksPath": "/dev/null",
    "core.attributesFile": "/dev/null",
    "core.fsmonitor": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "credential.helper": "",
}


def local_environment(home: Path) -> dict[str, str]:
    """The environment of a git process that talks to nobody.

    Args:
        home: The process's folder.
    """
    return {
        "HOME": str(home),
        "TMPDIR": str(home),
        # Or a repository that somebody put above the folder would be found before ours is there.
        "GIT_CEILING_DIRECTORIES": str(home.parent),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "",
        **_configuration(_FIXED),
    }


def remote_environment(
    home: Path, address: RepositoryAddress, *, dialled: Sequence[str], ca_bundle: Path | None
) -> dict[str, str]:
    """The environment of a git process that talks to one server, at addresses that were checked.

    Args:
        home: The process's folder.
        address: The repository.
        dialled: Checked network addresses of its host.
        ca_bundle: The operator's CA certificates, trusted besides the machine's.
    """
    configuration = dict(_FIXED)
    addresses = ",".join(f"[{each}]" if ":" in each else each for each in dialled)
    # A host that is an address itself is dialled as it is.
    if addresses and address.host not in dialled:
        configuration["http.curloptResolve"] = f"{address.host}:{address.port}:{addresses}"
    if address.authorization is not None:
        configuration["http.extraHeader"] = f"Authorization: {address.authorization}"
    environment = local_environment(home) | _configuration(configuration)
    environment["GIT_ALLOW_PROTOCOL"] = address.url.partition(":")[0]
    if ca_bundle is not None:
        environment["GIT_SSL_CAINFO"] = str(_combined_bundle(home, ca_bundle))
    return environment


def _configuration(values: dict[str, str]) -> dict[str, str]:
    environment = {"GIT_CONFIG_COUNT": str(len(values))}
    for number, (name, value) in enumerate(values.items()):
        environment |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return environment


def _combined_bundle(home: Path, ca_bundle: Path) -> Path:
    # Git takes one file in place of the system's own.
    combined = home / "ca.crt"
    if not combined.exists():
        system = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
        parts = [path.read_bytes() for path in (Path(system), ca_bundle) if path.is_file()]
        combined.write_bytes(b"\n".join(parts))
    return combined
