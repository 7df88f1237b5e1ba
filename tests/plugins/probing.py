"""Runs the memory probe as a process of its own."""

import asyncio
import json
import os
import sys
from typing import Any
from uuid import uuid4

from tests.conftest import BASE_IMAGE, ENGINE
from tests.corpus.servers import ALLOWED

MIB = 1024 * 1024
CONTEXT_SIZE = 200 * MIB
ALLOWED_GROWTH = 64 * MIB


async def growth_of_a_start(**params: Any) -> int:
    """By how many bytes a fresh worker's memory grew while it started this bot of the mode ``custom``."""
    namespace = f"probe-{uuid4().hex[:12]}"
    settings = {
        "WORKER_TOKEN": "unused",
        "RUNNER_NAMESPACE": namespace,
        "DOCKER_NETWORK": f"{namespace}-net",
        "DOCKER_HOST": ENGINE,
        "BASE_IMAGE": BASE_IMAGE,
        "SOURCE_ADDRESSES_ALLOWED": f"{ALLOWED}/32",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.plugins.memory_probe",
        env={**os.environ, **settings},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    request = {"user_id": "alice", "bot_id": "large", "deployment_mode": "custom", **params}
    output, _ = await process.communicate(json.dumps(request).encode())
    answer = json.loads(output)
    assert answer["error"] is None, answer["error"]
    return int(answer["grown"])
