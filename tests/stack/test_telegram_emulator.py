"""The emulator answers a polling bot as Telegram's Bot API does, and tests can act as the bot's users."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from bot_runner_stack.errors import StackError
from bot_runner_stack.telegram import BotAccount, TelegramEmulator
from bot_runner_stack.telegram.control import control_application

CONFLICT = "Conflict: terminated by other getUpdates request"


@pytest.fixture
async def telegram() -> AsyncIterator[TelegramEmulator]:
    async with TelegramEmulator() as emulator:
        yield emulator


@pytest.fixture
def bot(telegram: TelegramEmulator) -> BotAccount:
    return telegram.register_bot(username="test_bot")


class Client:
    """Calls Bot API methods as a bot's HTTP library would."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str) -> None:
        self._session = session
        self._base = f"{url}/bot{token}"

    async def __call__(self, method: str, **params: Any) -> Any:
        """The result of a call that succeeds."""
        status, body = await self.answer(method, data=params)
        assert (status, body["ok"]) == (200, True), body
        return body["result"]

    async def answer(self, method: str, **request: Any) -> tuple[int, dict[str, Any]]:
        async with self._session.post(f"{self._base}/{method}", **request) as response:
            return response.status, await response.json()


@pytest.fixture
async def call(telegram: TelegramEmulator, bot: BotAccount) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(session, telegram.url, bot.token)


async def test_a_bot_learns_who_it_is(call: Client, bot: BotAccount) -> None:
    me = await call("getMe")

    assert me == {"id": bot.user_id, "is_bot": True, "first_name": "test_bot", "username": "test_bot"}


async def test_an_unknown_token_is_unauthorized(telegram: TelegramEmulator) -> None:
    async with aiohttp.ClientSession() as session:
        status, body = await Client(session, telegram.url, "1:unknown").answer("getMe")

    assert (status, body) == (401, {"ok": False, "error_code": 401, "description": "Unauthorized"})


async def test_an_unknown_method_is_not_found(call: Client) -> None:
    status, body = await call.answer("launchRocket")

    assert (status, body["ok"], body["description"]) == (404, False, "Not Found")


async def test_a_users_message_is_an_update_until_its_offset_is_passed(call: Client, bot: BotAccount) -> None:
    first = bot.user_sends("one")
    bot.user_sends("two")

    assert [update["message"]["text"] for update in await call("getUpdates")] == ["one", "two"]
    assert [update["message"]["text"] for update in await call("getUpdates", offset=first + 1)] == ["two"]
    assert [update["message"]["text"] for update in await call("getUpdates")] == ["two"]


async def test_a_negative_offset_keeps_the_newest_updates(call: Client, bot: BotAccount) -> None:
    for text in ("one", "two", "three"):
        bot.user_sends(text)

    assert [update["message"]["text"] for update in await call("getUpdates", offset=-1)] == ["three"]
    assert len(await call("getUpdates")) == 1


async def test_the_limit_holds_back_later_updates(call: Client, bot: BotAccount) -> None:
    for text in ("one", "two"):
        bot.user_sends(text)

    assert [update["message"]["text"] for update in await call("getUpdates", limit=1)] == ["one"]


async def test_a_command_is_marked_as_one(call: Client, bot: BotAccount) -> None:
    bot.user_sends("/start now")

    [update] = await call("getUpdates")

    assert update["message"]["entities"] == [{"type": "bot_command", "offset": 0, "length": 6}]


async def test_a_long_poll_ends_with_the_message_that_comes(call: Client, bot: BotAccount) -> None:
    poll = asyncio.ensure_future(call("getUpdates", timeout=30))
    await bot.wait_for_first_poll(timeout=5)
    bot.user_sends("at last")

    [update] = await asyncio.wait_for(poll, 30)

    assert update["message"]["text"] == "at last"


async def test_a_long_poll_without_messages_ends_empty(call: Client) -> None:
    assert await call("getUpdates", timeout=1) == []


async def test_of_two_pollers_with_one_token_the_earlier_is_ended(call: Client, bot: BotAccount) -> None:
    earlier = asyncio.ensure_future(call.answer("getUpdates", data={"timeout": 30}))
    await bot.wait_for_first_poll(timeout=5)
    later = asyncio.ensure_future(call("getUpdates", timeout=30))

    status, body = await asyncio.wait_for(earlier, 30)
    bot.user_sends("for the later one")

    assert status == 409
    assert body["description"].startswith(CONFLICT)
    assert [update["message"]["text"] for update in await asyncio.wait_for(later, 30)] == [
        "for the later one"
    ]
    assert bot.conflicts == 1


