"""Skills and modes that workers offer. Pure functions over their registrations."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rxon.schema import validate_data

from .errors import Code, RequestRefused, job_error
from .redaction import shown_name

Worker = Mapping[str, Any]
Modes = dict[str, dict[str, str]]

# "offline" is a worker's farewell and "draining" comes before it; a full worker takes tasks again soon.
_TAKES_TASKS = frozenset({"active", "idle", "busy", "full"})


def skill_of(worker: Worker, task: str) -> Mapping[str, Any] | None:
    """The worker's skill for ``task``, or ``None`` if it has none."""
    for skill in worker.get("supported_skills") or []:
        if isinstance(skill, Mapping) and skill.get("name") == task:
            return skill
    return None


def takes_tasks(worker: Worker, task: str) -> bool:
    """Whether the worker takes tasks of this kind, now or as soon as it has finished another."""
    return worker.get("status", "idle") in _TAKES_TASKS and skill_of(worker, task) is not None


def modes_on_offer(workers: Iterable[Worker]) -> Modes:
    """All modes with their sources and summaries: ``{mode: {source: summary}}``."""
    modes: Modes = {}
    for worker in workers:
        properties = (skill_of(worker, "start_bot") or {}).get("properties") or {}
        for mode, offer in (properties.get("modes") or {}).items():
            modes.setdefault(mode, {}).update(offer.get("sources") or {})
    return modes


def check_offered(task: str, params: Mapping[str, Any], workers: Sequence[Worker]) -> None:
    """Refuse a task that no worker takes, and name what they take.

    Args:
        task: The task's name.
        params: Its params.
        workers: The workers with a skill for it.

    Raises:
        RequestRefused: ``INVALID_DEPLOYMENT_MODE``, ``MISSING_SOURCE`` or ``INVALID_FIELD``.
    """
    modes = modes_on_offer(workers) if task == "start_bot" else {}
    mode = params.get("deployment_mode")
    details: dict[str, Any] = {"modes": {name: sorted(sources) for name, sources in sorted(modes.items())}}
    if modes and mode not in modes:
        raise RequestRefused(
            job_error(
                Code.INVALID_DEPLOYMENT_MODE,
                f"No worker offers deployment_mode {shown_name(mode)}.",
                hint=f"On offer: {_listing(modes)}. Other modes come with plugins.",
                details=details,
                stage="request",
            )
        )
    # The dispatcher makes the same check, but its failure would be retried and end without a clear error.
    complaints = [_schema_complaint(worker, task, params) for worker in workers]
    if all(complaints):
        raise RequestRefused(
            job_error(
                Code.MISSING_SOURCE if modes else Code.INVALID_FIELD,
                f"No worker takes these fields: {complaints[0]}.",
                hint=f"On offer: {_listing(modes)}." if modes else "",
                details=details if modes else {},
                stage="request",
            )
        )


def _schema_complaint(worker: Worker, task: str, params: Mapping[str, Any]) -> str | None:
    schema = (skill_of(worker, task) or {}).get("input_schema")
    if not schema:
        return None
    fits, complaint = validate_data(params, schema)
    return None if fits else str(complaint or "they do not fit").rstrip(".")


def _listing(modes: Modes) -> str:
    return "; ".join(
        mode if list(sources) in ([], [mode]) else f"{mode} (from {', '.join(sorted(sources))})"
        for mode, sources in sorted(modes.items())
    )
