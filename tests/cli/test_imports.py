"""``--help`` is quick: it imports nothing that only a running command needs."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("command", [[], ["start"], ["list"]], ids=" ".join)
def test_help_imports_no_http_client(command: list[str]) -> None:
    code = (
        "import sys\nfrom bot_runner_cli.main import app\n"
        f"app({[*command, '--help']}, standalone_mode=False)\n"
        "print([name for name in ('httpx', 'bot_runner_cli.api') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
