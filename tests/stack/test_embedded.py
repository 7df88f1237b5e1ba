"""The embedded stack starts and ends its processes in order, and says clearly which one failed and why.

The orchestrator and the workers are small stand-ins here: the real ones are driven by the whole-stack tests.
"""

import sys
from pathlib import Path

import pytest

from bot_runner_stack import repository
from bot_runner_stack.embedded import EmbeddedStack, StackOptions
from bot_runner_stack.errors import StackError

ORCHESTRATOR = """
import http.server, json, os, pathlib, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
registered = pathlib.Path(os.environ["REGISTERED"])

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        known = self.headers.get("X-Client-Token") == os.environ["CLIENT_TOKEN"]
        ok = self.path == "/_public/status" or known
        self.send_response(200 if ok else 401)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        workers = [{"worker_id": file.name} for file in registered.iterdir()]
        self.wfile.write(json.dumps(workers).encode())

http.server.HTTPServer((os.environ["API_HOST"], int(os.environ["API_PORT"])), Handler).serve_forever()
"""
WORKER = """
import os, pathlib, signal, sys, time
if os.environ.get("BROKEN"):
    sys.exit("WORKER_TOKEN is not set")
me = pathlib.Path(os.environ["REGISTERED"]) / os.environ["WORKER_ID"]
me.write_text(os.environ.get("MAX_BOTS_PER_USER", ""))

def end(*_):
    me.unlink()
    sys.exit(0)

signal.signal(signal.SIGTERM, end)
time.sleep(60)
"""


@pytest.fixture
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts stand-ins where the commands would be. Returns the folder in which workers register."""

    def script(name: str, code: str) -> Path:
        path = tmp_path / name
        path.write_text(f"#!{sys.executable}\n{code}")
        path.chmod(0o755)
        return path

    folder = tmp_path / "registered"
    folder.mkdir()
    monkeypatch.setenv("REGISTERED", str(folder))
    monkeypatch.setenv("BOT_RUNNER_ORCHESTRATOR_BIN", str(script("orchestrator", ORCHESTRATOR)))
    worker = script("worker", WORKER)
    monkeypatch.setattr(repository, "command", lambda _name: worker)
    return folder


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


async def test_all_run_when_it_is_entered_and_none_when_it_is_left(registered: Path) -> None:
    async with EmbeddedStack(StackOptions(namespace="test", workers=2)) as stack:
        assert await stack.registered_workers() == {"test-worker-1", "test-worker-2"} == names(registered)
        processes = [stack.orchestrator, *stack.workers]
        assert all(process.running for process in processes)
        log = stack.orchestrator.log

    assert [process.exit_code for process in processes] == [0, 0, 0]
    assert names(registered) == set()
    assert not log.parent.exists()


async def test_two_stacks_run_side_by_side(registered: Path) -> None:
    async with EmbeddedStack() as one, EmbeddedStack() as other:
        assert one.url != other.url
        assert one.namespace != other.namespace
        assert one.client_token != other.client_token


async def test_each_worker_can_have_settings_of_its_own(registered: Path) -> None:
    options = StackOptions(namespace="test", worker_env={"MAX_BOTS_PER_USER": "3"})
    async with EmbeddedStack(options) as stack:
        await stack.start_worker({"WORKER_ID": "special", "MAX_BOTS_PER_USER": "5"})

        assert (registered / "test-worker-1").read_text() == "3"
        assert (registered / "special").read_text() == "5"


async def test_a_worker_can_be_killed_and_started_again(registered: Path) -> None:
    async with EmbeddedStack(StackOptions(namespace="test")) as stack:
        [worker] = stack.workers
        worker.kill()
        assert not worker.running

        worker.start()

        assert worker.running


async def test_a_worker_that_dies_is_named_with_its_last_words_and_nothing_stays(registered: Path) -> None:
    stack = EmbeddedStack(StackOptions(worker_env={"BROKEN": "yes"}))

    with pytest.raises(StackError, match=r"^The worker ended with exit code 1\.$") as caught:
        await stack.__aenter__()

    assert caught.value.log_tail == "WORKER_TOKEN is not set"
    assert not stack.orchestrator.running


async def test_logs_stay_in_a_folder_that_is_named(registered: Path, tmp_path: Path) -> None:
    async with EmbeddedStack(StackOptions(log_dir=tmp_path / "log")):
        pass

    assert names(tmp_path / "log") == {"orchestrator.log", "worker-1.log"}


async def test_a_missing_orchestrator_is_one_sentence(
    registered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOT_RUNNER_ORCHESTRATOR_BIN", "/nowhere/orchestrator")

    with pytest.raises(StackError, match=r"/nowhere/orchestrator is missing: `make setup` installs it\."):
        await EmbeddedStack().__aenter__()


def test_tokens_are_not_shown_with_the_options() -> None:
    options = StackOptions(client_token="secret-1", worker_env={"TOKEN": "secret-2"})

    assert "secret" not in repr(options)


async def test_settings_of_the_developers_shell_do_not_replace_the_stacks_own(
    registered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RUNNER_NAMESPACE", "CLIENT_TOKEN", "API_PORT", "WORKER_ID"):
        monkeypatch.setenv(name, "1")

    async with EmbeddedStack(StackOptions(namespace="test")) as stack:
        assert await stack.registered_workers() == {"test-worker-1"}
        assert stack.workers[0].environment["RUNNER_NAMESPACE"] == "test"
