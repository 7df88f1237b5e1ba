"""A package index of a test's own, where builds reach it: wheels and source distributions of a few lines."""

import asyncio
import base64
import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from tests.corpus.certificates import Authority

from bot_runner_stack.engine import bridge_address
from bot_runner_worker.images.packages.commands import UV_VERSION


class PackageIndex:
    """The index.

    Args:
        folder: Where its files are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.url = ""
        self.ca = folder / "ca.crt"
        """The CA that its certificate is signed by."""
        self.credentials = ""
        """``user:password`` that it asks for; by default, it is open."""
        self.requests: list[str] = []
        """Paths that it was asked for."""

    def add(
        self, name: str, modules: Mapping[str, str], *, version: str = "1.0", scripts: Mapping[str, str] = {}
    ) -> None:
        """Add a package as a wheel.

        Args:
            name: Its name, with dashes or underscores.
            modules: Source by module name.
            version: Of this release.
            scripts: Console scripts: ``module:function`` by name.
        """
        stem = f"{name.replace('-', '_')}-{version}"
        commands = "".join(f"{command} = {target}\n" for command, target in scripts.items())
        files = {f"{module}.py": source for module, source in modules.items()}
        files[f"{stem}.dist-info/entry_points.txt"] = f"[console_scripts]\n{commands}"
        self.add_wheel(name, files, version=version)

    def add_wheel(self, name: str, files: Mapping[str, str], *, version: str = "1.0") -> None:
        """Add a package as a wheel with any files, text by path."""
        stem = f"{name.replace('-', '_')}-{version}"
        info = f"{stem}.dist-info"
        content = {
            **files,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = "".join(f"{path},sha256={_digest(text)},\n" for path, text in content.items())
        with zipfile.ZipFile(self._place(name) / f"{stem}-py3-none-any.whl", "w") as wheel:
            for path, text in (content | {f"{info}/RECORD": record}).items():
                wheel.writestr(path, text)

    def add_source(self, name: str, setup: str) -> None:
        """Add version 1.0 of a package as a source distribution, whose build runs this code."""
        backend = (
            "import base64, hashlib, os, zipfile\n"
            "def get_requires_for_build_wheel(config_settings=None): return []\n"
            "def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):\n"
            f"    exec({setup!r}, {{}})\n"
            f"    name = '{name}-1.0-py3-none-any.whl'\n"
            "    with zipfile.ZipFile(os.path.join(wheel_directory, name), 'w') as wheel:\n"
            f"        wheel.writestr('{name}.py', 'WORD = 1')\n"
            f"        info = '{name}-1.0.dist-info'\n"
            "        wheel.writestr(info + '/METADATA', "
            f"'Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n')\n"
            "        wheel.writestr(info + '/WHEEL', "
            "'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n"
            "        wheel.writestr(info + '/RECORD', '')\n"
            "    return name\n"
        )
        files = {
            "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\n'
            f'backend-path = ["."]\n[project]\nname = "{name}"\nversion = "1.0"\n',
            "backend.py": backend,
            "PKG-INFO": f"Metadata-Version: 2.2\nName: {name}\nVersion: 1.0\n",
        }
        with tarfile.open(self._place(name) / f"{name}-1.0.tar.gz", "w:gz") as archive:
            for path, text in files.items():
                member = tarfile.TarInfo(f"{name}-1.0/{path}")
                member.size = len(text.encode())
                archive.addfile(member, io.BytesIO(text.encode()))

    def add_uv(self) -> None:
        """Add uv itself, from the machine's own index."""
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*command, "-d", str(self._place("uv")), f"uv=={UV_VERSION}"], check=True, timeout=120)

    def _place(self, name: str) -> Path:
        place = self._folder / "simple" / name.replace("_", "-")
        place.mkdir(parents=True, exist_ok=True)
        return place


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


class _Handler(SimpleHTTPRequestHandler):
    index: PackageIndex

    def do_GET(self) -> None:
        self.index.requests.append(self.path)
        wanted = "Basic " + base64.b64encode(self.index.credentials.encode()).decode()
        if self.index.credentials and self.headers.get("Authorization") != wanted:
            self.send_error(401)
            return
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def package_index(folder: Path, *, tls: bool = True) -> Iterator[PackageIndex]:
    """An index that is served while the block runs."""
    index = PackageIndex(folder)
    (folder / "simple").mkdir(parents=True, exist_ok=True)
    address = asyncio.run(bridge_address())
    handler = type("Handler", (_Handler,), {"index": index})
    authority = Authority(folder)
    with ThreadingHTTPServer((address, 0), partial(handler, directory=str(folder))) as server:
        if tls:  # pip takes plain HTTP from no other machine
            context = authority.server_context(address)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        index.url = f"http{'s' if tls else ''}://{address}:{server.server_port}/simple"
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield index
        finally:
            server.shutdown()
            thread.join()