async def test_a_poller_that_went_away_does_not_conflict_with_its_next_poll(
    call: Client, bot: BotAccount
) -> None:
    gone = asyncio.ensure_future(call("getUpdates", timeout=30))
    await bot.wait_for_first_poll(timeout=5)
    gone.cancel()
    await asyncio.sleep(0.2)

    assert await call("getUpdates", timeout=1) == []
    assert bot.conflicts == 0


async def test_polls_are_counted_and_the_first_is_timed(call: Client, bot: BotAccount) -> None:
    assert (bot.polls, bot.first_poll_at) == (0, None)

    await call("getUpdates")
    first = bot.first_poll_at
    await call("getUpdates")

    assert bot.polls == 2
    assert first is not None
    assert bot.first_poll_at == first


@pytest.mark.parametrize("encoding", ["form", "multipart", "json", "query"])
async def test_parameters_come_in_every_encoding(call: Client, bot: BotAccount, encoding: str) -> None:
    bot.user_sends("hi", chat_id=7)
    params = {"chat_id": 7, "text": "hello"}
    form = aiohttp.FormData(default_to_multipart=True)
    form.add_field("chat_id", "7")
    form.add_field("text", "hello")
    requests: dict[str, dict[str, Any]] = {
        "form": {"data": params},
        "multipart": {"data": form},
        "json": {"json": params},
        "query": {"params": params},
    }

    status, body = await call.answer("sendMessage", **requests[encoding])

    assert (status, body["result"]["text"], body["result"]["chat"]["id"]) == (200, "hello", 7)


@pytest.mark.parametrize(
    ("params", "description"),
    [
        ({"chat_id": 7, "text": " "}, "Bad Request: message text is empty"),
        ({"chat_id": 7, "text": "x" * 4097}, "Bad Request: message is too long"),
        ({"chat_id": 8, "text": "hello"}, "Bad Request: chat not found"),
        ({"chat_id": "seven", "text": "hello"}, "Bad Request: invalid chat_id specified"),
    ],
)
async def test_a_message_that_telegram_refuses_is_refused(
    call: Client, bot: BotAccount, params: dict[str, Any], description: str
) -> None:
    bot.user_sends("hi", chat_id=7)

    status, body = await call.answer("sendMessage", data=params)

    assert (status, body["description"]) == (400, description)
    assert bot.sent == []


async def test_answers_come_one_by_one_in_order(call: Client, bot: BotAccount) -> None:
    bot.user_sends("hi", chat_id=7)
    await call("sendMessage", chat_id=7, text="one")
    await call("sendMessage", chat_id=7, text="two")

    assert (await bot.next_answer(timeout=5)).text == "one"
    assert (await bot.next_answer(timeout=5)).text == "two"
    with pytest.raises(TimeoutError):
        await bot.next_answer(timeout=0.1)


async def test_pending_updates_can_be_dropped_with_the_webhook(call: Client, bot: BotAccount) -> None:
    bot.user_sends("old")
    assert (await call("getWebhookInfo"))["pending_update_count"] == 1

    assert await call("deleteWebhook", drop_pending_updates="True") is True

    assert await call("getUpdates") == []


async def test_commands_are_kept(call: Client) -> None:
    assert await call("setMyCommands", commands='[{"command": "start", "description": "begin"}]') is True

    assert await call("getMyCommands") == [{"command": "start", "description": "begin"}]


async def test_an_address_that_cannot_be_used_is_one_sentence(telegram: TelegramEmulator) -> None:
    port = int(telegram.url.rpartition(":")[2])

    with pytest.raises(StackError, match=rf"cannot listen on 127\.0\.0\.1:{port}: .*in use"):
        await TelegramEmulator(port=port).start()


async def test_another_process_acts_as_a_user_over_the_control_interface(telegram: TelegramEmulator) -> None:
    async with (
        TestClient(TestServer(control_application(telegram))) as control,
        aiohttp.ClientSession() as session,
    ):
        token = (await (await control.post("/bots", json={"username": "far_bot"})).json())["token"]
        call = Client(session, telegram.url, token)

        await control.post(f"/bots/{token}/messages", json={"text": "hello", "chat_id": 3})
        [update] = await call("getUpdates")
        await call("sendMessage", chat_id=3, text=update["message"]["text"])

        answer = await (await control.get(f"/bots/{token}/answer", params={"timeout": "5"})).json()
        assert answer == {"chat_id": 3, "text": "hello"}
        shown = await (await control.get(f"/bots/{token}")).json()
        assert (shown["polls"], shown["conflicts"], shown["pending"]) == (1, 0, 1)
        assert (await control.get(f"/bots/{token}/answer", params={"timeout": "0.1"})).status == 408
        assert (await control.get("/bots/unknown")).status == 404
