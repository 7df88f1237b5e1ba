"""The bot's process: unprivileged, in its own folder, with unbuffered output."""

from bot_runner_simple.params import SimpleParams
from bot_runner_worker.plugin import ContainerOptions, Files, Tools

FOLDER = "/app"
USER = 10001
"""Numeric, since the base image need not know the user; above the range of users that systems create."""


def bot_process(params: SimpleParams, tools: Tools) -> ContainerOptions:
    """Files, command, user and environment of the bot."""
    files = Files.of(FOLDER, params.sources(), owner=USER, max_size=tools.settings.max_context_size)
    return ContainerOptions(
        entrypoint=(),
        command=("python3", params.entrypoint),
        working_dir=FOLDER,
        user=f"{USER}:{USER}",
        files=(files,),
        # A bot's last words before a crash must reach the log.
        environment={"PYTHONUNBUFFERED": "1", "HOME": FOLDER},
    )
