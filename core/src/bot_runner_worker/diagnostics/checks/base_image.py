"""The base image: whether it is there, starts as bots do, and has what bots need."""

import asyncio
import json
from typing import Any

from bot_runner_worker.diagnostics.checks.context import CheckContext
from bot_runner_worker.diagnostics.checks.throwaway import discarded, throwaway
from bot_runner_worker.diagnostics.results import Check, State
from bot_runner_worker.engine import EngineError, containers, logs

NAME = "base image"

# For whatever Python the image has; it stays for a while, so that its output can be read.
_PROGRAM = """
import json, os, sys, sysconfig, time
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
time.sleep(30)
"""


async def base_image(here: CheckContext) -> Check:
    """Run it as bots are run, and ask its Python."""
    reference, image = here.settings.base_image, here.known.base_image
    if image is None:
        return Check(
            NAME,
            State.WARNING,
            f"{reference} is not there; the first start will pull it",
            f"Pull it beforehand: docker pull {reference}",
        )
    ours = f"{here.known.version['Os']}/{here.known.version['Arch']}"
    if image.platform != ours:
        return Check(
            NAME,
            State.FAILED,
            f"{reference} is for {image.platform}, and the Engine runs on {ours}",
            f"Pull it for this platform: docker pull --platform {ours} {reference}",
        )
    try:
        found = await _ask(here)
    except (EngineError, ValueError) as error:
        return Check(
            NAME,
            State.FAILED,
            f"{reference} does not run Python: {error}",
            "Set BASE_IMAGE to an image with python in its PATH, such as python:3.12-slim.",
        )
    finding = f"{reference} ({image.id.removeprefix('sha256:')[:12]}), Python {found['python']}"
    if not found["pip"]:
        return Check(
            NAME, State.FAILED, f"{finding}, without pip: no requirements", "Install pip in the base image."
        )
    if found["managed"]:
        return Check(
            NAME,
            State.FAILED,
            f"{finding}, whose pip refuses to install (EXTERNALLY-MANAGED)",
            "Remove the file EXTERNALLY-MANAGED in the base image, or use python:3.12-slim.",
        )
    return Check(NAME, State.OK, f"{finding}, pip {found['pip']}")


async def _ask(here: CheckContext) -> dict[str, Any]:
    name, config = throwaway(here.settings, ["python", "-I", "-c", _PROGRAM])
    async with discarded(here.engine, name):
        container = await containers.create(here.engine, name, config)
        await containers.start(here.engine, container)
        while True:
            lines = await logs.read(here.engine, container, tail=20, max_bytes=64 * 1024)
            for line in lines:
                if line.complete and line.text.startswith("{"):
                    answer: dict[str, Any] = json.loads(line.text)
                    return answer
            state = await containers.inspect(here.engine, container)
            if state is None or state["State"]["Status"] != "running":
                raise ValueError("; ".join(line.text for line in lines[-3:]) or "it printed nothing")
            await asyncio.sleep(0.1)
