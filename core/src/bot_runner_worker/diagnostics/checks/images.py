"""Checks with containers: the base image, and the package index as it is reached from a build."""

import asyncio
import re
from pathlib import PurePosixPath

from bot_runner_worker.containers import (
    Ended,
    OutputExceeded,
    json_answer,
    probe_container,
    probe_key,
    run,
    temporary,
)
from bot_runner_worker.diagnostics.checks.context import CheckContext
from bot_runner_worker.diagnostics.results import CheckResult, failed, ok, warning
from bot_runner_worker.engine import EngineError, containers
from bot_runner_worker.engine.builds import BuildError
from bot_runner_worker.images import build_errors
from bot_runner_worker.images.base import (
    APPEND_SYSTEM_CA,
    CA_PATH,
    network_environment,
    read_ca_bundle,
)
from bot_runner_worker.images.disk import EngineDisk
from bot_runner_worker.images.packages.volumes import over_plain_http
from bot_runner_worker.model.options import Files
from bot_runner_worker.networks.bots import BotNetworks

INDEX_SECONDS = 60
PACKAGE = "six"
"""Small, without dependencies, and on every index that serves more than a company's own packages."""

_BASE_IMAGE_SECONDS = 30.0

# For whatever Python the image has.
_PROGRAM = """
import json, os, sys, sysconfig
try:
    import pip
except ImportError:
    pip = None
marker = os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
print(json.dumps({
    "python": "%d.%d.%d" % sys.version_info[:3],
    "pip": pip and pip.__version__,
    "managed": os.path.exists(marker),
}), flush=True)
"""

_DOWNLOAD = (
    "python3 -m pip download --no-deps --no-cache-dir --no-input --disable-pip-version-check "
    f"--only-binary :all: --retries 1 --timeout 10 --dest /tmp/bot-runner-doctor {PACKAGE}"
)

# What pip prints, the first match wins; the cause is in the first group.
_CAUSES = (
    (r"(CERTIFICATE_VERIFY_FAILED[^\n]{0,120}|SSLError)", "its certificate is not trusted", "Set CA_BUNDLE."),
    (
        r"(not a trusted or secure host)",
        "pip ignores it",
        "Use https:// in PACKAGE_INDEX_URL; plain HTTP works for localhost only.",
    ),
    (
        r"(ProxyError[^\n]{0,160})",
        "the proxy refuses",
        "Correct HTTP_PROXY and HTTPS_PROXY, and list in NO_PROXY what needs none.",
    ),
    (
        r"(Temporary failure in name resolution|Name or service not known)",
        "its name is not found",
        "See whether containers can reach a name server: the firewall lets those of the host through.",
    ),
    (
        r"(HTTP error \d{3}|\b40[13] Client Error)",
        "it refuses",
        "Correct PACKAGE_INDEX_URL, with user and password where it wants them.",
    ),
    (
        r"connection broken by '([^\n]{0,160})",
        "it cannot be reached",
        "Correct PACKAGE_INDEX_URL or the proxy; open a private address with FIREWALL_ALLOW.",
    ),
    (r"(No module named pip)", "the base image has no pip", "Install pip in the base image."),
)


async def base_image(context: CheckContext) -> CheckResult:
    """Run the base image like a bot, and ask its Python."""
    settings, image = context.settings, context.facts.base_image
    reference = settings.base_image
    if image is None:
        return warning(
            f"{reference} is not there; the first start will pull it",
            f"Pull it beforehand: docker pull {reference}",
        )
    ours = f"{context.facts.version['Os']}/{context.facts.version['Arch']}"
    if image.platform != ours:
        return failed(
            f"{reference} is for {image.platform}, and the Engine runs on {ours}",
            f"Pull it for this platform: docker pull --platform {ours} {reference}",
        )
    name, config = probe_container(
        settings, ["python", "-I", "-c", _PROGRAM], runtime=settings.container_runtime
    )
    try:
        found = await json_answer(context.engine, name, config, seconds=_BASE_IMAGE_SECONDS)
    except (EngineError, ValueError) as error:
        return failed(
            f"{reference} does not run Python: {error}",
            "Set BASE_IMAGE to an image with python in its PATH, such as python:3.12-slim.",
        )
    finding = f"{reference} ({image.id.removeprefix('sha256:')[:12]}), Python {found['python']}"
    if not found["pip"]:
        return failed(f"{finding}, without pip: no requirements", "Install pip in the base image.")
    if found["managed"]:
        return failed(
            f"{finding}, whose pip refuses to install (EXTERNALLY-MANAGED)",
            "Remove the file EXTERNALLY-MANAGED in the base image, or use python:3.12-slim.",
        )
    return ok(f"{finding}, pip {found['pip']}")


