"""A second Docker Engine in a network namespace of its own: one that tests may kill, stop and fill.

In the first one's namespace it would take over that one's bridge and firewall rules.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import BASE_IMAGE, ENGINE

from bot_runner_worker.testing.waiting import until_sync

_PREFIX = "brt2e"
"""Begins the names of namespaces and folders; the process id of the test run comes next."""

_OPEN = Path("/var/tmp")

REMAPPED = "nobody"
"""Whose subordinate users a container's are, on an Engine with ``userns-remap``."""

FIRST_ID = 1_200_000
"""The host's number for root in a container there."""

_ANSWER_SECONDS = 60
_END_SECONDS = 40


def _run(*command: str, check: bool = True) -> str:
    done = subprocess.run(command, check=check, capture_output=True, text=True, timeout=120)
    return done.stdout


class SecondEngine:
    """A dockerd with everything of its own: network, data, sockets, containerd.

    Args:
        disk: Size of a file system of its own for the data, in MiB; by default it shares the machine's.
        remapped: Whether root in a container is nobody on the host (``userns-remap``).
    """

    def __init__(self, *, disk: int | None = None, remapped: bool = False) -> None:
        self.name = f"{_PREFIX}{os.getpid()}-{os.urandom(2).hex()}"
        # Users who are remapped have to pass through all folders above theirs; pytest's are closed.
        self.folder = (_OPEN if remapped else Path(tempfile.gettempdir())) / self.name
        self.log = self.folder / "dockerd.log"
        self._disk = disk
        self._remapped = remapped
        self._dockerd: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """The value for ``DOCKER_HOST``."""
        return f"unix://{self.folder}/docker.sock"

    @property
    def data(self) -> Path:
        """Where it keeps images and containers."""
        return self.folder / "data"

    def set_up(self) -> None:
        """Make the namespace and the disk, start the Engine, and copy the base image into it."""
        remove_leftovers()
        self.data.mkdir(parents=True)
        if self._disk is not None:
            image = self.folder / "disk.img"
            with image.open("wb") as file:
                file.truncate(self._disk * 1024 * 1024)
            _run("mkfs.ext4", "-q", "-m", "0", str(image))
            _run("mount", "-o", "loop", str(image), str(self.data))
        self._make_network()
        self.start()
        self.copy_image(BASE_IMAGE)

    def _make_network(self) -> None:
        outer, inner = (self.name.removeprefix(_PREFIX) + end for end in ("o", "i"))
        _run("ip", "netns", "add", self.name)
        _run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", self.name)
        # dockerd wants a default route; nobody answers there.
        inside = ("ip", "-n", self.name)
        _run(*inside, "address", "add", "198.19.78.2/30", "dev", inner)
        _run(*inside, "link", "set", "lo", "up")
        _run(*inside, "link", "set", inner, "up")
        _run("ip", "link", "set", outer, "up")
        _run(*inside, "route", "add", "default", "via", "198.19.78.1")

    def start(self) -> None:
        """Start dockerd, or start it again, and wait until it answers."""
        (self.folder / "dockerd.pid").unlink(missing_ok=True)  # a killed one's
        # Not `ip netns exec`, which hides the cgroups.
        enter = ["nsenter", f"--net=/run/netns/{self.name}"]
        command = [
            *(*enter, *self._with_users(), "dockerd", "--host", self.address),
            *("--data-root", str(self.data), "--exec-root", str(self.folder / "exec")),
            *("--pidfile", str(self.folder / "dockerd.pid"), "--group", "root"),
            *("--containerd-namespace", self.name, "--containerd-plugins-namespace", f"{self.name}p"),
            *("--default-address-pool", "base=10.229.0.0/16,size=24", "--bip", "10.229.255.1/24"),
        ]
        if self._remapped:
            command += ["--userns-remap", f"{REMAPPED}:nogroup"]
        with self.log.open("ab") as log:
            self._dockerd = subprocess.Popen(command, stdout=log, stderr=log, process_group=0)
        until_sync(self.answers, _ANSWER_SECONDS, lambda: f"dockerd does not answer:\n{self.log_tail()}")

    def _with_users(self) -> list[str]:
        """The beginning of a command that sees subordinate users of our own, and not the machine's."""
        if not self._remapped:
            return []
        mounts = []
        for name in ("subuid", "subgid"):
            (self.folder / name).write_text(f"{REMAPPED}:{FIRST_ID}:65536\n")
            mounts.append(f"touch /etc/{name} && mount --bind {self.folder / name} /etc/{name}")
        script = " && ".join([*mounts, 'exec "$@"'])
        return ["unshare", "--mount", "sh", "-ec", script, "sh"]

    def answers(self) -> bool:
        """Whether it answers."""
        command = ["docker", "--host", self.address, "version"]
        try:
            return subprocess.run(command, capture_output=True, timeout=5).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def docker(self, *arguments: str) -> str:
        """Run a ``docker`` command as an operator would, and return what it prints."""
        return _run("docker", "--host", self.address, *arguments).strip()

    def copy_image(self, reference: str) -> None:
        """Copy an image from the first Engine."""
        save = ["docker", "--host", ENGINE, "save", reference]
        load = ["docker", "--host", self.address, "load", "--quiet"]
        with subprocess.Popen(save, stdout=subprocess.PIPE) as saving:
            subprocess.run(load, stdin=saving.stdout, check=True, capture_output=True, timeout=180)
        assert saving.returncode == 0

    def signal(self, number: signal.Signals) -> None:
        """Send dockerd a signal; after one that ends it, wait for its end."""
        assert self._dockerd is not None
        self._dockerd.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            self._dockerd.wait(_END_SECONDS)
            # The next dockerd would take a containerd that is not reaped yet for its own.
            containerd = self.folder / "exec" / "containerd" / "containerd.pid"
            if containerd.exists():
                process = Path("/proc") / containerd.read_text().strip()
                until_sync(lambda: not process.exists(), _END_SECONDS, "the end of containerd")

    def log_tail(self) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def remove(self) -> None:
        """End the Engine with all that runs on it, and remove what it left."""
        _remove(self.name)
        if self._dockerd is not None:
            self._dockerd.wait(_END_SECONDS)


