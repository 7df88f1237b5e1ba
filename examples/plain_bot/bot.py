"""An echo bot with nothing but Python's standard library: no requirements, so it starts at once.

Environment: BOT_TOKEN (from @BotFather); TELEGRAM_API_SERVER (only if it is not Telegram's own).
Without a BOT_TOKEN it runs without Telegram and says so every minute: enough to try start, status, logs
and stop.
"""

import json
import os
import signal
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

API_SERVER = os.environ.get("TELEGRAM_API_SERVER") or "https://api.telegram.org"
POLL_SECONDS = 30
RETRY_SECONDS = 3


def call(token: str, method: str, **params: Any) -> Any:
    """Call a Bot API method. Raises HTTPError when it is refused, other OSErrors without an answer."""
    body = urllib.parse.urlencode(params).encode()
    url = f"{API_SERVER}/bot{token}/{method}"
    with urllib.request.urlopen(url, body, POLL_SECONDS + 10) as response:  # noqa: S310
        return json.load(response)["result"]


def answer(token: str, message: dict[str, Any]) -> None:
    text = message.get("text")
    if not text:
        return
    print(f"message: {text}", flush=True)
    call(token, "sendMessage", chat_id=message["chat"]["id"], text=text)


def poll(token: str) -> None:
    print(f"@{call(token, 'getMe')['username']} is polling", flush=True)
    offset = 0
    while True:
        for update in call(token, "getUpdates", offset=offset, timeout=POLL_SECONDS):
            offset = update["update_id"] + 1
            answer(token, update.get("message", {}))


def run_without_telegram() -> None:
    while True:
        print("No BOT_TOKEN is set, so this bot runs without Telegram. It is alive.", flush=True)
        time.sleep(60)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    token = os.environ.get("BOT_TOKEN")
    if not token:
        run_without_telegram()
        return
    while True:
        try:
            poll(token)
        except urllib.error.HTTPError as error:
            if error.code in {401, 404}:
                sys.exit("Telegram does not know this BOT_TOKEN: copy it again from @BotFather.")
            print(f"Telegram answered with error {error.code}; trying again", flush=True)
        except OSError as error:
            print(f"Telegram cannot be reached ({error}); trying again", flush=True)
        time.sleep(RETRY_SECONDS)


if __name__ == "__main__":
    main()
