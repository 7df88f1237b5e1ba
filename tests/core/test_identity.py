"""Who a bot is: no two pairs of ids ever share a container name."""

import pytest

from bot_runner_worker.model.errors import Rejected
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.model.requests import BotRequest, parse


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a.b", "bot"), ("ab", "bot")),
        (("a", "b-c"), ("a-b", "c")),
        (("A", "bot"), ("a", "bot")),
        (("иван", "bot"), ("петр", "bot")),
        (("x" * 100, "bot"), ("x" * 101, "bot")),
        (("a/b", "c"), ("a", "b/c")),
    ],
)
def test_different_pairs_have_different_names(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert BotKey(*one).container_name("default") != BotKey(*other).container_name("default")


def test_two_namespaces_never_share_a_name() -> None:
    assert BotKey("a", "b").container_name("one") != BotKey("a", "b").container_name("two")


def test_names_are_readable_and_fit_the_engine() -> None:
    name = BotKey("User 123", "My Bot!").container_name("default")
    assert name.startswith("bot-user-123-my-bot-")
    assert len(BotKey("u" * 128, "b" * 128).container_name("default")) <= 80


def test_a_telegram_id_may_be_a_number() -> None:
    assert parse(BotRequest, {"user_id": 123456, "bot_id": "bot"}).bot == BotKey("123456", "bot")


@pytest.mark.parametrize(
    "value",
    ["", " ", "a\n", "a\0b", " a", "x" * 129, None, True, 1.5, ["a"], "a\u202eb", "e\u0301", "\ud800"],
)
@pytest.mark.parametrize(("field", "code"), [("user_id", "INVALID_USER_ID"), ("bot_id", "INVALID_BOT_ID")])
def test_ids_that_are_refused(field: str, code: str, value: object) -> None:
    params = {"user_id": "user", "bot_id": "bot", field: value}
    with pytest.raises(Rejected) as caught:
        parse(BotRequest, params)
    assert caught.value.code == code
    assert caught.value.hint
