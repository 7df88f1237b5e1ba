"""The package index as requirements meet it: inside a build, with the operator's CA and proxy."""

import asyncio
import re
import secrets
from collections.abc import Iterable
from contextlib import closing

from bot_runner_worker.diagnostics.checks.context import CheckContext
from bot_runner_worker.diagnostics.results import Check, State
from bot_runner_worker.engine import Engine, images
from bot_runner_worker.images.base import silent
from bot_runner_worker.images.context import BuildContext
from bot_runner_worker.images.store import ImageStore
from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.plugins.tools import Tools

NAME = "package index"

PACKAGE = "six"
"""Small, without dependencies, and on every index that serves more than a company's own packages."""

BUILD_SECONDS = 60
_REMOVALS = 5

_PIP = (
    "python3 -m pip download --no-deps --no-cache-dir --no-input --disable-pip-version-check "
    "--only-binary :all: --retries 1 --timeout 10 --dest /tmp/bot-runner-doctor " + PACKAGE
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


async def package_index(here: CheckContext) -> Check:
    """Download a small package in a build that is bounded and thrown away."""
    if here.known.base_image is None:
        return Check(NAME, State.WARNING, "cannot be tried without the base image", "Pull the base image.")
    limit = min(BUILD_SECONDS, here.settings.build_timeout_seconds)
    settings = here.settings.model_copy(update={"build_timeout_seconds": limit})
    store = ImageStore(here.engine, settings)
    tools = Tools(settings, store, tenant="", report=silent)
    built: list[str] = []
    try:
        base = await store.base()
        with closing(_context(tools, base.id)) as context:
            built.append((await store.build(context, tools)).reference)
    except Rejected as error:
        return _refused(error, limit)
    finally:
        await store.close()
        for reference in built:
            await asyncio.shield(_discard(here.engine, reference))
    return Check(NAME, State.OK, f"{_index(here)} can be reached from a build")


async def _discard(engine: Engine, reference: str) -> None:
    # The store notes in the background that the image is used, by tagging it: that may come after this.
    for _ in range(_REMOVALS):
        await images.remove(engine, reference)
        await asyncio.sleep(0.2)
        if await images.inspect(engine, reference) is None:
            return


def _context(tools: Tools, base: str) -> BuildContext:
    with tools.new_build_context() as context:
        # Never built before, so that no cache answers for the index.
        nonce = secrets.token_hex(8)
        context.add("Dockerfile", f"FROM {base}\nRUN : {nonce}; {_PIP} && rm -r /tmp/bot-runner-doctor\n")
        return context.finish(generated=True)


def _index(here: CheckContext) -> str:
    return "the package index of PACKAGE_INDEX_URL" if here.settings.package_index_url else "PyPI"


def _refused(error: Rejected, limit: int) -> Check:
    if error.code == Code.BUILD_TIMED_OUT:
        return Check(
            NAME,
            State.FAILED,
            f"no answer to a build within {limit} s",
            "Set PACKAGE_INDEX_URL to an index, or HTTPS_PROXY to a proxy, that builds can reach.",
        )
    log: Iterable[str] = error.details.get("log", ())
    output = "\n".join(log)
    for pattern, problem, remedy in _CAUSES:
        if match := re.search(pattern, output):
            return Check(NAME, State.FAILED, f"{problem} from a build: {match[1]}", remedy)
    if "No matching distribution found" in output:
        return Check(NAME, State.OK, f"answers a build; it does not offer the package {PACKAGE}")
    return Check(NAME, State.FAILED, f"{error.message} {output[-300:]}".strip(), error.hint)
