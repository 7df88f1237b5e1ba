"""The source's part in a deployment: from a request to a build context, or to the image of a known commit."""

import json
from typing import Any

from bot_runner_custom_git.address import RepositoryAddress
from bot_runner_custom_git.environment import remote_environment
from bot_runner_custom_git.errors import GIT_TIMED_OUT, INVALID_GIT_URL, timed_out
from bot_runner_custom_git.params import GitParams
from bot_runner_custom_git.repository import RemoteRepository, Revision
from bot_runner_worker.plugin import BuildContext, DeploymentRequest, Image, Tools
from bot_runner_worker.projects import Deadline, in_thread, project_context

_FORMAT = "1"
"""Raise it when another image comes out of the same commit."""

_IMAGE = "custom_git.image"
_IMAGE_NAME = "custom_git.image_name"


async def prepare(request: DeploymentRequest[GitParams], tools: Tools) -> BuildContext | None:
    """The build context of the commit that the request names; ``None`` if its image is known already.

    The remote is asked in any case, with the request's own credentials: who may no longer read a repository
    does not get its image either.
    """
    params = request.params
    address = params.address()
    seconds = tools.settings.source_timeout_seconds
    deadline = Deadline(seconds, code=GIT_TIMED_OUT, message=timed_out(seconds))
    dialled = await _checked_addresses(address, tools)
    repository = RemoteRepository(address.url, deadline=deadline, max_size=tools.settings.max_source_size)
    try:
        environment = remote_environment(
            repository.folder, address, dialled=dialled, ca_bundle=tools.settings.ca_bundle
        )
        await tools.progress("asking the Git server")
        revision = await in_thread(lambda: repository.revision(params, environment), deadline)

        name = await _image_name(address, revision, params, tools)
        if (image := await tools.images.recall(name, tools)) is not None:
            tools.kept[_IMAGE] = image
            return None

        async def report() -> None:
            amount = f"{repository.fetched / 1e6:.1f} MB"
            await tools.progress(f"fetched {amount} of commit {revision.commit[:12]}")

        tree = await in_thread(
            lambda: repository.tree(
                revision, params.git_subdir, environment, tools.settings.max_context_size
            ),
            deadline,
            report,
        )
    finally:
        repository.close()
    try:
        context = await project_context(tree, tools, deadline, entrypoint=params.entrypoint)
    finally:
        tree.close()
    tools.kept[_IMAGE_NAME] = name
    return context


async def resolve(context: BuildContext | None, tools: Tools) -> Image:
    """The known image, or the one that is built; which is known from now on."""
    if context is None:
        known: Any = tools.kept[_IMAGE]
        assert isinstance(known, Image)
        return known
    image = await tools.images.build(context, tools)
    await tools.images.remember(str(tools.kept[_IMAGE_NAME]), image, tools)
    return image


async def _checked_addresses(address: RepositoryAddress, tools: Tools) -> list[str]:
    tools.outbound.check_url(address.url, code=INVALID_GIT_URL, field="git_repo")
    return await tools.outbound.resolve(address.host, address.port)


async def _image_name(address: RepositoryAddress, revision: Revision, params: GitParams, tools: Tools) -> str:
    # A generated Dockerfile is built on the operator's base image: a new one makes another image.
    base = await tools.images.base()
    return json.dumps(
        ["git", _FORMAT, address.url, revision.commit, params.git_subdir, params.entrypoint, base.id]
    )
