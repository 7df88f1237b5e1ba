"""The sources' part in a deployment: from a request to a build context."""

import base64
import binascii
import tempfile
from typing import IO

from bot_runner_custom_archive.download import download
from bot_runner_custom_archive.errors import ARCHIVE_TIMED_OUT, INVALID_ARCHIVE
from bot_runner_custom_archive.params import ArchiveParams, ArchiveUrlParams, ProjectParams
from bot_runner_custom_archive.reading import read_archive
from bot_runner_worker.plugin import BuildContext, Code, Rejected, Tools
from bot_runner_worker.projects import Deadline, ProjectTree, in_thread, project_context

_IN_MEMORY = 1024 * 1024


async def prepare_inline(params: ArchiveParams, tools: Tools) -> BuildContext:
    """The build context of an archive inside the request."""
    with _spool() as archive:
        deadline = _deadline(tools)
        await in_thread(lambda: archive.write(_decoded(params.archive)), deadline)
        return await _context(archive, params, tools, deadline)


async def prepare_download(params: ArchiveUrlParams, tools: Tools) -> BuildContext:
    """The build context of an archive on a server."""
    with _spool() as archive:
        await download(params.archive_url, archive, tools)
        return await _context(archive, params, tools, _deadline(tools))


def _spool() -> IO[bytes]:
    return tempfile.SpooledTemporaryFile(_IN_MEMORY, prefix="bot-runner-archive-")


def _deadline(tools: Tools) -> Deadline:
    seconds = tools.settings.source_timeout_seconds
    return Deadline(
        seconds, code=ARCHIVE_TIMED_OUT, message=f"Reading the archive took longer than {seconds} seconds."
    )


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Rejected(
            INVALID_ARCHIVE,
            "The archive is not valid base64.",
            hint="Encode the file's bytes in standard base64, without line breaks.",
        ) from None


async def _context(
    archive: IO[bytes], params: ProjectParams, tools: Tools, deadline: Deadline
) -> BuildContext:
    size = archive.tell()
    await tools.progress("reading the archive")
    tree = await in_thread(
        lambda: read_archive(archive, size, max_size=tools.settings.max_context_size, deadline=deadline),
        deadline,
    )
    try:
        project = _folder(tree, params.archive_subdir)
        return await project_context(project, tools, deadline, entrypoint=params.entrypoint)
    finally:
        tree.close()


def _folder(tree: ProjectTree, path: str | None) -> ProjectTree:
    if path is None:
        return tree
    folder = tree.folder(path)
    if not folder.files:
        raise Rejected(
            Code.INVALID_PATH,
            f"The archive has no folder {path!r}.",
            hint="Check archive_subdir; a single top folder that holds everything else is not counted.",
            details={"found": sorted({name.split("/")[0] for name in tree.files})[:50]},
        )
    return folder
