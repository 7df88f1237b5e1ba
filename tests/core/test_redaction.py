"""Secrets: found in a request's params, and taken out of all that leaves, in whatever form they turn up."""

import base64
import io
import logging

from bot_runner_worker import logs
from bot_runner_worker.redaction import Redactor, secrets_of

SECRET = "123:AA+bb/cc =="


def test_finds_the_secrets_of_a_request() -> None:
    params = {
        "user_id": "user",
        "env_vars": {"BOT_TOKEN": SECRET, "MODE": "prod"},
        "registry_auth": {"username": "me", "password": "pass-word"},
        "git_token": "ghp_token",
    }
    assert {SECRET, "pass-word", "ghp_token"} <= secrets_of(params)


def test_takes_them_out_in_any_form() -> None:
    redactor = Redactor([SECRET, "two\nlines-of-it"])
    encoded = base64.b64encode(SECRET.encode()).decode()
    text = f"a {SECRET} b 123%3AAA%2Bbb%2Fcc%20%3D%3D c {encoded} d two\\nlines-of-it e lines-of-it"
    assert redactor.text(text) == "a *** b *** c *** d *** e ***"
    assert redactor.data({"key": [SECRET, 1, {SECRET: None}]}) == {"key": ["***", 1, {"***": None}]}


def test_leaves_short_values_alone() -> None:
    assert Redactor(["1", "prod"]).text("1 error in prod") == "1 error in prod"


def test_a_log_line_and_its_traceback_are_cleaned_while_the_task_runs() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs._Formatter("%(message)s"))
    logger = logging.Logger("test")
    logger.addHandler(handler)
    with logs.hide_secrets(Redactor([SECRET])):
        try:
            raise ValueError(f"bad value {SECRET}")
        except ValueError:
            logger.exception("failed with %s", SECRET)
    assert "bad value ***" in stream.getvalue()
    assert SECRET not in stream.getvalue()


def test_finds_the_secrets_in_addresses() -> None:
    url = "https://deploy:gl%2Fpat-123@git.example/x.git?private_token=tok-456"
    assert secrets_of({"git_repo": url}) >= {"deploy", "gl/pat-123", "tok-456"}
    redactor = Redactor(secrets_of({"git_repo": url}))
    cleaned = redactor.text(f"fatal: unable to access '{url}'")
    assert not any(secret in cleaned for secret in ("gl%2Fpat", "gl/pat", "tok-456"))
