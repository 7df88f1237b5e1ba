"""History of jobs and workers, without secrets and without faults of users."""

import asyncio
import os
import sqlite3
from contextlib import closing, suppress
from logging import getLogger
from time import time
from typing import Any
from urllib.parse import urlparse

from aiosqlite import Connection
from avtomatika.history.base import HistoryStorageBase
from avtomatika.history.sqlite import SQLiteHistoryStorage
from rxon.constants import JOB_STATUS_FAILED, JOB_STATUS_FINISHED, TERMINAL_STATES

from .errors import SetupError
from .jobs import asks_for_logs, is_final
from .redaction import redact

logger = getLogger(__name__)

_FLUSH_SECONDS = 1.0
_TABLES = ("job_history", "worker_history")
_PARTS = 20
_SECONDS_OF_A_DAY = 86400


def ensure_writable(uri: str) -> None:
    """Check that a SQLite history can be written.

    Args:
        uri: ``HISTORY_DATABASE_URI``; other databases pass.

    Raises:
        SetupError: The file cannot be opened or locked.
    """
    if not uri.startswith("sqlite:"):
        return
    path = urlparse(uri).path
    try:
        # SQLite would wait for the lock of a device, and then call it a locked database.
        if os.path.exists(path) and not os.path.isfile(path):
            raise sqlite3.OperationalError("it is not a file")
        with closing(sqlite3.connect(path)) as database:
            database.execute("BEGIN IMMEDIATE")
            database.rollback()
    except sqlite3.Error as exc:
        raise SetupError(
            f"cannot write the history to {path}: {exc}; set HISTORY_DATABASE_URI to another place or none"
        ) from exc


class RedactedHistory(HistoryStorageBase):
    """History storage that redacts events and hands them to another storage.

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

    async def forget(self, days: int, most_bytes: int) -> None:
        """Delete old events from SQLite, and the oldest of what is too much; PostgreSQL keeps all.

        Args:
            days: Age in days.
            most_bytes: Size of the database; the file itself never shrinks, and grows little beyond it.
        """
        database = self._inner._conn if isinstance(self._inner, SQLiteHistoryStorage) else None
        if database is None:
            return
        oldest = time() - days * _SECONDS_OF_A_DAY
        for table in _TABLES:
            await database.execute(f"DELETE FROM {table} WHERE timestamp < ?", (oldest,))  # noqa: S608 - see above
        await database.commit()
        while await _bytes_of(database) > most_bytes and await _forget_oldest(database):
            pass

    async def log_job_event(self, event_data: dict[str, Any]) -> None:
        """Queue a redacted copy of the event (the original still changes before it is written)."""
        snapshot = dict(event_data.get("context_snapshot") or {})
        # A class of the SDK that cannot be written as JSON, and large.
        snapshot.pop("skill_snapshot", None)
        if asks_for_logs(snapshot):
            for name in ("result", "state_history"):
                snapshot.pop(name, None)
        kind = event_data.get("event_type")
        if kind == "job_completed" and snapshot.get("status") not in TERMINAL_STATES:
            # Avtomatika takes this snapshot, the last one, before it sets the status.
            finished = event_data.get("state") == JOB_STATUS_FINISHED
            snapshot["status"] = JOB_STATUS_FINISHED if finished else JOB_STATUS_FAILED
        event = {
            name: value for name, value in event_data.items() if name not in ("tracing_context", "metadata")
        }
        event["context_snapshot"] = redact(snapshot)
        await self._inner.log_job_event(event)
        if kind == "job_created" and is_final(snapshot):
            # Refused at once: no step of it logs its end.
            end = {"event_type": "job_completed", "state": snapshot["status"]}
            await self._inner.log_job_event(event | end)

    async def log_worker_event(self, event_data: dict[str, Any]) -> None:
        """Queue a redacted copy of the event; heartbeats are left out, which come all the time."""
        if event_data.get("event_type") == "status_update":
            return
        snapshot = redact(event_data.get("worker_info_snapshot"))
        await self._inner.log_worker_event(event_data | {"worker_info_snapshot": snapshot})

    async def get_job_history(self, job_id: str) -> list[dict[str, Any]]:
        """See the base class; the end of the job comes last.

        Avtomatika tells a job's status from the last event, and a step or a worker may have gone on after it.
        """
        events = await self._inner.get_job_history(job_id)
        return sorted(events, key=lambda event: event.get("event_type") == "job_completed")

    async def get_jobs(
        self, limit: int = 100, offset: int = 0, client_token: str | None = None
    ) -> list[dict[str, Any]]:
        """See the base class; ``client_token`` is a client's identity."""
        return await self._inner.get_jobs(limit, offset, client_token)

    async def get_job_summary(self, client_token: str | None = None) -> dict[str, int]:
        """See the base class; ``client_token`` is a client's identity."""
        return await self._inner.get_job_summary(client_token)

    async def get_worker_history(self, worker_id: str, since_days: int) -> list[dict[str, Any]]:
        """Return the worker's events without those that say nothing about it.

        Those are refused requests, failures worth a retry, timeouts and cancellations. Avtomatika computes
        the reputation from the rest.

        Args:
            worker_id: The worker.
            since_days: Age in days.
        """
        events = await self._inner.get_worker_history(worker_id, since_days)
        return [event for event in events if not _is_no_fault_of_the_worker(event)]

    async def _persist_job_event(self, event_data: dict[str, Any]) -> None:
        raise NotImplementedError  # the inner history writes

    async def _persist_worker_event(self, event_data: dict[str, Any]) -> None:
        raise NotImplementedError


async def _bytes_of(database: Connection) -> int:
    """What the database holds; pages that were freed are used again."""
    sizes = []
    for name in ("page_count", "freelist_count", "page_size"):
        async with database.execute(f"PRAGMA {name}") as cursor:
            row = await cursor.fetchone()
        sizes.append(int(row[0]) if row else 0)
    pages, free, page_bytes = sizes
    return (pages - free) * page_bytes


async def _forget_oldest(database: Connection) -> bool:
    """Remove the oldest entries, a part at a time; returns whether there were any."""
    removed = 0
    for table in _TABLES:
        # Entries are numbered in the order in which they come.
        async with database.execute(
            f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} ORDER BY rowid LIMIT "  # noqa: S608
            f"(SELECT 1 + count(*) / {_PARTS} FROM {table}))"
        ) as cursor:
            removed += max(0, cursor.rowcount)
    await database.commit()
    return removed > 0


def _is_no_fault_of_the_worker(event: dict[str, Any]) -> bool:
    snapshot = event.get("context_snapshot")
    if not isinstance(snapshot, dict):
        return False
    result = snapshot.get("result")
    status = result.get("status") if isinstance(result, dict) else None
    return snapshot.get("error") == "timeout" or status in ("rejected", "unavailable", "cancelled")
