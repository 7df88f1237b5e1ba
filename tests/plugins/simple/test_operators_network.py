"""An operator behind a company's CA, package index and proxy sets them once, for builds and bots."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import MakeRunner
from tests.package_index import PackageIndex, package_index
from tests.plugins.starting import said

pytestmark = pytest.mark.slow

PACKAGE = "company_only"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PackageIndex]:
    """The company's package index, with a wheel that no public one has."""
    with package_index(tmp_path) as made:
        made.add_wheel(PACKAGE, {f"{PACKAGE}.py": "WORD = 'from the company'\n"})
        yield made


CODE = f"""
import json, os, ssl, {PACKAGE}
names = ("SSL_CERT_FILE", "PIP_INDEX_URL", "http_proxy", "NO_PROXY")
print(json.dumps({{
    "word": {PACKAGE}.WORD, "environment": [os.environ.get(name) for name in names],
    "authorities": len(ssl.create_default_context().get_ca_certs()),
}}), flush=True)
while True: __import__("time").sleep(1)
"""


@pytest.mark.parametrize("with_uv", [True, False], ids=["uv", "pip"])
async def test_ca_index_and_proxy_reach_builds_and_bots(
    make_runner: MakeRunner, index: PackageIndex, with_uv: bool
) -> None:
    if with_uv:
        index.add_uv()
    url, ca = index.url, index.ca
    host = url.split("/")[2]
    proxies = {"http_proxy": "http://127.0.0.1:9", "no_proxy": host.split(":")[0]}
    runner = await make_runner(package_index_url=url, ca_bundle=ca, **proxies)
    params = {"deployment_mode": "simple", "code": CODE, "requirements": [PACKAGE.replace("_", "-")]}
    outcome = await runner.start(**params)
    assert outcome.ending == "success", outcome.data
    facts = json.loads(await said(runner, "bot"))
    assert facts["word"] == "from the company"
    assert facts["environment"][1:] == [url, proxies["http_proxy"], proxies["no_proxy"]]
    # Besides the company's CA, the bot still trusts what its base image does.
    assert facts["authorities"] > 1

    # Without the CA, the index is not trusted: the test above can fail.
    other = await make_runner(package_index_url=url, **proxies)
    refused = await other.start(**params)
    assert refused.data["error"]["code"] == "BUILD_FAILED"
