"""The image: base image, package, and a folder that the bot may write to."""

from importlib.resources import files

from bot_runner_pypi.params import PypiParams
from bot_runner_worker.plugin import BuildContext, Tools
from bot_runner_worker.projects import BOT_FOLDER, BOT_USER

_INSTALL = (
    "python3 -m pip install --no-cache-dir --no-input --disable-pip-version-check "
    "--root-user-action=ignore -r /tmp/requirements.txt"
)


async def package_context(params: PypiParams, tools: Tools) -> BuildContext:
    """The build context that installs the package.

    Nothing in it belongs to one tenant, so all who run the same release share its image. Names have been
    checked: nothing of the request is read by a shell here but a name, which no shell reads otherwise.
    """
    base = await tools.images.base()
    check = files("bot_runner_pypi").joinpath("has_script.py").read_text()
    with tools.new_build_context() as context:
        context.add("requirements.txt", f"{params.requirement}\n")
        context.add("has_script.py", check)
        context.add(
            "Dockerfile",
            f"FROM {base.id}\n"
            f"RUN mkdir -p {BOT_FOLDER} && chown {BOT_USER}:{BOT_USER} {BOT_FOLDER}\n"
            "COPY requirements.txt has_script.py /tmp/\n"
            f"RUN {_INSTALL}\n"
            f"RUN python3 /tmp/has_script.py {params.package} {params.command}\n",
        )
        return context.finish(shared=True)
