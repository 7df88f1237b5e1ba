"""The ``docker`` command, as operators use it, and builds that leave nothing but their tags behind."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]


class DockerError(AssertionError):
    """A docker command failed; the message holds its last words."""


async def docker(*arguments: str, seconds: float = 60, accept_failure: bool = False) -> str:
    """Run a docker command and return its output.

    Args:
        arguments: After ``docker``.
        seconds: Time limit.
        accept_failure: Return the output, errors included, whatever the exit code.

    Raises:
        DockerError: If it failed.
        TimeoutError: If it took too long.
    """
    process = await asyncio.create_subprocess_exec(
        *("docker", *arguments),
        # The oldest builder that the Dockerfiles are written for.
        env=os.environ | {"DOCKER_BUILDKIT": "0"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), seconds)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if accept_failure:
        return (output + errors).decode()
    if process.returncode:
        raise DockerError(f"docker {arguments[0]}: {(output + errors).decode()[-3000:]}")
    return output.decode().strip()


async def build(
    tag: str,
    *,
    folder: Path = REPOSITORY,
    dockerfile: Path | None = None,
    target: str = "",
    **build_args: str,
) -> str:
    """Build an image, remove the one that had its tag, and return what the build said."""
    arguments = ["build", "--force-rm", "--tag", tag, "--file", str(dockerfile or folder / "Dockerfile")]
    if target:
        arguments += ["--target", target]
    for name, value in build_args.items():
        arguments += ["--build-arg", f"{name}={value}"]
    former = await image_id(tag)
    output = await docker(*arguments, str(folder), seconds=300)
    if former and former != await image_id(tag):
        # Together with its layers, but for those that the new image shares.
        await docker("image", "rm", former, accept_failure=True)
    return output


async def image_id(tag: str) -> str:
    """The image's id; empty if there is none."""
    return await docker("image", "ls", "--no-trunc", "--quiet", tag)


async def inspect(name: str) -> Any:
    """All that the Engine knows of an image or container."""
    return json.loads(await docker("inspect", name))[0]
