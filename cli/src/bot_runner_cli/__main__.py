"""``python -m bot_runner_cli`` is ``bot-runner``."""

from bot_runner_cli.main import main

if __name__ == "__main__":
    main()
