"""The private names of Avtomatika (and one of aiohttp) that this package uses, and what each is for.

Nothing here is a promise of theirs: Avtomatika is pinned exactly, and a test compares this table with the
installed version. After an upgrade it says which name has changed, and what breaks without it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Seam:
    """One private name.

    Attributes:
        owner: The module, or ``module:class``, that has it.
        name: The name.
        used_in: Our module.
        breaks: What goes wrong without it.
        parameters: Those of a function, ``self`` included; ``None`` for an attribute.
    """

    owner: str
    name: str
    used_in: str
    breaks: str
    parameters: tuple[str, ...] | None = None


_EXECUTOR = "avtomatika.executor:JobExecutor"
_MEMORY = "avtomatika.storage.memory:MemoryStorage"
_REDIS = "avtomatika.storage.redis:RedisStorage"
_HISTORY = "avtomatika.history.base:HistoryStorageBase"

SEAMS = (
    Seam(
        "avtomatika.engine",
        "JobExecutor",
        "executor",
        "the engine makes its own executor, and the orchestrator refuses to start",
        ("engine", "history_storage", "metrics"),
    ),
    Seam(
        "avtomatika.engine:OrchestratorEngine",
        "_setup_history_storage",
        "engine",
        "secrets get into the history, and a history that cannot be written goes unnoticed",
        ("self",),
    ),
    Seam(
        "avtomatika.dispatcher:Dispatcher",
        "_get_workers_cached",
        "executor",
        "a burst of tasks goes to one worker",
        ("self", "worker_ids"),
    ),
    Seam(
        _EXECUTOR,
        "_process_job",
        "executor",
        "a job is forgotten if Redis is away while it leaves the queue",
        ("self", "job_id", "message_id"),
    ),
    Seam(
        _EXECUTOR,
        "_handle_failure",
        "executor",
        "a job fails if Redis is away in the middle of a step",
        ("self", "job_state", "error", "duration_ms"),
    ),
    Seam(_MEMORY, "_jobs", "memory_storage", "jobs that are over are never removed from memory"),
    Seam(_MEMORY, "_watched_jobs", "memory_storage", "tasks of lost workers are not given out again"),
    Seam(_MEMORY, "_worker_task_queues", "memory_storage", "workers get no tasks"),
    Seam(_REDIS, "_redis", "redis_storage", "nothing works with Redis"),
    Seam(_REDIS, "_get_key", "redis_storage", "jobs that are over stay in Redis", ("self", "job_id")),
    Seam(_REDIS, "_unpack", "redis_storage", "workers get no tasks", ("data",)),
    Seam(_HISTORY, "_queue", "history", "the last entries are lost when the process ends"),
    Seam(
        _HISTORY,
        "_persist_job_event",
        "history",
        "an abstract method has another name",
        ("self", "event_data"),
    ),
    Seam(
        _HISTORY,
        "_persist_worker_event",
        "history",
        "an abstract method has another name",
        ("self", "event_data"),
    ),
    Seam(
        "avtomatika.history.sqlite:SQLiteHistoryStorage",
        "_conn",
        "history",
        "old entries are never removed from the history",
    ),
    Seam("aiohttp.web:BaseRequest", "_read_bytes", "legacy_api", "the older API gets no answers"),
)

KEYS = {
    "orchestrator:worker:info:": "avtomatika.storage.redis",
    "orchestrator:task_queue:": "avtomatika.storage.redis",
    "orchestrator:watched_jobs": "avtomatika.storage.redis",
    "ratelimit:client:": "avtomatika.ratelimit",
}
"""Beginnings of Avtomatika's keys that we read or write, and its module that does so as well."""
