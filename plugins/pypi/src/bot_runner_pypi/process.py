"""The bot's process: the console script, unprivileged, in a folder of its own, with unbuffered output."""

from bot_runner_pypi.params import PypiParams
from bot_runner_worker.plugin import ContainerOptions
from bot_runner_worker.projects import BOT_FOLDER, BOT_USER


def bot_process(params: PypiParams) -> ContainerOptions:
    """Command, user and environment of the bot."""
    return ContainerOptions(
        entrypoint=(),
        command=(params.command, *params.args),
        working_dir=BOT_FOLDER,
        user=f"{BOT_USER}:{BOT_USER}",
        # A bot's last words before a crash must reach the log.
        environment={"PYTHONUNBUFFERED": "1", "HOME": BOT_FOLDER},
    )
