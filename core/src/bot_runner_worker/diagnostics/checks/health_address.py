"""The address of ``/health``, ``/ready`` and ``/metrics``: free, or this worker's already."""

import errno
import os
import socket

import aiohttp

from bot_runner_worker.diagnostics.checks.context import CheckContext
from bot_runner_worker.diagnostics.results import Check, State

NAME = "health address"

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (recognised, not listened on)


async def health_address(here: CheckContext) -> Check:
    """Listen there for a moment; if it is taken, ask who has it."""
    address = here.settings.health_address
    if address == "off":
        return Check(
            NAME, State.OK, "off: nothing tells how the worker is", "Set HEALTH_ADDRESS to have it watched."
        )
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        # As asyncio's servers do: not held up by connections of a worker that has just ended.
        with socket.create_server(
            (host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        ):
            return Check(NAME, State.OK, f"{address} is free: no worker is running here")
    except (OSError, OverflowError) as error:
        if getattr(error, "errno", None) != errno.EADDRINUSE:
            reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
            return Check(NAME, State.FAILED, f"{address}: {reason}", "Choose another HEALTH_ADDRESS, or off.")
    worker = await _worker_at(host, port)
    if worker is None:
        # The worker refuses to start only for an address that the operator chose.
        chosen = "health_address" in here.settings.model_fields_set
        return Check(
            NAME,
            State.FAILED if chosen else State.WARNING,
            f"{address} is taken by another program",
            "Choose another HEALTH_ADDRESS, or off.",
        )
    return Check(NAME, State.OK, f"the worker {worker} answers at {address}")


async def _worker_at(host: str, port: str) -> str | None:
    """The id of the worker that answers there."""
    host = _WILDCARDS.get(host, host)
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/health"
    timeout = aiohttp.ClientTimeout(total=5)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
            return str((await response.json())["worker_id"])
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError):
        return None
