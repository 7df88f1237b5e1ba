"""The hands of a bot's users over HTTP, for tools that run in another process than the emulator.

| request | answer |
|---|---|
| `POST /bots` `{"token"?, "username"?}` | `{"token", "username"}`: registers a bot |
| `GET /bots/{token}` | `{"polls", "conflicts", "first_poll_at", "pending"}` |
| `POST /bots/{token}/messages` `{"text", "chat_id"?}` | `{"update_id"}`: a user's message |
| `GET /bots/{token}/answer?timeout=SECONDS` | `{"chat_id", "text"}`: the next answer, or 408 |

It is served apart from the Bot API, on the loopback address, so that bots cannot reach it.
"""

import time

from aiohttp import web

from bot_runner_stack.telegram.account import DEFAULT_CHAT_ID, BotAccount
from bot_runner_stack.telegram.server import TelegramEmulator

_EMULATOR = web.AppKey("emulator", TelegramEmulator)


def control_application(emulator: TelegramEmulator) -> web.Application:
    """The control interface of `emulator` as an aiohttp application."""
    application = web.Application()
    application[_EMULATOR] = emulator
    application.router.add_post("/bots", _register)
    application.router.add_get("/bots/{token}", _show)
    application.router.add_post("/bots/{token}/messages", _user_sends)
    application.router.add_get("/bots/{token}/answer", _next_answer)
    return application


async def _register(request: web.Request) -> web.Response:
    body = await request.json() if request.can_read_body else {}
    username = body.get("username", "demo_bot")
    account = request.app[_EMULATOR].register_bot(body.get("token"), username=username)
    return web.json_response({"token": account.token, "username": account.username})


async def _show(request: web.Request) -> web.Response:
    account = _account(request)
    return web.json_response(
        {
            "polls": account.polls,
            "conflicts": account.conflicts,
            "first_poll_at": account.first_poll_at,
            "now": time.monotonic(),
            "pending": account.pending_count,
        }
    )


async def _user_sends(request: web.Request) -> web.Response:
    body = await request.json()
    update_id = _account(request).user_sends(body["text"], chat_id=body.get("chat_id", DEFAULT_CHAT_ID))
    return web.json_response({"update_id": update_id})


async def _next_answer(request: web.Request) -> web.Response:
    try:
        message = await _account(request).next_answer(timeout=float(request.query.get("timeout", "10")))
    except TimeoutError:
        raise web.HTTPRequestTimeout(text="The bot sent nothing in that time.") from None
    return web.json_response({"chat_id": message.chat_id, "text": message.text})


def _account(request: web.Request) -> BotAccount:
    try:
        return request.app[_EMULATOR].bot(request.match_info["token"])
    except KeyError:
        raise web.HTTPNotFound(text="No bot with this token is registered.") from None
