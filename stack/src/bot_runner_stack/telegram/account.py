"""One bot's account: the updates that wait for it, its polls, and what it sent."""

import asyncio
import itertools
import time
from dataclasses import dataclass, field
from typing import Any

from bot_runner_stack.telegram.errors import BotApiError

JsonObject = dict[str, Any]

MAX_MESSAGE_LENGTH = 4096  # characters; core.telegram.org/bots/api#sendmessage
MAX_UPDATES_PER_POLL = 100
MAX_POLL_SECONDS = 50
DEFAULT_CHAT_ID = 1001


@dataclass(frozen=True)
class SentMessage:
    """A message that the bot sent. `at` is `time.monotonic()`, in seconds."""

    chat_id: int
    text: str
    at: float


@dataclass
class BotAccount:
    """What Telegram knows about one bot, and the hands of its users.

    Counters are for tests: `polls` counts getUpdates calls, `conflicts` the polls ended by another one with
    the same token, `first_poll_at` is `time.monotonic()` of the first getUpdates, in seconds.
    """

    token: str
    username: str
    polls: int = 0
    conflicts: int = 0
    first_poll_at: float | None = None
    sent: list[SentMessage] = field(default_factory=list)
    commands: list[JsonObject] = field(default_factory=list)
    _pending: list[JsonObject] = field(default_factory=list)
    _chats: set[int] = field(default_factory=set)
    _update_ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    _message_ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    _answers_taken: int = 0
    _waiting_poll: "asyncio.Future[None] | None" = None
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def user_id(self) -> int:
        """The number before the colon of the token, which is the bot's own user id."""
        return int(self.token.partition(":")[0])

    def me(self) -> JsonObject:
        """The bot as a `User` object."""
        return {"id": self.user_id, "is_bot": True, "first_name": self.username, "username": self.username}

    # The user's side

    def user_sends(self, text: str, *, chat_id: int = DEFAULT_CHAT_ID) -> int:
        """Put a user's message into the bot's queue, and return its update id."""
        update_id = next(self._update_ids)
        user = {"id": chat_id, "is_bot": False, "first_name": "User"}
        message = self._message(chat_id, text, sender=user)
        if text.startswith("/"):
            message["entities"] = [{"type": "bot_command", "offset": 0, "length": len(text.split()[0])}]
        self._chats.add(chat_id)
        self._pending.append({"update_id": update_id, "message": message})
        if self._waiting_poll is not None and not self._waiting_poll.done():
            self._waiting_poll.set_result(None)
        return update_id

    async def next_answer(self, *, timeout: float) -> SentMessage:  # noqa: ASYNC109  (a test's time limit)
        """Return the bot's next message that was not returned before, in the order of sending.

        Raises TimeoutError when none comes within `timeout` seconds.
        """
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(lambda: len(self.sent) > self._answers_taken)
        self._answers_taken += 1
        return self.sent[self._answers_taken - 1]

    async def wait_for_first_poll(self, *, timeout: float) -> float:  # noqa: ASYNC109  (a test's time limit)
        """Return `first_poll_at` as soon as the bot has polled.

        Raises TimeoutError when it does not within `timeout` seconds.
        """
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(lambda: self.first_poll_at is not None)
        assert self.first_poll_at is not None
        return self.first_poll_at

    # The bot's side

    async def poll(self, *, offset: int, limit: int, seconds: int) -> list[JsonObject]:
        """Serve one getUpdates call: the waiting updates, or the first that comes within `seconds`.

        Raises BotApiError 409 if another poll with this token comes in the meantime.
        """
        self.polls += 1
        if self.first_poll_at is None:
            self.first_poll_at = time.monotonic()
            await self._notify()
        self._end_earlier_poll()
        self._confirm(offset)
        limit = min(max(limit, 1), MAX_UPDATES_PER_POLL)
        if not self._pending and seconds > 0:
            await self._wait_for_update(min(seconds, MAX_POLL_SECONDS))
        return self._pending[:limit]

    async def send(self, chat_id: int, text: str) -> JsonObject:
        """Record a message of the bot and return it as a `Message` object. Raises BotApiError 400."""
        if chat_id not in self._chats:
            raise BotApiError(400, "Bad Request: chat not found")
        if not text.strip():
            raise BotApiError(400, "Bad Request: message text is empty")
        if len(text) > MAX_MESSAGE_LENGTH:
            raise BotApiError(400, "Bad Request: message is too long")
        self.sent.append(SentMessage(chat_id=chat_id, text=text, at=time.monotonic()))
        await self._notify()
        return self._message(chat_id, text, sender=self.me())

    @property
    def pending_count(self) -> int:
        """The number of updates that the bot has not confirmed yet."""
        return len(self._pending)

    def drop_pending(self) -> None:
        """Forget the updates that wait."""
        self._pending.clear()

    def _message(self, chat_id: int, text: str, *, sender: JsonObject) -> JsonObject:
        return {
            "message_id": next(self._message_ids),
            "date": int(time.time()),
            "chat": {"id": chat_id, "type": "private", "first_name": "User"},
            "from": sender,
            "text": text,
        }

    def _end_earlier_poll(self) -> None:
        if self._waiting_poll is None or self._waiting_poll.done():
            return
        self.conflicts += 1
        self._waiting_poll.set_exception(
            BotApiError(
                409,
                "Conflict: terminated by other getUpdates request; "
                "make sure that only one bot instance is running",
            )
        )

    def _confirm(self, offset: int) -> None:
        """Forget what the bot has seen; a negative offset keeps that many of the newest updates."""
        if offset < 0:
            self._pending = self._pending[offset:]
        else:
            self._pending = [update for update in self._pending if update["update_id"] >= offset]

    async def _wait_for_update(self, seconds: int) -> None:
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting_poll = waiting
        try:
            await asyncio.wait_for(waiting, seconds)
        except TimeoutError:
            pass
        finally:
            if self._waiting_poll is waiting:
                self._waiting_poll = None

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()
