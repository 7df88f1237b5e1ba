"""``bot-runner start``."""

import os
from typing import Any

import typer

from bot_runner_cli import launch, options
from bot_runner_cli.commands import start_options
from bot_runner_cli.connection import ConnectionOptions
from bot_runner_cli.environment import bot_environment
from bot_runner_cli.limits import resource_limits
from bot_runner_cli.session import open_session
from bot_runner_cli.sources import Selection, choose

EPILOG = """\
[bold]Examples[/bold]
bot-runner start echo --simple bot.py -r 'aiogram>=3' -e BOT_TOKEN
bot-runner start shop --simple ./shop --env-file .env --memory 128m --replace
bot-runner start shop --git https://github.com/me/shop --branch main
bot-runner start shop --custom ./folder-with-a-Dockerfile
bot-runner start shop --image registry.example.com/me/shop:1.2 --registry-user me
"""


def start(
    context: typer.Context,
    bot_id: options.BotId,
    more_files: start_options.MoreFiles = None,
    simple: start_options.Simple = None,
    custom: start_options.Custom = None,
    git: start_options.Git = None,
    image: start_options.Image = None,
    mode: start_options.Mode = None,
    requirements: start_options.Requirements = None,
    entrypoint: start_options.Entrypoint = None,
    branch: start_options.Branch = None,
    subdir: start_options.Subdir = None,
    git_token_stdin: start_options.GitTokenStdin = False,
    include: start_options.Include = None,
    registry_user: start_options.RegistryUser = None,
    registry_password_stdin: start_options.RegistryPasswordStdin = False,
    param: start_options.Param = None,
    env: start_options.Env = None,
    env_file: start_options.EnvFile = None,
    memory: start_options.Memory = None,
    cpu: start_options.Cpu = None,
    pids: start_options.Pids = None,
    replace: start_options.Replace = False,
    watch: options.Watch = 3.0,
    as_json: options.Json = False,
    url: options.Url = None,
    token: options.Token = None,
    user: options.User = None,
    timeout: options.Timeout = None,
) -> None:
    """Start a bot, and see whether it stays up.

    Shows the stages, then watches the bot for some seconds.
    A bot that ends so soon is reported with its last lines (exit code 5).
    Ctrl-C cancels the start.
    """
    connection = ConnectionOptions(url, token, user, as_json, timeout)
    with open_session(context, connection, timeout=launch.TIMEOUT) as session:
        variables = bot_environment(env or (), env_file or (), os.environ)
        session.output.redactor.learn(variables.values())
        source = choose(
            Selection(
                simple=simple or (),
                more_files=more_files or (),
                custom=custom,
                include=include or (),
                git=git,
                branch=branch,
                subdir=subdir,
                git_token_stdin=git_token_stdin,
                image=image,
                registry_user=registry_user,
                registry_password_stdin=registry_password_stdin,
                mode=mode,
                params=param or (),
                requirements=requirements or (),
                entrypoint=entrypoint,
            ),
            os.environ,
        )
        session.output.redactor.learn(source.secrets)
        for note in source.notes:
            session.output.note(note)
        params: dict[str, Any] = {"bot_id": bot_id, **source.params}
        if variables:
            params["env_vars"] = variables
        if limits := resource_limits(memory, cpu, pids):
            params["resource_limits"] = limits
        if replace:
            params["replace"] = True
        launch.launch(session, "start", params, watch)
