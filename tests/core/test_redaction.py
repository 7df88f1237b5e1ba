"""Secrets: found in a request's params, and taken out of all that leaves, in whatever form they turn up."""

import base64
import io
import logging
import time

import pytest

from bot_runner_worker import logs
from bot_runner_worker.redaction import Redactor, secrets_of
from bot_runner_worker.testing.waiting import SCALE

SECRET = "123:AA+bb/cc =="


def test_finds_the_secrets_of_a_request() -> None:
    params = {
        "user_id": "user",
        "env_vars": {"BOT_TOKEN": SECRET, "MODE": "prod"},
        "registry_auth": {"username": "me", "password": "pass-word"},
        "git_token": "ghp_token",
    }
    assert {SECRET, "pass-word", "ghp_token"} <= secrets_of(params)


TOKEN = "7654321098:AAExample-Bot_Token_0123456789abcd"


@pytest.mark.parametrize(
    "params",
    [
        {"requirements": [f"x @ https://user:{TOKEN}@host/x.whl"]},
        {"requirements": ["aiogram", {"deep": [f"git+https://{TOKEN}@host/x"]}]},
        {"urls": (f"https://host/x?token={TOKEN}",)},
        {"git_tokens": [TOKEN]},
        {"git_repo": f"https://user:{TOKEN}@host/x"},
        {TOKEN: "x"},
        {"env_vars": {TOKEN: ""}},
        {"env_vars": [{TOKEN: 1}]},
        {"resource_limits": {TOKEN: 1}},
    ],
)
def test_finds_them_in_lists_and_where_names_belong(params: dict[str, object]) -> None:
    assert TOKEN[-20:] not in str(Redactor(secrets_of(params)).data(params))


def test_names_that_people_use_are_no_secrets() -> None:
    names = ("docker_image", "resource-limits", "BOT_TOKEN_2", "A=B", "my variable", "WEBHOOK_LISTEN_ADDRESS")
    params = {**dict.fromkeys(names, 1), "files": {"src/a_module_0123456789/bot.py": "print()"}}
    params |= {"archive_url": "https://host/a/b@1.0/x.zip"}
    assert secrets_of(params) == set()


@pytest.mark.parametrize(
    "text", ["://" * 500_000, "a" * 2_000_000 + "://", "://" + "a:" * 1_000_000, "=" * 2_000_000]
)
def test_no_text_takes_long_to_look_through(text: str) -> None:
    begun = time.thread_time()
    secrets_of({"field": text, "list": [text], text: 1})
    assert time.thread_time() - begun < 5 * SCALE


def test_takes_them_out_in_any_form() -> None:
    redactor = Redactor([SECRET, "two\nlines-of-it"])
    encoded = base64.b64encode(SECRET.encode()).decode()
    text = f"a {SECRET} b 123%3AAA%2Bbb%2Fcc%20%3D%3D c {encoded} d two\\nlines-of-it e lines-of-it"
    assert redactor.text(text) == "a *** b *** c *** d *** e ***"
    assert redactor.data({"key": [SECRET, 1, {SECRET: None}]}) == {"key": ["***", 1, {"***": None}]}


@pytest.mark.parametrize(
    "hostile",
    ["\x1b[2J", "\x1b]", "\x9b31m", "\x85", "\x07", "\r", "\u202e", "\u2066", "\u200f", "\u061c", "\u2028"],
)
def test_what_rewrites_or_reorders_text_leaves_nothing(hostile: str) -> None:
    assert Redactor().data({"log": [f"a{hostile}b\tc\n"]}) == {"log": ["ab\tc\n"]}
    # Parted by it, a secret would be whole again without it.
    assert Redactor([SECRET]).text(SECRET[:5] + hostile + SECRET[5:]) == "***"


def test_other_scripts_and_emoji_stay() -> None:
    text = "שלום مرحبا привет 👩\u200d🚀 e\u0301"
    assert Redactor().text(text) == text


def test_the_operators_log_cannot_be_rewritten_either() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "a\x9b2Jb\u202ec", None, None)
    assert logs._Formatter("%(message)s").format(record) == "abc"


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
