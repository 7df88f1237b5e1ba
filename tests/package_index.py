"""A package index over HTTPS with a CA of its own, where builds can reach it; and wheels to put into it."""

import asyncio
import base64
import hashlib
import ipaddress
import ssl
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bot_runner_stack.engine import bridge_address


@dataclass
class PackageIndex:
    """A running index.

    Args:
        url: What pip is told.
        ca: The certificate that it has to trust.
        folder: Where its packages are.
        requests: Paths that it was asked for.
    """

    url: str
    ca: Path
    folder: Path
    requests: list[str] = field(default_factory=list)

    def add(
        self, name: str, modules: Mapping[str, str], *, version: str = "1.0", scripts: Mapping[str, str] = {}
    ) -> None:
        """Publish a wheel.

        Args:
            name: The package's name, with dashes.
            modules: Source by module name.
            version: Of this release.
            scripts: Console scripts: ``module:function`` by name.
        """
        folder = self.folder / "simple" / name
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"{name.replace('-', '_')}-{version}"
        info = f"{stem}.dist-info"
        commands = "".join(f"{command} = {target}\n" for command, target in scripts.items())
        files = {
            **{f"{module}.py": source for module, source in modules.items()},
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/entry_points.txt": f"[console_scripts]\n{commands}",
        }
        record = "".join(f"{path},{_digest(text)},\n" for path, text in files.items())
        with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
            for path, text in (files | {f"{info}/RECORD": record}).items():
                wheel.writestr(path, text)


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


@contextmanager
def package_index(folder: Path) -> Iterator[PackageIndex]:
    """Serve an index from a folder."""
    address = asyncio.run(bridge_address())
    ca = _write_certificate(folder, address)
    index = PackageIndex("", ca, folder)
    (folder / "simple").mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            index.requests.append(self.path)

    with ThreadingHTTPServer((address, 0), partial(Handler, directory=str(folder))) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(ca, folder / "key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever)
        thread.start()
        index.url = f"https://{address}:{server.server_port}/simple"
        try:
            yield index
        finally:
            server.shutdown()
            thread.join()


def _write_certificate(folder: Path, address: str) -> Path:
    """A certificate for the address, signed by itself: its own CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "company")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "ca.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path
