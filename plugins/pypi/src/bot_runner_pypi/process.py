"""The bot's process: the console script, unprivileged, in a folder of its own, with unbuffered output."""

from bot_runner_pypi.params import PypiParams
from bot_runner_worker.plugin import ContainerOptions

FOLDER = "/app"
USER = 10001
"""Numeric, since the base image need not know the user; the same as in mode ``simple``."""


def bot_process(params: PypiParams) -> ContainerOptions:
    """Command, user and environment of the bot."""
    return ContainerOptions(
        entrypoint=(),
        command=(params.command, *params.args),
        working_dir=FOLDER,
        user=f"{USER}:{USER}",
        # A bot's last words before a crash must reach the log.
        environment={"PYTHONUNBUFFERED": "1", "HOME": FOLDER},
    )
