"""The Bot API methods: name, parameters, result. Anything else is answered with 404, as Telegram does."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from bot_runner_stack.telegram.account import MAX_UPDATES_PER_POLL, BotAccount, JsonObject
from bot_runner_stack.telegram.errors import BotApiError

Params = dict[str, Any]
Method = Callable[[BotAccount, Params], Awaitable[Any]]


async def call(account: BotAccount, method: str, params: Params) -> Any:
    """Call a method by its name (case does not matter). Raises BotApiError."""
    implementation = _METHODS.get(method.lower())
    if implementation is None:
        raise BotApiError(404, "Not Found")
    return await implementation(account, params)


async def _get_me(account: BotAccount, _params: Params) -> JsonObject:
    return account.me()


async def _get_updates(account: BotAccount, params: Params) -> list[JsonObject]:
    return await account.poll(
        offset=_integer(params, "offset", 0),
        limit=_integer(params, "limit", MAX_UPDATES_PER_POLL),
        seconds=_integer(params, "timeout", 0),
    )


async def _get_webhook_info(account: BotAccount, _params: Params) -> JsonObject:
    return {"url": "", "has_custom_certificate": False, "pending_update_count": account.pending_count}


async def _delete_webhook(account: BotAccount, params: Params) -> bool:
    if str(params.get("drop_pending_updates", "")).lower() in {"true", "1"}:
        account.drop_pending()
    return True


async def _send_message(account: BotAccount, params: Params) -> JsonObject:
    return await account.send(_integer(params, "chat_id", 0), str(params.get("text", "")))


async def _set_my_commands(account: BotAccount, params: Params) -> bool:
    commands = params.get("commands", [])
    try:
        account.commands = json.loads(commands) if isinstance(commands, str) else list(commands)
    except ValueError as error:
        raise BotApiError(400, "Bad Request: can't parse commands JSON object") from error
    return True


async def _get_my_commands(account: BotAccount, _params: Params) -> list[JsonObject]:
    return account.commands


async def _delete_my_commands(account: BotAccount, _params: Params) -> bool:
    account.commands = []
    return True


async def _accept(_account: BotAccount, _params: Params) -> bool:
    return True


def _integer(params: Params, name: str, default: int) -> int:
    value = params.get(name, default)
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise BotApiError(400, f"Bad Request: invalid {name} specified") from error


_METHODS: dict[str, Method] = {
    "getme": _get_me,
    "getupdates": _get_updates,
    "getwebhookinfo": _get_webhook_info,
    "deletewebhook": _delete_webhook,
    "sendmessage": _send_message,
    "sendchataction": _accept,
    "setmycommands": _set_my_commands,
    "getmycommands": _get_my_commands,
    "deletemycommands": _delete_my_commands,
    "logout": _accept,
    "close": _accept,
}
