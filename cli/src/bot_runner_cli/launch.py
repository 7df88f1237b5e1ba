"""What ``start`` and ``restart`` share: show the stages, then see whether the bot stays up."""

import time
from typing import Any

from rich.text import Text

from bot_runner_cli.errors import BotDiedError, CliError, UserInterruptError
from bot_runner_cli.session import Session
from bot_runner_cli.watch import watch

TIMEOUT = 900.0


def launch(session: Session, action: str, params: dict[str, Any], watch_seconds: float) -> None:
    """Run the action and show its result.

    Ctrl-C while it runs cancels it; afterwards it only ends the watching.

    Args:
        session: The command's means.
        action: ``start`` or ``restart``.
        params: The action's params.
        watch_seconds: How long to watch the bot; 0: not at all.

    Raises:
        BotDiedError: The bot did not stay up.
        CliError: The action failed.
    """
    jobs, output, bot_id = session.jobs, session.output, params["bot_id"]
    began = time.monotonic()
    verb = "Restarting" if action == "restart" else "Starting"
    with output.progress(f"{verb} {bot_id}") as tell:
        data = jobs.run(action, params, on_progress=tell, cancel_as=f"the {action} of {bot_id}")
        took = time.monotonic() - began
        bot_status = None
        if watch_seconds > 0:
            tell("Watching whether it stays up", None)
            bot_status = _watched(session, bot_id, data, action, watch_seconds)
    for note in data.get("notes") or []:
        output.note(str(note))
    output.result({**data, "bot_status": bot_status}, _sentence(bot_id, data, bot_status, took))


def _watched(session: Session, bot_id: str, data: dict[str, Any], action: str, seconds: float) -> str | None:
    already = data.get("status") == "already_running"
    # A restarted container, or one that was running before, may count restarts of its past.
    fresh = action == "start" and not already
    try:
        return watch(session.jobs, bot_id, 0 if already else seconds, fresh=fresh)
    except BotDiedError:
        raise
    except KeyboardInterrupt:
        raise UserInterruptError(f"The bot {bot_id} was started; only the watching ended.") from None
    except CliError as error:
        session.output.warning(f"the bot was started, but it could not be watched: {error.message}")
        return None


def _sentence(bot_id: str, data: dict[str, Any], bot_status: str | None, took: float) -> Text:
    if data.get("status") == "already_running":
        return Text.assemble((bot_id, "bold"), " runs already, with the same content; nothing was changed.")
    replaced = " in place of the old one" if data.get("replaced") else ""
    state = {"running": "runs", "starting": "is starting", None: "was started"}.get(bot_status, "was started")
    return Text.assemble((bot_id, "bold"), f" {state}{replaced} ({took:.1f} s).")
