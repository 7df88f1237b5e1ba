"""What a plugin's failure becomes: an error of the request that it was asked for, in the core's words."""

import json
import re
from typing import Any

from bot_runner_worker.model.errors import BotRunnerError, Code, Rejected, Unavailable

HINT = "This is a fault of the plugin, not of the request; report it to the operator."

MAX_TEXT = 2_000
MAX_DETAILS = 64 * 1024

_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


def broke_off(plugin: str, hook: str, error: BaseException) -> Rejected:
    """A plugin raised what is no error of ours. What it says is for the log: it may hold a secret."""
    kind = type(error).__name__[:100]
    return Rejected(
        Code.PLUGIN_FAILED,
        f"The deployment plugin {plugin} failed ({kind} in {hook}).",
        hint=HINT,
        details={"plugin": plugin, "hook": hook, "exception": kind},
    )


def too_slow(plugin: str, hook: str, seconds: float) -> Rejected:
    """A plugin did not answer in time."""
    return Rejected(
        Code.PLUGIN_FAILED,
        f"The deployment plugin {plugin} did not answer within {seconds:g} seconds ({hook}).",
        hint=HINT,
        details={"plugin": plugin, "hook": hook, "limit_seconds": seconds},
    )


def blocked(plugin: str, hook: str, seconds: float) -> Rejected:
    """A plugin held up the whole worker, and was cut off."""
    return Rejected(
        Code.PLUGIN_FAILED,
        f"The deployment plugin {plugin} held up the worker for {seconds:g} seconds ({hook}).",
        hint=HINT,
        details={"plugin": plugin, "hook": hook, "limit_seconds": seconds},
    )


def wrong_type(plugin: str, hook: str, result: object) -> Rejected:
    """A plugin answered something of another kind."""
    kind = type(result).__name__[:100]
    return Rejected(
        Code.PLUGIN_FAILED,
        f"The deployment plugin {plugin} returned {kind} from {hook}.",
        hint=HINT,
        details={"plugin": plugin, "hook": hook, "type": kind},
    )


def unusable(plugin: str, hook: str, what: str) -> Rejected:
    """A plugin answered something of the right kind that cannot be used."""
    return Rejected(
        Code.PLUGIN_FAILED,
        f"The deployment plugin {plugin} returned {what}.",
        hint=HINT,
        details={"plugin": plugin, "hook": hook},
    )


def tamed(error: BotRunnerError) -> BotRunnerError:
    """An error that a plugin raised on purpose, within what a client can be sent.

    Returns:
        The same error where it is as it should be; otherwise a plain one with what of it fits.
    """
    kind = Unavailable if isinstance(error, Unavailable) else Rejected
    code = error.code if isinstance(error.code, str) and _CODE.fullmatch(error.code) else Code.PLUGIN_FAILED
    details = _details(error.details)
    plain = kind(
        code, _text(error.message), hint=_text(error.hint), details=details, stage=_text(error.stage)
    )
    if type(error) is kind and plain.to_dict() == error.to_dict():
        return error
    plain.__cause__ = error
    return plain


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]} …"


def _details(value: Any) -> dict[str, Any]:
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return {"omitted": "details that are no JSON"}
    if len(text) > MAX_DETAILS:
        return {"omitted": f"details of more than {MAX_DETAILS // 1024} KiB"}
    return value if isinstance(value, dict) else {}
