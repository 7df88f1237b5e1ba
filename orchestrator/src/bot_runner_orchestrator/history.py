"""Avtomatika's history without secrets, and without blaming workers for their users' mistakes."""

import asyncio
from contextlib import suppress
from typing import Any

from avtomatika.history.base import HistoryStorageBase
from rxon.constants import JOB_STATUS_FAILED, JOB_STATUS_FINISHED

from .redaction import redact

_FLUSH_SECONDS = 1.0


class RedactedHistory(HistoryStorageBase):
    """A history storage in front of another one.

    Args:
        inner: The history that is written and read.
    """

    def __init__(self, inner: HistoryStorageBase) -> None:
        super().__init__()
        self._inner = inner

    async def initialize(self) -> None:
        """Prepare the inner history."""
        await self._inner.initialize()

    async def start(self) -> None:
        """Start the inner history's writer."""
        await self._inner.start()

    async def close(self) -> None:
        """Write what is queued, as far as that is quick, and close."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._inner._queue.join(), _FLUSH_SECONDS)
        await self._inner.close()

    async def log_job_event(self, event_data: dict[str, Any]) -> None:
        """Queue a redacted copy of the event (the original still changes before it is written)."""
        snapshot = dict(event_data.get("context_snapshot") or {})
        # A class of the SDK that cannot be written as JSON, and large.
        snapshot.pop("skill_snapshot", None)
        if event_data.get("event_type") == "job_completed":
            # Avtomatika takes this snapshot, the last one, before it sets the status.
            finished = event_data.get("state") == JOB_STATUS_FINISHED
            snapshot["status"] = JOB_STATUS_FINISHED if finished else JOB_STATUS_FAILED
        event = {
            name: value for name, value in event_data.items() if name not in ("tracing_context", "metadata")
        }
        await self._inner.log_job_event(event | {"context_snapshot": redact(snapshot)})

    async def log_worker_event(self, event_data: dict[str, Any]) -> None:
        """Queue a redacted copy of the event."""
        snapshot = redact(event_data.get("worker_info_snapshot"))
        await self._inner.log_worker_event(event_data | {"worker_info_snapshot": snapshot})

    async def get_job_history(self, job_id: str) -> list[dict[str, Any]]:
        """See the base class."""
        return await self._inner.get_job_history(job_id)

    async def get_jobs(
        self, limit: int = 100, offset: int = 0, client_token: str | None = None
    ) -> list[dict[str, Any]]:
        """See the base class; ``client_token`` is a client's identity."""
        return await self._inner.get_jobs(limit, offset, client_token)

    async def get_job_summary(self, client_token: str | None = None) -> dict[str, int]:
        """See the base class; ``client_token`` is a client's identity."""
        return await self._inner.get_job_summary(client_token)

    async def get_worker_history(self, worker_id: str, since_days: int) -> list[dict[str, Any]]:
        """The worker's events; Avtomatika computes its reputation from them.

        Refused requests and outages of the Engine are left out: they say nothing about the worker.
        """
        return [
            event
            for event in await self._inner.get_worker_history(worker_id, since_days)
            if _result_status(event) not in ("rejected", "unavailable")
        ]

    async def _persist_job_event(self, event_data: dict[str, Any]) -> None:
        await self._inner._persist_job_event(event_data)

    async def _persist_worker_event(self, event_data: dict[str, Any]) -> None:
        await self._inner._persist_worker_event(event_data)


def _result_status(event: dict[str, Any]) -> Any:
    snapshot = event.get("context_snapshot")
    result = snapshot.get("result") if isinstance(snapshot, dict) else None
    return result.get("status") if isinstance(result, dict) else None
