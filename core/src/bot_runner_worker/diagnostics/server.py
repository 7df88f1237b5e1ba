"""``/health``, ``/ready`` and ``/metrics`` over HTTP."""

import errno
import logging
import os
from typing import Any, Self

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from bot_runner_worker.diagnostics.health import Health
from bot_runner_worker.model.errors import SettingsError
from bot_runner_worker.redaction import Redactor
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)


class HealthServer:
    """Serves the worker's health; use it as an asynchronous context manager.

    ``/health`` answers 200 as long as the process's event loop works, ``/ready`` 200 or 503 with the reasons.
    No answer names a user or a bot, or holds a secret.

    Args:
        settings: The address; the token is removed from all answers.
        health: The worker's health.
    """

    def __init__(self, settings: Settings, health: Health) -> None:
        self._settings = settings
        self._health = health
        self._redactor = Redactor([settings.worker_token.get_secret_value()])
        self._server: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        """Start to listen; without the default address, as for a second worker on one machine, do not.

        Raises:
            SettingsError: If the operator's ``HEALTH_ADDRESS`` cannot be used.
        """
        address = self._settings.health_address
        if address == "off":
            return self
        host, _, port = address.rpartition(":")
        app = web.Application(client_max_size=1024)
        app.router.add_get("/health", self._get_health)
        app.router.add_get("/ready", self._get_ready)
        app.router.add_get("/metrics", self._get_metrics)
        server = web.AppRunner(app, access_log=None, keepalive_timeout=15, shutdown_timeout=1)
        await server.setup()
        try:
            await web.TCPSite(server, host.strip("[]"), int(port)).start()
        except (OSError, OverflowError) as error:
            await server.cleanup()
            self._do_without(address, error)
            return self
        self._server = server
        logger.info("health: http://%s:%d", host, self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            await self._server.cleanup()

    @property
    def port(self) -> int:
        """The port on which it listens; 0 if it does not."""
        return int(self._server.addresses[0][1]) if self._server else 0

    def _do_without(self, address: str, error: OSError | OverflowError) -> None:
        number = error.errno if isinstance(error, OSError) else None
        reason = os.strerror(number).lower() if number and number > 0 else str(error)
        if "health_address" in self._settings.model_fields_set:
            raise SettingsError(
                f"HEALTH_ADDRESS: cannot listen on {address}: {reason}.",
                hint="Choose another address, or off.",
            ) from error
        why = "another worker of this machine may have it" if number == errno.EADDRINUSE else reason
        logger.warning(
            "nothing is served at %s (%s): set HEALTH_ADDRESS to have /health, /ready and /metrics",
            address,
            why,
        )

    async def _get_health(self, _: web.Request) -> web.Response:
        return self._json(await self._health.report(), 200)

    async def _get_ready(self, _: web.Request) -> web.Response:
        reasons = await self._health.not_ready()
        return self._json({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    async def _get_metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=await self._health.metrics_text(), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    def _json(self, data: dict[str, Any], status: int) -> web.Response:
        return web.json_response(
            self._redactor.data(data), status=status, headers={"Cache-Control": "no-store"}
        )
