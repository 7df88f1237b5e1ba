"""An operator behind a company's CA, package index and proxy sets them once, for builds and bots."""

import asyncio
import base64
import hashlib
import ipaddress
import json
import ssl
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.conftest import MakeRunner

from bot_runner_stack.engine import bridge_address

pytestmark = pytest.mark.engine

PACKAGE = "company_only"


def write_wheel(folder: Path) -> None:
    """A wheel that no public index has."""
    folder.mkdir(parents=True)
    info = f"{PACKAGE}-1.0.dist-info"
    files = {
        f"{PACKAGE}.py": "WORD = 'from the company'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},\n"
        for path, text in files.items()
    )
    with zipfile.ZipFile(folder / f"{PACKAGE}-1.0-py3-none-any.whl", "w") as wheel:
        for path, text in (files | {f"{info}/RECORD": record}).items():
            wheel.writestr(path, text)


def write_certificate(folder: Path, address: str) -> Path:
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


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def index(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """URL and CA of a package index over HTTPS, where builds can reach it."""
    address = asyncio.run(bridge_address())
    write_wheel(tmp_path / "simple" / PACKAGE.replace("_", "-"))
    ca = write_certificate(tmp_path, address)
    with ThreadingHTTPServer((address, 0), partial(_Quiet, directory=str(tmp_path))) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(ca, tmp_path / "key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"https://{address}:{server.server_port}/simple", ca
        server.shutdown()
        thread.join()


CODE = f"""
import json, os, ssl, {PACKAGE}
names = ("SSL_CERT_FILE", "PIP_INDEX_URL", "http_proxy", "NO_PROXY")
print(json.dumps({{
    "word": {PACKAGE}.WORD, "environment": [os.environ.get(name) for name in names],
    "authorities": len(ssl.create_default_context().get_ca_certs()),
}}), flush=True)
while True: __import__("time").sleep(1)
"""


async def test_ca_index_and_proxy_reach_builds_and_bots(
    make_runner: MakeRunner, index: tuple[str, Path]
) -> None:
    url, ca = index
    host = url.split("/")[2]
    proxies = {"http_proxy": "http://127.0.0.1:9", "no_proxy": host.split(":")[0]}
    runner = await make_runner(package_index_url=url, ca_bundle=ca, **proxies)
    params = {"deployment_mode": "simple", "code": CODE, "requirements": [PACKAGE.replace("_", "-")]}
    outcome = await runner.start(**params)
    assert outcome.ending == "success", outcome.data
    for _ in range(100):
        logs = (await runner.task("get_logs", user_id="alice", bot_id="bot")).data["logs"]
        if logs:
            break
        await asyncio.sleep(0.1)
    facts = json.loads(logs)
    assert facts["word"] == "from the company"
    assert facts["environment"][1:] == [url, proxies["http_proxy"], proxies["no_proxy"]]
    # Besides the company's CA, the bot still trusts what its base image does.
    assert facts["authorities"] > 1

    # Without the CA, the index is not trusted: the test above can fail.
    other = await make_runner(package_index_url=url, **proxies)
    refused = await other.start(**params)
    assert refused.data["error"]["code"] == "BUILD_FAILED"
