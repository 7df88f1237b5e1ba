"""What reaches logs and the history."""

import time
from collections.abc import Mapping
from typing import Any

import pytest
from orjson import dumps
from tests.orchestrator.waiting import SCALE

from bot_runner_orchestrator.history import RedactedHistory
from bot_runner_orchestrator.redaction import HiddenParams, redact, without_credentials

SECRET = "s3cr3t"


def test_params_show_only_what_is_known_to_be_harmless() -> None:
    shown = redact(
        {
            "initial_data": {"action": "start", "user_id": "alice", "bot_id": "echo", "new_param": SECRET},
            "current_task_info": {"params": HiddenParams(git_repo=SECRET, bot_id="echo")},
        }
    )
    assert SECRET not in str(shown)
    assert shown["initial_data"]["action"] == "start"
    assert shown["initial_data"]["user_id"] == "alice"
    assert shown["current_task_info"]["params"]["bot_id"] == "echo"


def test_user_parts_of_addresses_are_hidden_in_any_text() -> None:
    texts = [f"x @ https://me:{SECRET}@host/x", f"git+ssh://{SECRET}@host", f"'//me:a/{SECRET}@1@host'"]
    shown = redact({"message": texts[0], "details": {"list": [texts]}})
    assert SECRET not in str(shown)
    assert "host/x" in shown["message"]


def test_names_that_may_be_secrets_are_hidden_among_params() -> None:
    token = "7654321098:AAExample-Bot_Token_0123456789abcd"
    shown = redact({"initial_data": {token: 1, "action": token, "deployment_mode": token, "docker_image": 1}})
    assert token not in str(shown)
    assert "docker_image" in shown["initial_data"]


@pytest.mark.parametrize("text", ["//" * 500_000, "//:" * 20_000, "//a:" + "b" * 1_000_000])
def test_no_text_takes_long(text: str) -> None:
    begun = time.thread_time()
    without_credentials({"message": text})
    assert time.thread_time() - begun < 5 * SCALE


@pytest.mark.parametrize("data", [SECRET, [SECRET], [{"bot_id": SECRET}]])
def test_params_that_are_no_object_are_hidden(data: Any) -> None:
    assert SECRET not in str(redact({"initial_data": data, "info": {"params": data}}))
    assert redact({"params": None}) == {"params": None}


def test_secret_names_are_hidden_at_any_depth() -> None:
    names = ("env_vars", "registry_auth", "git_token", "X-Client-Token", "Authorization", "password", "code",
             "files", "archive", "logs", "tracing_context", "signature")  # fmt: skip
    data: Mapping[str, Any] = {name: {"deep": [SECRET]} for name in names}
    assert SECRET not in str(redact({"a": [data]}))


def test_hidden_params_are_hidden_in_text_only() -> None:
    params = HiddenParams(code=SECRET)
    assert SECRET not in f"{params} {params!r} { {'params': params} }"
    assert SECRET.encode() in dumps(params)


class Kept(RedactedHistory):
    """Stands in for the inner history and keeps what it is given."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    async def log_job_event(self, event_data: dict[str, Any]) -> None:
        self.events.append(event_data)

    async def get_worker_history(self, worker_id: str, since_days: int) -> list[dict[str, Any]]:
        return self.events


async def test_event_that_completes_a_job_has_its_status() -> None:
    inner = Kept()
    for state, status in (("finished", "running"), ("failed", "running"), ("cancelled", "cancelled")):
        event = {"event_type": "job_completed", "state": state, "context_snapshot": {"status": status}}
        await RedactedHistory(inner).log_job_event(event)
    assert [event["context_snapshot"]["status"] for event in inner.events] == [
        "finished",
        "failed",
        "cancelled",
    ]


async def test_refusals_and_outages_do_not_count_against_a_worker() -> None:
    inner = Kept()
    inner.events = [
        {"context_snapshot": {"result": {"status": status}}}
        for status in ("success", "rejected", "unavailable", "cancelled", "failure")
    ]
    counted = await RedactedHistory(inner).get_worker_history("w", 30)
    assert [event["context_snapshot"]["result"]["status"] for event in counted] == ["success", "failure"]