async def package_index(context: CheckContext) -> CheckResult:
    """Download a small package where builds run: in a network of its own, with our CA and proxy."""
    settings, image = context.settings, context.facts.base_image
    if image is None:
        return warning("cannot be tried without the base image", "Pull the base image.")
    limit = min(INDEX_SECONDS, settings.build_timeout_seconds)
    await EngineDisk(context.engine, settings).check()
    # Not as builds take theirs: a worker of this namespace would take it for one of a worker that has ended.
    networks = BotNetworks(context.engine, settings.model_copy(update={"network_mode": "own"}))
    key = probe_key()
    network = networks.choose(key)
    try:
        await networks.ensure(key, network)
        ended = await _download(context, network, limit)
    except OutputExceeded as error:
        ended = Ended(1, out_of_memory=False, lines=error.lines)
    except TimeoutError:
        return failed(
            f"no answer to a build within {limit} s",
            "Set PACKAGE_INDEX_URL to an index, or HTTPS_PROXY to a proxy, that builds can reach.",
        )
    finally:
        await asyncio.shield(networks.release(network))
    if ended.code:
        return _explained(ended)
    index = "the package index of PACKAGE_INDEX_URL" if settings.package_index_url else "PyPI"
    if over_plain_http({**image.environment, **settings.index_environment()}):
        return warning(
            "packages come over plain HTTP: none is cached, and each start with new requirements builds them",
            "Use https:// in PACKAGE_INDEX_URL, and in the base image's variables.",
        )
    return ok(f"{index} can be reached from a build")


async def _download(context: CheckContext, network: str, seconds: float) -> Ended:
    settings = context.settings
    ca = None if settings.ca_bundle is None else read_ca_bundle(settings.ca_bundle)
    # Not a build: a worker of this namespace takes the steps of builds that it does not know for left over.
    name, config = probe_container(
        settings,
        ["sh", "-ec", _DOWNLOAD if ca is None else f"{APPEND_SYSTEM_CA}; {_DOWNLOAD}"],
        network=network,
        user="0:0",
        memory=settings.build_memory_limit,
        environment=network_environment(settings) | settings.installer_environment(),
        read_only=False,
    )
    async with temporary(context.engine, name, config) as container:
        if ca is not None:
            path = PurePosixPath(CA_PATH)
            await containers.put_files(context.engine, container, Files(str(path.parent), {path.name: ca}))
        return await run(context.engine, container, seconds=seconds, output_limit=settings.build_output_limit)


def _explained(ended: Ended) -> CheckResult:
    """Why pip did not download the package."""
    output = "\n".join(ended.lines)
    for pattern, problem, remedy in _CAUSES:
        if match := re.search(pattern, output):
            return failed(f"{problem} from a build: {match[1]}", remedy)
    if "No matching distribution found" in output:
        return ok(f"answers a build; it does not offer the package {PACKAGE}")
    message = f"pip returned a non-zero code: {ended.code}"
    error = build_errors.failed(
        BuildError(message, ended.lines, exit_code=ended.code, out_of_memory=ended.out_of_memory)
    )
    return failed(f"{error.message} {output[-300:]}".strip(), error.hint)
