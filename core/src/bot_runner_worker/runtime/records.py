"""Reading bots back from the Engine: labels and container state become a :class:`BotRecord`."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from bot_runner_worker import identity
from bot_runner_worker.results import BotStatus
from bot_runner_worker.runtime.container_config import STOPPED_POLICY
from bot_runner_worker.runtime.spec import BotRecord

_LIVE = {
    "created": BotStatus.STARTING,
    "running": BotStatus.RUNNING,
    "paused": BotStatus.RUNNING,
    "restarting": BotStatus.RESTARTING,
}


START_PATIENCE = timedelta(minutes=1)
"""A container that was created longer ago and never started is what a killed worker left."""


def _live(state: str, created: datetime | None) -> BotStatus | None:
    status = _LIVE.get(state)
    if status is BotStatus.STARTING and created and datetime.now(UTC) - created > START_PATIENCE:
        return None
    return status


def record_of_row(row: Mapping[str, Any]) -> BotRecord | None:
    """Read a live bot from a row of the container list; ``None`` if only an inspection can tell."""
    status = _live(row["State"], datetime.fromtimestamp(row["Created"], UTC))
    if status is None:
        return None
    return _record(row["Id"], row["Names"][0].removeprefix("/"), row["Labels"], status)


def record_of_inspection(container: Mapping[str, Any]) -> BotRecord:
    """Read a bot from a container's inspection."""
    state = container["State"]
    labels = container["Config"]["Labels"]
    finished_at = _moment(state.get("FinishedAt", ""))
    status = _live(state["Status"], _moment(container["Created"]))
    exit_code: int | None = state["ExitCode"]
    if status is None:
        status = _ended(container, labels, finished_at)
    elif status is not BotStatus.RESTARTING:
        exit_code, finished_at = None, None
    # The flag, not exit code 137: any SIGKILL gives 137, and a child may die of memory with exit code 0.
    oom_killed = bool(state.get("OOMKilled"))
    environment = dict(entry.partition("=")[::2] for entry in container["Config"].get("Env") or [])
    return _record(
        container["Id"],
        container["Name"].removeprefix("/"),
        labels,
        status,
        finished_at=finished_at,
        exit_code=exit_code,
        oom_killed=oom_killed,
        restart_count=container.get("RestartCount", 0),
        reason=_reason(status, exit_code, oom_killed, state.get("Error", "")),
        environment=environment,
    )


def _record(
    id: str,  # noqa: A002
    name: str,
    labels: Mapping[str, str],
    status: BotStatus,
    **state: Any,
) -> BotRecord:
    epoch = datetime.fromtimestamp(0, UTC)
    return BotRecord(
        bot=identity.BotKey.from_labels(labels),
        status=status,
        id=id,
        name=name,
        mode=labels.get(identity.MODE, ""),
        source=labels.get(identity.SOURCE, ""),
        image=labels.get(identity.IMAGE_REFERENCE, ""),
        request_digest=labels.get(identity.REQUEST_DIGEST, ""),
        spec_digest=labels.get(identity.SPEC_DIGEST, ""),
        started_at=_moment(labels.get(identity.STARTED_AT, "")) or epoch,
        expires_at=_moment(labels.get(identity.EXPIRES_AT, "")) or epoch,
        **state,
    )


def _ended(
    container: Mapping[str, Any], labels: Mapping[str, str], finished_at: datetime | None
) -> BotStatus:
    if container["State"]["Status"] == "created":
        return BotStatus.STOPPED
    if container["HostConfig"]["RestartPolicy"]["Name"] in (STOPPED_POLICY["Name"], ""):
        expires_at = _moment(labels.get(identity.EXPIRES_AT, ""))
        expired = expires_at is not None and finished_at is not None and finished_at >= expires_at
        return BotStatus.EXPIRED if expired else BotStatus.STOPPED
    return BotStatus.EXITED if container["State"]["ExitCode"] == 0 else BotStatus.CRASHED


def _reason(status: BotStatus, exit_code: int | None, oom_killed: bool, error: str) -> str:
    if status is BotStatus.EXPIRED:
        return "its time was over"
    if status is BotStatus.STOPPED:
        return "stopped on request"
    if error:
        return error
    if oom_killed:
        return "out of memory"
    if status is BotStatus.EXITED:
        return "ended by itself"
    if status in (BotStatus.CRASHED, BotStatus.RESTARTING):
        return f"ended with exit code {exit_code}"
    return ""


def _moment(text: str) -> datetime | None:
    # The Engine writes nanoseconds, which fromisoformat does not read, and year 1 for "never".
    head, dot, fraction = text.partition(".")
    if dot:
        digits = fraction.rstrip("Z")
        text = f"{head}.{digits[:6]}+00:00" if digits.isdigit() else text
    if not text or text.startswith("0001-"):
        return None
    return datetime.fromisoformat(text)
