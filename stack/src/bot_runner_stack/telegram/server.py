"""The emulator's HTTP server: `/bot<token>/<method>` with a query, form, multipart or JSON body."""

import json
import secrets
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from bot_runner_stack.errors import StackError
from bot_runner_stack.telegram import methods
from bot_runner_stack.telegram.account import BotAccount
from bot_runner_stack.telegram.errors import BotApiError


class TelegramEmulator:
    """Telegram's Bot API on an address of this machine, for the bots that are registered with it.

    `host` must be an address that the bots can reach: for bots in containers, the Docker bridge's own
    (`bot_runner_stack.engine.bridge_address`). Port 0 takes a free one.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._host = host
        self._port = port
        self._accounts: dict[str, BotAccount] = {}
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """The base URL to give to bots, without a slash at its end."""
        return f"http://{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen. Raises StackError if the address cannot be used."""
        application = web.Application()
        application.router.add_route("*", "/bot{token}/{method}", self._serve)
        # Without handler_cancellation a bot that went away would go on polling, and its next poll conflict.
        runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as error:
            await runner.cleanup()
            raise StackError(
                f"The Telegram emulator cannot listen on {self._host}:{self._port}: {error.strerror}."
            ) from error
        self._runner = runner
        self._port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port and end the waiting polls. Does nothing if it was not started."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def register_bot(self, token: str | None = None, *, username: str = "demo_bot") -> BotAccount:
        """Make a bot known, with a token of BotFather's form if none is given."""
        token = token or f"{secrets.randbelow(10**9) + 10**9}:{secrets.token_urlsafe(26)}"
        return self._accounts.setdefault(token, BotAccount(token=token, username=username))

    def bot(self, token: str) -> BotAccount:
        """Return a registered bot. Raises KeyError."""
        return self._accounts[token]

    async def _serve(self, request: web.Request) -> web.Response:
        try:
            account = self._accounts.get(request.match_info["token"])
            if account is None:
                raise BotApiError(401, "Unauthorized")
            result = await methods.call(account, request.match_info["method"], await _params(request))
        except BotApiError as error:
            body = {"ok": False, "error_code": error.code, "description": error.description}
            return web.json_response(body, status=error.code)
        return web.json_response({"ok": True, "result": result})


async def _params(request: web.Request) -> dict[str, Any]:
    params: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json" and request.can_read_body:
        try:
            body = await request.json()
        except json.JSONDecodeError as error:
            raise BotApiError(400, "Bad Request: can't parse JSON object") from error
        if not isinstance(body, dict):
            raise BotApiError(400, "Bad Request: object expected as JSON body")
        return params | body
    return params | dict(await request.post())
