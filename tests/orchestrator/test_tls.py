"""HTTPS with the operator's own certificate, for clients and workers alike."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.corpus.certificates import Authority


@pytest.fixture
def tls(tmp_path: Path) -> dict[str, Any]:
    """Settings with a certificate for this machine, signed by ``ca.crt`` in the same folder."""
    Authority(tmp_path).server_context("127.0.0.1")
    pem = tmp_path / "127.0.0.1.pem"  # both the key and the certificate
    return {"tls_enabled": True, "tls_cert_path": pem, "tls_key_path": pem}


@pytest.fixture
async def trusting(tmp_path: Path, tls: dict[str, Any]) -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP session that trusts the certificate."""
    context = ssl.create_default_context(cafile=tmp_path / "ca.crt")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        yield session


async def secure(make_orchestrator, session: aiohttp.ClientSession, settings: dict[str, Any]) -> Any:
    orchestrator = await make_orchestrator(**settings)
    orchestrator.url = orchestrator.url.replace("http://", "https://")
    orchestrator.http = session
    return orchestrator


async def test_clients_and_workers_speak_https(make_orchestrator, make_worker, tls, trusting) -> None:
    orchestrator = await secure(make_orchestrator, trusting, tls)
    await make_worker(orchestrator)
    assert (await orchestrator.run())["status"] == "finished"


async def test_plain_http_is_not_answered(make_orchestrator, tls, trusting) -> None:
    orchestrator = await secure(make_orchestrator, trusting, tls)
    with pytest.raises(aiohttp.ClientError):
        await trusting.get(orchestrator.url.replace("https://", "http://") + "/_public/status")


async def test_who_does_not_know_the_authority_does_not_connect(make_orchestrator, tls, trusting) -> None:
    orchestrator = await secure(make_orchestrator, trusting, tls)
    async with aiohttp.ClientSession() as stranger:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await stranger.get(orchestrator.url + "/_public/status")


async def test_where_certificates_are_required_nobody_connects_without(
    make_orchestrator, tls, trusting, tmp_path: Path
) -> None:
    required = {"tls_ca_path": tmp_path / "ca.crt", "tls_require_client_cert": True}
    orchestrator = await secure(make_orchestrator, trusting, tls | required)
    with pytest.raises(aiohttp.ClientError):
        await trusting.get(orchestrator.url + "/_public/status")
