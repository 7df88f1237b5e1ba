"""The history: in SQLite unless the operator says otherwise, and never longer than asked for."""

import sqlite3
import time
from pathlib import Path

import pytest
from tests.orchestrator.conftest import START
from tests.orchestrator.waiting import stays, until

from bot_runner_orchestrator import engine
from bot_runner_orchestrator.settings import Settings


def rows(history: Path, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(history) as database:
        return database.execute(query).fetchall()


async def test_it_is_kept_in_the_working_folder_by_default(
    make_orchestrator, make_worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    default = Settings.model_fields["history_database_uri"].default
    orchestrator = await make_orchestrator(history_database_uri=default)
    await make_worker(orchestrator)
    await orchestrator.run()
    await orchestrator.engine.stop()
    kept = rows(tmp_path / "bot-runner-history.sqlite", "SELECT event_type FROM job_history")
    assert ("job_completed",) in kept


@pytest.mark.parametrize("end", ["cancelled", "timed out", "timed out in the queue", "refused"])
async def test_each_end_of_a_job_is_in_it(make_orchestrator, make_worker, tmp_path: Path, end: str) -> None:
    history = tmp_path / "history.sqlite"
    orchestrator = await make_orchestrator(history_database_uri=f"sqlite:{history}", start_timeout_seconds=1)
    worker = await make_worker(orchestrator, go=False)
    job_id = await orchestrator.post(**({"policy": {"a": 1}} if end == "refused" else {}))
    if end in ("cancelled", "timed out"):
        task = await worker.poll()
    if end == "cancelled":
        await orchestrator.request("POST", f"/api/jobs/{job_id}/cancel")
        await orchestrator.request("POST", f"/api/jobs/{job_id}/cancel")
    job = await orchestrator.end_of(job_id)
    completed = "SELECT state FROM job_history WHERE event_type = 'job_completed'"
    assert await until(lambda: rows(history, completed)) == [(job["status"],)]
    if end == "cancelled":
        await worker.progress(task, 0.5, "too late")
        await until(lambda: rows(history, "SELECT 1 FROM job_history WHERE event_type LIKE '%progress'"))

    # As when the retention time is over.
    del orchestrator.engine.bot_storage._jobs[job_id]
    kept = await orchestrator.job(job_id)
    assert kept["status"] == job["status"]
    assert kept["result"]["error"]["message"] == job["result"]["error"]["message"]


async def test_heartbeats_do_not_fill_it(make_orchestrator, make_worker, tmp_path: Path) -> None:
    history = tmp_path / "history.sqlite"
    orchestrator = await make_orchestrator(history_database_uri=f"sqlite:{history}")
    worker = await make_worker(orchestrator, go=False)
    for _ in range(3):
        assert (await worker.heartbeat())[0] == 200
    await orchestrator.engine.stop()
    assert rows(history, "SELECT event_type FROM worker_history") == [("registered",)]


async def test_what_is_too_old_is_forgotten(make_orchestrator, make_worker, tmp_path: Path) -> None:
    history = tmp_path / "history.sqlite"
    settings = {"history_database_uri": f"sqlite:{history}", "history_retention_days": 7}
    first = await make_orchestrator(**settings)
    await make_worker(first)
    await first.run()
    await first.engine.stop()
    with sqlite3.connect(history) as database:
        for table, kind, days in (
            ("job_history", "job_created", 8),
            ("job_history", "job_completed", 6),
            ("worker_history", "registered", 8),
        ):
            moment = time.time() - days * 86400
            database.execute(f"UPDATE {table} SET timestamp = ? WHERE event_type = ?", (moment, kind))
    await make_orchestrator(**settings)
    await until(lambda: not rows(history, "SELECT * FROM worker_history"))
    kept = rows(history, "SELECT event_type FROM job_history")
    assert ("job_created",) not in kept
    assert ("job_completed",) in kept


async def test_what_is_too_much_is_forgotten_oldest_first(
    make_orchestrator, make_worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_HISTORY_UPKEEP_SECONDS", 0.05)
    history = tmp_path / "history.sqlite"
    orchestrator = await make_orchestrator(history_database_uri=f"sqlite:{history}", history_max_mb=1)
    worker = await make_worker(orchestrator)
    first = await orchestrator.run()
    for _ in range(1000):
        # Long texts of a tenant's choice.
        await worker.event("bot_started", {"user_id": "alice", "bot_id": "b", "note": "x" * 4000})
    last = await orchestrator.run()

    def kept(job_id: str) -> int:
        return len(rows(history, f"SELECT * FROM job_history WHERE job_id = '{job_id}'"))

    await until(lambda: kept(first["id"]) == 0)
    await until(lambda: kept(last["id"]) > 0)
    await stays(lambda: kept(last["id"]) > 0, 0.3)
    ((pages,),) = rows(history, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
    assert int(str(pages)) < 4 * 1024 * 1024


async def test_a_text_has_a_limit_in_it(make_orchestrator, make_worker, tmp_path: Path) -> None:
    history = tmp_path / "history.sqlite"
    orchestrator = await make_orchestrator(history_database_uri=f"sqlite:{history}")
    await make_worker(orchestrator)
    await orchestrator.run({**START, "entrypoint": "a" * 1_000_000})
    await orchestrator.engine.stop()
    ((longest,),) = rows(history, "SELECT max(length(context_snapshot)) FROM job_history")
    assert int(str(longest)) < 20_000


async def test_results_with_logs_are_not_in_it(make_orchestrator, make_worker, tmp_path: Path) -> None:
    history = tmp_path / "history.sqlite"
    orchestrator = await make_orchestrator(history_database_uri=f"sqlite:{history}")
    result = {"status": "ok", "logs": "words of a bot", "next_since": "sentinel"}
    await make_worker(orchestrator, lambda _: {"status": "success", "data": result})
    job = await orchestrator.run({"action": "logs", "bot_id": "echo"})
    assert job["result"] == result
    await orchestrator.engine.stop()
    snapshots = rows(history, "SELECT context_snapshot FROM job_history")
    assert snapshots
    assert "sentinel" not in str(snapshots)
