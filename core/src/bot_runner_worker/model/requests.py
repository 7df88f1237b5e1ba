"""Params of the tasks: one strict model per task.

Fields of a deployment mode are not listed here; the plugin that offers the mode has a model of its own
(:class:`bot_runner_worker.plugin.DeploymentSource`).
"""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.model.identity import BotId, BotKey, UserId

MAX_ENVIRONMENT_SIZE = 128 * 1024
MAX_LOG_LINES = 10_000
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")

_LONGEST_NAME = 80
_MOST_FIELDS = 20

Model = TypeVar("Model", bound=BaseModel)


class StrictModel(BaseModel):
    """A model that refuses unknown fields and other types (``"1"`` for ``1``)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


def _environment(value: Any) -> dict[str, str]:
    hint = 'Give names and values as text, for example {"BOT_TOKEN": "123:ABC"}.'

    def reject(message: str) -> Rejected:
        return Rejected(Code.INVALID_ENVIRONMENT, message, hint=hint)

    if not isinstance(value, Mapping):
        raise reject("env_vars is not a mapping of names to values.")
    for name, text in value.items():
        if not isinstance(name, str) or not _ENVIRONMENT_NAME.fullmatch(name):
            raise reject(f"env_vars: {_shown(name)} is no name of a variable (letters, digits, underscores).")
        # The Engine takes a NUL at create and fails only at start, leaving the container behind.
        if not isinstance(text, str) or "\0" in text:
            raise reject(f"env_vars: the value of {name} is not text without NUL characters.")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise reject(f"env_vars: the value of {name} is not valid Unicode text.") from None
    if sum(len(name) + len(text.encode()) for name, text in value.items()) > MAX_ENVIRONMENT_SIZE:
        raise reject(f"env_vars is larger than {MAX_ENVIRONMENT_SIZE // 1024} KiB in all.")
    return dict(value)


def _shown(name: Any) -> str:
    # Whole or not at all: what looks like a secret is hidden afterwards, and a part would not be found.
    text = str(name)
    return repr(text) if len(text) <= _LONGEST_NAME else f"a text of {len(text)} characters"


def _finite(value: Any) -> Any:
    # NaN survives min() and would reach the Engine as "no limit".
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError("must be a finite number")
    return value


class ResourceLimits(StrictModel):
    """Limits of a bot, which a request may lower below the operator's settings only."""

    memory_mb: int | None = Field(None, ge=16, le=1 << 20, description="Memory in MiB, without swap")
    cpu_cores: Annotated[float | None, BeforeValidator(_finite)] = Field(
        None, ge=0.01, le=1024, description="CPU time in cores"
    )
    pids: int | None = Field(None, ge=8, le=100_000, description="Processes and threads")


class UserRequest(StrictModel):
    """Params of every task."""

    user_id: UserId = Field(description="The tenant")


class BotRequest(UserRequest):
    """Params of every task about one bot."""

    bot_id: BotId = Field(description="The bot's id among the tenant's bots")

    @property
    def bot(self) -> BotKey:
        """The bot that the task is about."""
        return BotKey(self.user_id, self.bot_id)


class StartBot(BotRequest):
    """Params of ``start_bot`` in every deployment mode."""

    deployment_mode: str = Field(min_length=1, max_length=64, description="One of the modes on offer")
    env_vars: Annotated[dict[str, str], BeforeValidator(_environment)] = Field(
        default_factory=dict, description="Environment of the bot's process; values are treated as secrets"
    )
    resource_limits: ResourceLimits = Field(default_factory=ResourceLimits)
    replace: bool = Field(False, description="Replace the bot if it runs with other content")


class StopBot(BotRequest):
    """Params of ``stop_bot``."""


class RestartBot(BotRequest):
    """Params of ``restart_bot``."""


class CheckStatus(BotRequest):
    """Params of ``check_status``."""


class GetLogs(BotRequest):
    """Params of ``get_logs``."""

    lines: int = Field(100, ge=1, le=MAX_LOG_LINES, description="Last lines to return")
    since: str | None = Field(None, description="Only lines from here on: next_since, or an RFC 3339 time")


class ListBots(UserRequest):
    """Params of ``list_bots``."""


def parse(model: type[Model], params: Any) -> Model:
    """Validate a task's params.

    Args:
        model: The task's model.
        params: What the orchestrator sent.

    Raises:
        Rejected: ``MISSING_REQUIRED_FIELD``, ``UNKNOWN_FIELD``, ``INVALID_FIELD`` or the code of the field's
            own check; the message never repeats a value, since it may be a secret.
    """
    if not isinstance(params, Mapping):
        raise Rejected(Code.INVALID_FIELD, "The task's params are not an object.", stage="request")
    try:
        return model.model_validate(dict(params))
    except ValidationError as error:
        raise _rejection(error, model) from None
    except Rejected as error:
        error.stage = error.stage or "request"
        raise


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) if len(str(part)) <= _LONGEST_NAME else "…" for part in location)


def _rejection(error: ValidationError, model: type[BaseModel]) -> Rejected:
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    by_type = {problem["type"]: problem for problem in reversed(problems)}
    # A missing field is more helpful than the errors that follow from it.
    problem = by_type.get("missing") or by_type.get("extra_forbidden") or problems[0]
    field = _path(problem["loc"])
    details = {"field": field, "fields": [_path(each["loc"]) for each in problems[:_MOST_FIELDS]]}
    known = ", ".join(model.model_fields)
    if problem["type"] == "missing":
        return Rejected(
            Code.MISSING_REQUIRED_FIELD,
            f"The field {field} is missing.",
            hint=f"Add {field} to the request.",
            details=details,
            stage="request",
        )
    if problem["type"] == "extra_forbidden":
        return Rejected(
            Code.UNKNOWN_FIELD,
            f"The field {field} is not known here.",
            hint=f"Fields that are known: {known}.",
            details=details,
            stage="request",
        )
    reason = problem["msg"].removeprefix("Value error, ")
    code = Code.INVALID_LIMIT if field.startswith("resource_limits") else Code.INVALID_FIELD
    return Rejected(
        code,
        f"The field {field} is wrong: {reason}.",
        hint=f"Correct {field} and send the request again.",
        details=details,
        stage="request",
    )
