"""The whole stack on one machine: what `make demo`, `make up` and the whole-stack tests run.

For tests: `bot_runner_stack.embedded.EmbeddedStack` (orchestrator and workers as real processes) and
`bot_runner_stack.telegram.TelegramEmulator` (a stand-in for Telegram's servers).
"""
