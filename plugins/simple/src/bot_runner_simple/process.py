"""The bot's process: unprivileged, in its own folder, with unbuffered output."""

from bot_runner_simple.params import SimpleParams
from bot_runner_worker.plugin import ContainerOptions, Files, Tools
from bot_runner_worker.projects import BOT_FOLDER, BOT_USER


def bot_process(params: SimpleParams, tools: Tools) -> ContainerOptions:
    """Files, command, user and environment of the bot."""
    files = Files.of(BOT_FOLDER, params.sources(), owner=BOT_USER, max_size=tools.settings.max_context_size)
    return ContainerOptions(
        entrypoint=(),
        command=("python3", params.entrypoint),
        working_dir=BOT_FOLDER,
        user=f"{BOT_USER}:{BOT_USER}",
        files=(files,),
        # A bot's last words before a crash must reach the log.
        environment={"PYTHONUNBUFFERED": "1", "HOME": BOT_FOLDER},
    )
