"""Requests: each kind of bad input has its code and hint, and a message never repeats a secret."""

from typing import Any

import pytest

from bot_runner_worker.model.errors import Rejected
from bot_runner_worker.model.requests import GetLogs, ListBots, StartBot, parse

START = {"user_id": "user", "bot_id": "bot", "deployment_mode": "simple"}


def rejection(model: type, params: Any) -> Rejected:
    with pytest.raises(Rejected) as caught:
        parse(model, params)
    assert caught.value.hint or not isinstance(params, dict)
    assert caught.value.stage == "request"
    return caught.value


@pytest.mark.parametrize("field", ["user_id", "bot_id", "deployment_mode"])
def test_a_missing_field_is_named(field: str) -> None:
    error = rejection(StartBot, {name: value for name, value in START.items() if name != field})
    assert error.code == "MISSING_REQUIRED_FIELD"
    assert error.details["field"] == field


def test_an_unknown_field_is_named_with_the_known_ones() -> None:
    error = rejection(ListBots, {"user_id": "user", "bot": 1})
    assert error.code == "UNKNOWN_FIELD"
    assert "user_id" in error.hint


@pytest.mark.parametrize("params", [None, [], "text", 1])
def test_params_that_are_no_object(params: Any) -> None:
    assert rejection(ListBots, params).code == "INVALID_FIELD"


@pytest.mark.parametrize("env_vars", [{"1A": "x"}, {"A B": "x"}, {"A": None}, {1: "x"}])
def test_environments_that_are_refused(env_vars: Any) -> None:
    """Besides what the corpus has."""
    assert rejection(StartBot, {**START, "env_vars": env_vars}).code == "INVALID_ENVIRONMENT"


def test_a_message_does_not_repeat_a_value() -> None:
    error = rejection(StartBot, {**START, "env_vars": {"TOKEN": "s3cret\0value"}})
    assert "s3cret" not in str(error.to_dict())
    error = rejection(StartBot, {**START, "replace": "s3cret-value"})
    assert "s3cret" not in str(error.to_dict())


@pytest.mark.parametrize("limits", [{"cpu_cores": -1}, {"cpu_cores": "1e9"}, {"cpu_cores": True}])
def test_limits_that_would_mean_unlimited_or_nonsense(limits: Any) -> None:
    """Besides what the corpus has."""
    assert rejection(StartBot, {**START, "resource_limits": limits}).code == "INVALID_LIMIT"


@pytest.mark.parametrize("lines", ["10", None])
def test_log_lines_are_a_number(lines: Any) -> None:
    params = {"user_id": "user", "bot_id": "bot", "lines": lines}
    assert rejection(GetLogs, params).code == "INVALID_FIELD"
