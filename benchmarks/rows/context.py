"""Row 10, second half: by how much a worker grows while it serves a build context of 200 MB."""

import asyncio
import json
import os
import subprocess
import sys

from benchmarks.bench import Bench
from benchmarks.leftovers import NAMESPACE_PREFIX
from benchmarks.memory import BYTES_PER_MB
from benchmarks.results import value
from benchmarks.servers import ADDRESSES_ALLOWED, LargeArchive

SIZE = 200
PROBE = "tests.plugins.memory_probe"


async def measure(bench: Bench) -> None:
    """A process of its own, which downloads and builds an archive; its peak against what it had before."""
    archive = LargeArchive(bench.folder, bench.base, SIZE)
    namespace = f"{NAMESPACE_PREFIX}{bench.run}-context"
    environment = {
        "WORKER_TOKEN": "unused",
        "RUNNER_NAMESPACE": namespace,
        "DOCKER_NETWORK": f"{namespace}-net",
        "DOCKER_HOST": bench.docker.address,
        "BASE_IMAGE": bench.base,
        "SOURCE_ADDRESSES_ALLOWED": ADDRESSES_ALLOWED,
        "SOURCE_TIMEOUT_SECONDS": "120",
        "MAX_SOURCE_SIZE": "300m",
        "MAX_CONTEXT_SIZE": "300m",
    }
    request = {
        "user_id": "alice",
        "bot_id": "large",
        "deployment_mode": "custom",
        "archive_url": archive.url,
    }
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", PROBE),
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            output, _ = await process.communicate(json.dumps(request).encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    finally:
        archive.close()
    answer = json.loads(output)
    if answer["error"] is not None:
        raise RuntimeError(f"the start failed: {answer['error']}")
    what = f"worker memory: growth with a context of {SIZE} MB"
    bench.add(
        value("memory.context", what, answer["grown"] / BYTES_PER_MB, 64, unit="MB", against="itself idle")
    )
