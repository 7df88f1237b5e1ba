"""The image: base image plus requirements."""

from bot_runner_simple.params import SimpleParams
from bot_runner_worker.plugin import BuildContext, Tools

_INSTALL = (
    "python3 -m pip install --no-cache-dir --no-input --disable-pip-version-check "
    "--root-user-action=ignore -r /requirements.txt"
)


async def requirements_context(params: SimpleParams, tools: Tools) -> BuildContext | None:
    """The build context that installs the requirements; ``None`` without any.

    Nothing in it belongs to one tenant, so all tenants with the same requirements share its image.
    """
    if not params.requirements:
        return None
    base = await tools.images.base()
    with tools.new_build_context() as context:
        context.add("requirements.txt", "\n".join(params.requirements) + "\n")
        context.add(
            "Dockerfile",
            f"FROM {base.id}\nCOPY requirements.txt /requirements.txt\nRUN {_INSTALL}\n",
        )
        return context.finish(shared=True)
