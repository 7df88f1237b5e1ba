"""An echo bot with aiogram 3: it greets on /start and repeats every other text.

Environment: BOT_TOKEN (from @BotFather); TELEGRAM_API_SERVER (only if it is not Telegram's own).
"""

import asyncio
import logging
import os
import sys

from aiogram import Bot, Dispatcher, F, Router
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import TelegramUnauthorizedError
from aiogram.filters import CommandStart
from aiogram.types import Message
from aiogram.utils.token import TokenValidationError

log = logging.getLogger("echo_bot")
router = Router()


@router.message(CommandStart())
async def greet(message: Message) -> None:
    await message.answer("Hello! Send me any text and I will repeat it.")


@router.message(F.text)
async def echo(message: Message) -> None:
    log.info("message from chat %s: %s", message.chat.id, message.text)
    await message.answer(message.text or "")


def make_bot(token: str) -> Bot:
    server = os.environ.get("TELEGRAM_API_SERVER")
    if not server:
        return Bot(token)
    return Bot(token, session=AiohttpSession(api=TelegramAPIServer.from_base(server)))


async def main() -> None:
    token = os.environ.get("BOT_TOKEN")
    if not token:
        sys.exit("BOT_TOKEN is not set: get a token from @BotFather and start the bot with -e BOT_TOKEN=...")
    try:
        async with make_bot(token) as bot:
            dispatcher = Dispatcher()
            dispatcher.include_router(router)
            me = await bot.me()
            log.info("@%s is polling", me.username)
            await dispatcher.start_polling(bot)
    except (TokenValidationError, TelegramUnauthorizedError):
        sys.exit("Telegram does not know this BOT_TOKEN: copy it again from @BotFather.")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("aiogram").setLevel(logging.WARNING)
    asyncio.run(main())
