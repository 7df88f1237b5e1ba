"""API calls for containers."""

import io
import tarfile
from collections.abc import Mapping
from typing import Any

from bot_runner_worker.engine.client import Engine, EngineError, label_filter
from bot_runner_worker.model.options import Files

_CHANGE = b'"Kind":'


async def wait(engine: Engine, container: str) -> int:
    """Wait until a container ends; returns its exit code."""
    answer = await engine.json("POST", f"containers/{container}/wait")
    return int(answer["StatusCode"])


async def commit(
    engine: Engine, container: str, config: Mapping[str, Any], *, reference: str = "", comment: str = ""
) -> str:
    """Make an image of what a container has written; returns its id.

    Args:
        engine: The Engine.
        container: Name or id; it has ended. Its variables and labels become the image's as well, and so does
            its health check if the configuration has none.
        config: The image's configuration. Without command and entrypoint, the image has none: the container's
            must be its entrypoint.
        reference: Tag of the new image, if it gets one.
        comment: For its history.
    """
    # The Engine fills what is missing from the container (moby, runconfig/merge.go), but not an empty list.
    body = dict(config) | {key: config.get(key) or [] for key in ("Cmd", "Entrypoint")}
    repository, _, tag = reference.rpartition(":")
    params = {"container": container, "pause": False, "comment": comment or None}
    named = {"repo": repository, "tag": tag} if reference else {}
    answer = await engine.json("POST", "commit", params=params | named, body=body, seconds=600)
    return str(answer["Id"])


async def create(engine: Engine, name: str, config: Mapping[str, Any]) -> str:
    """Create a container; returns its id. A name that is taken is an :class:`EngineError` 409."""
    answer = await engine.json("POST", "containers/create", params={"name": name}, body=config)
    return str(answer["Id"])


async def put_files(engine: Engine, container: str, files: Files) -> None:
    """Copy files into a container, running or not."""
    async with engine.request(
        "PUT",
        f"containers/{container}/archive",
        params={"path": "/", "noOverwriteDirNonDir": True},
        data=_tar(files),
        headers={"Content-Type": "application/x-tar"},
    ):
        pass


_HEADER_SIZE = 16 * 1024
"""Bytes that hold a file's header in a tar, even one of a link to the longest path."""


async def read_file(
    engine: Engine, container: str, path: str, *, max_size: int = 0
) -> tuple[tarfile.TarInfo, bytes] | None:
    """Read a file's header, and a regular file's content; ``None`` if it is not there.

    The last part of the path may be a link, which is not followed; those before it are.

    Args:
        engine: The Engine.
        container: Name or id of a container, running or not.
        path: Absolute path in the container.
        max_size: Bytes of content to read at most; of a larger file, none is read.
    """
    data = bytearray()
    try:
        async with engine.request(
            "GET", f"containers/{container}/archive", params={"path": path}
        ) as response:
            # Of a folder, the Engine would send all that is in it.
            while len(data) < _HEADER_SIZE + max_size and (
                chunk := await response.content.read(_HEADER_SIZE)
            ):
                data += chunk
    except EngineError as error:
        if error.not_found or "not a directory" in error.message:
            return None
        raise
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        header = tar.next()
        if header is None:
            return None
        content = tar.extractfile(header) if header.isreg() and header.size <= max_size else None
        return header, content.read() if content is not None else b""


def _tar(files: Files) -> bytes:
    root = files.root.strip("/")
    parts = root.split("/")
    folders = {"/".join(parts[:depth]) for depth in range(1, len(parts) + 1)}
    for path in files.content:
        steps = path.split("/")[:-1]
        folders |= {f"{root}/" + "/".join(steps[:depth]) for depth in range(1, len(steps) + 1)}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for folder in sorted(folders):
            member = tarfile.TarInfo(folder)
            member.type = tarfile.DIRTYPE
            member.mode = 0o755
            # Folders above the root belong to the image and keep their owner.
            if folder == root or folder.startswith(f"{root}/"):
                member.uid = member.gid = files.owner
            tar.addfile(member)
        for path, content in sorted(files.content.items()):
            member = tarfile.TarInfo(f"{root}/{path}")
            member.size = len(content)
            member.mode = 0o644
            member.uid = member.gid = files.owner
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


async def start(engine: Engine, container: str) -> None:
    """Start a container."""
    await engine.json("POST", f"containers/{container}/start")


