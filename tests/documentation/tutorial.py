"""A tutorial, done: its files written and its commands run, in the order of the text, in an empty folder."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.wheelhouse import REPOSITORY

TUTORIAL = REPOSITORY / "docs" / "plugins" / "tutorial.md"
_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of the text.

    Args:
        language: ``sh`` is run, ``text`` is part of what was printed before it.
        title: The file that the block is, if it is one.
        content: Its lines.
    """

    language: str
    title: str
    content: str


def blocks() -> list[Block]:
    """All blocks, in order."""
    return [Block(*found) for found in _BLOCK.findall(TUTORIAL.read_text())]


class Author:
    """Somebody who does what the tutorial says, and nothing else.

    Args:
        folder: Empty; where the author works.
        wheels: The distributions' wheels, which pip finds beside the index.
        environment: Settings of the worker.
        replacing: Words of the commands and files, such as an image's tag, and what the test needs instead.
    """

    def __init__(
        self, folder: Path, wheels: Path, environment: Mapping[str, str], replacing: Mapping[str, str]
    ) -> None:
        self._folder = folder
        self._state = folder.parent / "author-state"
        self._state.mkdir()
        (self._state / "folder").write_text(str(folder))
        (self._state / "environment").touch()
        self._replacing = replacing
        self._environment = {
            **{name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))},
            # The interpreter that this environment was made of, and nothing of the environment itself.
            "PATH": f"{Path(sys.base_prefix) / 'bin'}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(folder.parent),
            "PIP_CACHE_DIR": str(Path.home() / ".cache" / "pip"),
            "PIP_FIND_LINKS": f"{wheels} {os.environ.get('PIP_FIND_LINKS', '')}".strip(),
            "PIP_CONSTRAINT": str(_constraints(self._state)),
            "DOCKER_BUILDKIT": "0",
            **environment,
        }
        self.printed: list[str] = []
        """What each block of commands printed."""

    def do(self, todo: list[Block]) -> None:
        """Write the files, run the commands, compare what is printed."""
        for block in todo:
            content = self._replaced(block.content)
            if block.title:
                path = Path((self._state / "folder").read_text().strip()) / block.title
                path.write_text(content)
            elif block.language == "sh":
                self.printed.append(self._run(content))
            elif block.language == "text":
                missing = [line for line in _lines(content) if line not in self.printed[-1]]
                assert missing == [], f"{missing} is not in\n{self.printed[-1]}"
            else:
                raise AssertionError(f"nobody does anything with this block: {content}")

    def _replaced(self, text: str) -> str:
        for word, other in self._replacing.items():
            text = text.replace(word, other)
        return text

    def _run(self, commands: str) -> str:
        # One shell after the other, each where the one before has ended.
        folder, variables = self._state / "folder", self._state / "environment"
        script = (
            f'source "{variables}"\ncd "$(cat "{folder}")"\n{commands}\n'
            f'pwd >"{folder}"\ndeclare -px >"{variables}"\n'
        )
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{commands}\n{(done.stdout + done.stderr)[-4000:]}"
        return done.stdout


def _lines(text: str) -> Iterator[str]:
    yield from (line for line in text.splitlines() if line.strip())


def _constraints(folder: Path) -> Path:
    """The versions that were tested, without their hashes: those of our own wheels are nowhere."""
    locked = (REPOSITORY / "requirements" / "worker.txt").read_text()
    path = folder / "constraints.txt"
    path.write_text("\n".join(re.findall(r"^[a-z0-9-]+==\S+(?: ;[^\\]*)?", locked, re.MULTILINE)) + "\n")
    return path
