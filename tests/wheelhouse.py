"""The distributions' wheels, built from this checkout, and environments that they are installed into."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
DISTRIBUTIONS = ("core", "libraries/*", "plugins/*")


def build_wheels(folder: Path) -> None:
    """Build a wheel of each distribution that workers are made of."""
    for pattern in DISTRIBUTIONS:
        for project in sorted(REPOSITORY.glob(pattern)):
            # The build backend that the environment holds: nothing is fetched.
            _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=project)


class Environment:
    """A new, empty environment.

    Args:
        folder: Where it is made.
        wheels: Wheels that are found without an index.
    """

    def __init__(self, folder: Path, wheels: Path) -> None:
        self.folder = folder
        self._wheels = wheels
        _uv("venv", "--python", sys.executable, str(folder))

    def install(self, *requirements: str) -> None:
        """Install distributions and what they need, in the versions that were tested."""
        constraints = REPOSITORY / "requirements" / "worker.txt"
        _uv(
            *("pip", "install", "--python", str(self.folder / "bin" / "python")),
            *("--find-links", str(self._wheels), "--constraint", str(constraints)),
            *requirements,
        )

    def run(self, *command: str, folder: Path | None = None, **environment: str) -> str:
        """Run a command of the environment; its output.

        Args:
            command: The program's name and its arguments.
            folder: Where it runs: by default the environment's own, outside of this repository.
            environment: Further variables.
        """
        program, *arguments = command
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        return _run(
            [str(self.folder / "bin" / program), *arguments],
            cwd=folder or self.folder,
            env={"PATH": path, "HOME": str(self.folder), **environment},
        )


def _uv(*arguments: str) -> None:
    # The certificates of this machine, as pip has them.
    environment = {**os.environ, "UV_SYSTEM_CERTS": "1", "UV_PYTHON_DOWNLOADS": "never"}
    _run([str(REPOSITORY / ".state/uv/bin/uv"), "--quiet", *arguments], cwd=REPOSITORY, env=environment)


def _run(command: list[str], *, cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{' '.join(command)}:\n{(done.stdout + done.stderr)[-3000:]}"
    return done.stdout
