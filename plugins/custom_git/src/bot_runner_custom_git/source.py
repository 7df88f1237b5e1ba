"""The source's part in a deployment: from a request to a build context, or to the image of a known commit."""

import json
from typing import Any

from bot_runner_custom_git.params import GitParams
from bot_runner_git import AskedRemote, asked
from bot_runner_worker.plugin import BuildContext, DeploymentRequest, Image, Tools
from bot_runner_worker.projects import project_context

_FORMAT = "1"
"""Raise it when another image comes out of the same commit."""

_IMAGE = "custom_git.image"
_IMAGE_NAME = "custom_git.image_name"


async def prepare(request: DeploymentRequest[GitParams], tools: Tools) -> BuildContext | None:
    """The build context of the commit that the request names; ``None`` if its image is known already."""
    params = request.params
    async with asked(params, tools) as remote:
        name = await _image_name(remote, params, tools)
        if (image := await tools.images.recall(name, tools)) is not None:
            tools.kept[_IMAGE] = image
            return None
        tree = await remote.tree(params.git_subdir)
    try:
        context = await project_context(tree, tools, remote.deadline, entrypoint=params.entrypoint)
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


async def _image_name(remote: AskedRemote, params: GitParams, tools: Tools) -> str:
    # A generated Dockerfile is built on the operator's base image: a new one makes another image.
    base = await tools.images.base()
    return json.dumps(
        [
            *("git", _FORMAT, remote.address.url, remote.revision.commit),
            *(params.git_subdir, params.entrypoint, base.id),
        ]
    )
