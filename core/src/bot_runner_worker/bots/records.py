"""Read :class:`BotRecord` from a container's labels and state."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from bot_runner_worker.bots.container_config import RUNNING_POLICY
from bot_runner_worker.engine.messages import cause_of
from bot_runner_worker.model import identity
from bot_runner_worker.model.results import BotStatus
from bot_runner_worker.model.spec import WARNED_WEIGHT, BotRecord, EndReason, Termination

_LIVE = {
    "created": BotStatus.STARTING,
    "running": BotStatus.RUNNING,
    "paused": BotStatus.RUNNING,
    "restarting": BotStatus.RESTARTING,
}

STATUS_OF_END = {
    EndReason.STOPPED: BotStatus.STOPPED,
    EndReason.EXPIRED: BotStatus.EXPIRED,
    EndReason.EXITED: BotStatus.EXITED,
    EndReason.CRASHED: BotStatus.CRASHED,
    EndReason.DISK_LIMIT: BotStatus.STOPPED,
    EndReason.LOG_FLOOD: BotStatus.STOPPED,
}

_REASONS = {
    EndReason.STOPPED: "stopped on request",
    EndReason.EXPIRED: "its time was over",
    EndReason.EXITED: "ended by itself",
    EndReason.DISK_LIMIT: "stopped because it wrote more to its disk than it may",
    EndReason.LOG_FLOOD: "stopped because it printed more than it may",
}

START_TIMEOUT = timedelta(minutes=1)
"""A container that was created longer ago and never started is what a killed worker left."""


def _live(state: str, created: datetime | None) -> BotStatus | None:
    status = _LIVE.get(state)
    if status is BotStatus.STARTING and created and datetime.now(UTC) - created > START_TIMEOUT:
        return None
    return status


def record_of_row(row: Mapping[str, Any]) -> BotRecord | None:
    """Read a live bot from a row of the container list; otherwise ``None``."""
    status = _live(row["State"], datetime.fromtimestamp(row["Created"], UTC))
    if status is None:
        return None
    name, network = row["Names"][0].removeprefix("/"), row["HostConfig"]["NetworkMode"]
    return _record(row["Id"], name, row["Labels"], status, network=network)


def record_of_inspection(container: Mapping[str, Any]) -> BotRecord:
    """Read a bot from a container's inspection."""
    state, host = container["State"], container["HostConfig"]
    finished_at = moment(state.get("FinishedAt", ""))
    weight = host.get("CpuShares") or 0
    should_run = host["RestartPolicy"]["Name"] == RUNNING_POLICY["Name"]
    termination = None if should_run else Termination.of_weight(weight)
    status = _live(state["Status"], moment(container["Created"]))
    exit_code: int | None = state["ExitCode"]
    # The flag, not exit code 137: any SIGKILL gives 137, and a child may die of memory with exit code 0.
    oom_killed = bool(state.get("OOMKilled"))
    if status is None:
        status = _status_of_dead(state, termination)
        if termination is not None and termination.exit_code is not None:
            exit_code, oom_killed = termination.exit_code, bool(termination.oom_killed)
    elif status is not BotStatus.RESTARTING:
        exit_code, finished_at = None, None
    environment = dict(entry.partition("=")[::2] for entry in container["Config"].get("Env") or [])
    return _record(
        container["Id"],
        container["Name"].removeprefix("/"),
        container["Config"]["Labels"],
        status,
        finished_at=finished_at,
        exit_code=exit_code,
        oom_killed=oom_killed,
        restart_count=container.get("RestartCount", 0),
        reason=_reason(status, termination, exit_code, oom_killed, state.get("Error", "")),
        end_reason=termination.reason if termination else None,
        warned=termination is None and weight == WARNED_WEIGHT,
        network=host["NetworkMode"],
        cpu_limit=_limit_below(host, container["Config"]["Labels"]),
        environment=environment,
    )


def _limit_below(host: Mapping[str, Any], labels: Mapping[str, str]) -> float | None:
    try:
        limit = float(labels.get(identity.CPU_LIMIT, ""))
    except ValueError:
        return None
    return limit if limit > 0 and host.get("NanoCpus", 0) > int(limit * 1_000_000_000) else None


def _record(
    id: str,  # noqa: A002
    name: str,
    labels: Mapping[str, str],
    status: BotStatus,
    **state: Any,
) -> BotRecord:
    epoch = datetime.fromtimestamp(0, UTC)
    never = datetime.max.replace(tzinfo=UTC)
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
        started_at=moment(labels.get(identity.STARTED_AT, "")) or epoch,
        expires_at=moment(labels.get(identity.EXPIRES_AT, "")) or never,
        **state,
    )


def _status_of_dead(state: Mapping[str, Any], termination: Termination | None) -> BotStatus:
    if termination is not None:
        return STATUS_OF_END[termination.reason]
    if state["Status"] == "created":
        return BotStatus.STOPPED
    # It has no end reason yet. One that failed is started again; an end without failure is final, unless the
    # supervisor finds that it was not the bot's own.
    return BotStatus.EXITED if state["ExitCode"] == 0 else BotStatus.RESTARTING


def _reason(
    status: BotStatus, termination: Termination | None, exit_code: int | None, oom_killed: bool, error: str
) -> str:
    if status.is_live and status is not BotStatus.RESTARTING:
        return ""
    if termination is not None and termination.reason in _REASONS:
        return _REASONS[termination.reason]
    if error:
        return cause_of(error).reason
    if oom_killed:
        return "out of memory"
    if status is BotStatus.EXITED:
        return _REASONS[EndReason.EXITED]
    if status is BotStatus.STOPPED:
        return "its start was never finished"
    return f"ended with exit code {exit_code}"


def moment(text: str) -> datetime | None:
    """Read a time of the Engine or a label; ``None`` for "never" and for what is none."""
    # The Engine writes nanoseconds, which fromisoformat does not read, and year 1 for "never".
    head, dot, fraction = text.partition(".")
    if dot:
        digits = fraction.rstrip("Z")
        text = f"{head}.{digits[:6]}+00:00" if digits.isdigit() else text
    if not text or text.startswith("0001-"):
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None