async def stop(engine: Engine, container: str, grace_seconds: int) -> dict[str, Any] | None:
    """Stop a container: SIGTERM, then SIGKILL after the grace time. One that is gone is fine.

    Returns:
        The Engine's description of it afterwards, or ``None`` if it is gone.
    """
    await engine.json(
        "POST",
        f"containers/{container}/stop",
        params={"t": grace_seconds},
        seconds=grace_seconds + 60,
        ignored=(404,),
    )
    # Engine 26.1 lists it as running for a moment longer, but not after it has answered an inspection, which
    # waits until the new state is stored.
    return await inspect(engine, container)


async def kill(engine: Engine, container: str) -> None:
    """Kill a container's processes. One that does not run, or is gone, is fine."""
    await engine.json("POST", f"containers/{container}/kill", ignored=(404, 409))


async def set_policy(
    engine: Engine, container: str, *, restart: Mapping[str, Any] | None = None, cpu_shares: int
) -> None:
    """Set a container's restart policy and CPU shares in one call.

    Args:
        engine: The Engine.
        container: Name or id.
        restart: The new restart policy; ``None`` keeps the current one.
        cpu_shares: The new CPU shares.

    Raises:
        EngineError: 500 in the moment in which the container's process starts or ends ("cannot update a
            stopped container", seen on 20.10). Half of the change may be made then.
    """
    body: dict[str, Any] = {"CpuShares": cpu_shares}
    if restart is not None:
        body["RestartPolicy"] = dict(restart)
    await engine.json("POST", f"containers/{container}/update", body=body)


async def unpause(engine: Engine, container: str) -> None:
    """Unpause a container; one that is not paused is fine."""
    try:
        await engine.json("POST", f"containers/{container}/unpause")
    except EngineError as error:
        if not (error.not_found or error.conflict or "not paused" in error.message):
            raise


async def set_cpu_limit(engine: Engine, container: str, cores: float) -> None:
    """Limit the CPU time of a container, running or not."""
    nano = int(cores * 1_000_000_000)
    await engine.json("POST", f"containers/{container}/update", body={"NanoCpus": nano})


async def rename(engine: Engine, container: str, name: str) -> None:
    """Rename a container."""
    await engine.json("POST", f"containers/{container}/rename", params={"name": name})


async def remove(engine: Engine, container: str) -> None:
    """Remove a container with its anonymous volumes, running or not. One that is gone is fine."""
    # 409: somebody else is removing it at this moment.
    params = {"force": True, "v": True}
    await engine.json("DELETE", f"containers/{container}", params=params, ignored=(404, 409))


async def inspect(engine: Engine, container: str, *, size: bool = False) -> dict[str, Any] | None:
    """The Engine's description of a container, or ``None``.

    The Engine lists a container some milliseconds before it describes it (seen on 20.10, under load):
    ``None`` for one that was just listed does not mean that it is gone.

    Args:
        engine: The Engine.
        container: Name or id.
        size: Also add up what it has written (``SizeRw``), which takes a walk over its files.
    """
    params = {"size": True} if size else None
    answer: dict[str, Any] | None = await engine.json(
        "GET", f"containers/{container}/json", params=params, ignored=(404,)
    )
    return answer


async def count_changes(engine: Engine, container: str, *, enough: int) -> int:
    """Count the files and folders that differ from those of a container's image.

    The Engine needs about 30 µs for each, and lists them all before it answers.

    Args:
        engine: The Engine.
        container: Name or id.
        enough: Count at which to stop.
    """
    count, rest = 0, b""
    async with engine.request("GET", f"containers/{container}/changes") as response:
        async for chunk in response.content.iter_any():
            # In a path the quotes would be escaped.
            text = rest + chunk
            count += text.count(_CHANGE)
            rest = text[-len(_CHANGE) + 1 :]
            if count >= enough:
                break
    return count


async def list_all(engine: Engine) -> list[dict[str, Any]]:
    """All containers of the Engine, running or not."""
    answer: list[dict[str, Any]] = await engine.json("GET", "containers/json", params={"all": True})
    return answer


async def list_by_labels(engine: Engine, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """All containers, running or not, that carry all these labels."""
    answer: list[dict[str, Any]] = await engine.json(
        "GET", "containers/json", params={"all": True, "filters": {"label": label_filter(labels)}}
    )
    # The filter splits at the first "=" only since some releases: check the exact values again.
    return [
        each for each in answer if all(each["Labels"].get(name) == value for name, value in labels.items())
    ]
