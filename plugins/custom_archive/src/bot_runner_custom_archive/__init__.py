"""Deployment mode ``custom``, sources ``archive`` and ``archive_url``: a bot from a tar or zip archive.

The archive is read member by member into a build context; nothing of it is unpacked to disk.
"""

from collections.abc import Awaitable
from typing import Any

from bot_runner_custom_archive.params import ArchiveParams, ArchiveUrlParams
from bot_runner_custom_archive.source import prepare_download, prepare_inline
from bot_runner_worker.plugin import BuildContext, DeploymentRequest, DeploymentSource, Tools, hookimpl

MODE = "custom"


@hookimpl
def deployment_sources() -> list[DeploymentSource]:
    """Offer two sources of the mode ``custom``."""
    return [
        DeploymentSource(
            mode=MODE,
            name="archive",
            params=ArchiveParams,
            summary="a tar or zip archive in base64, with a Dockerfile or a Python project",
            selected_by=frozenset({"archive"}),
        ),
        DeploymentSource(
            mode=MODE,
            name="archive_url",
            params=ArchiveUrlParams,
            summary="a tar or zip archive that is downloaded, with a Dockerfile or a Python project",
            selected_by=frozenset({"archive_url"}),
        ),
    ]


@hookimpl
def prepare_build_context(
    request: DeploymentRequest[Any], tools: Tools
) -> Awaitable[BuildContext | None] | None:
    """The build context of the archive."""
    if request.mode != MODE:
        return None
    if request.source == "archive":
        return prepare_inline(request.params, tools)
    if request.source == "archive_url":
        return prepare_download(request.params, tools)
    return None