def remove_leftovers() -> None:
    """Remove what test runs left that were killed."""
    places = (Path(tempfile.gettempdir()), _OPEN)
    folders = [path.name for place in places for path in place.glob(f"{_PREFIX}*")]
    namespaces = [line.split()[0] for line in _run("ip", "netns", "list").splitlines() if line]
    for name in {*folders, *namespaces}:
        if not name.startswith(_PREFIX):
            continue
        owner = name.removeprefix(_PREFIX).partition("-")[0]
        if not Path(f"/proc/{owner}").exists():
            _remove(name)


def _remove(name: str) -> None:
    folder = _OPEN / name
    if not folder.exists():
        folder = Path(tempfile.gettempdir()) / name
    # Supervisors first, or they would start again what we end.
    for program in ("dockerd", "containerd", None):
        for pid in _processes(folder, program):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    until_sync(lambda: not list(_processes(folder)), _END_SECONDS, f"the end of {name}")
    for mount in reversed(_mounts(folder)):
        _run("umount", "--lazy", mount, check=False)
    if Path(f"/run/netns/{name}").exists():
        _run("ip", "netns", "delete", name)  # and with it the pair of interfaces
    shutil.rmtree(folder, ignore_errors=True)


def _processes(folder: Path, program: str | None = None) -> Iterator[int]:
    """Those that name the folder in their command line, and the containers of the shims among them."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            name, *arguments = (entry / "cmdline").read_text(errors="replace").split("\0")
            if not any(str(folder) in argument for argument in arguments):
                continue
            if program is None and "-shim" in name:
                yield from map(int, (entry / "task" / entry.name / "children").read_text().split())
            if program is None or Path(name).name == program:
                yield int(entry.name)


def _mounts(folder: Path) -> list[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    mounts = [line.split()[1] for line in lines]
    return [mount for mount in mounts if Path(mount).is_relative_to(folder)]
