"""A stand-in for Telegram's servers: the Bot API methods that a polling bot calls.

Bots written with aiogram 3 (or plain HTTP) work against it unchanged; only the API server's address differs.
Behaviour follows https://core.telegram.org/bots/api: updates are confirmed by `offset`, long polls wait up
to `timeout` seconds, and of two polls with one token the earlier is ended with error 409.

```python
async with TelegramEmulator(host="172.17.0.1") as telegram:
    bot = telegram.register_bot()          # bot.token goes into the bot's BOT_TOKEN
    bot.user_sends("hello")
    answer = await bot.next_answer(timeout=10)
```
"""

from bot_runner_stack.telegram.account import BotAccount, SentMessage
from bot_runner_stack.telegram.server import TelegramEmulator

__all__ = ["BotAccount", "SentMessage", "TelegramEmulator"]
