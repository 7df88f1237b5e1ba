"""Git processes: what they get to see, and how they end."""

import os
from pathlib import Path

import pytest
from tests.corpus.servers import Servers
from tests.corpus.watching import children, gone

from bot_runner_git.address import RepositoryAddress
from bot_runner_git.environment import local_environment, remote_environment
from bot_runner_git.process import GitProcess
from bot_runner_worker.model.errors import Rejected
from bot_runner_worker.projects import Deadline
from bot_runner_worker.testing.waiting import until


def deadline(seconds: float) -> Deadline:
    return Deadline(seconds, code="GIT_TIMED_OUT", message="It took too long.")


def process(folder: Path, *arguments: str, seconds: float = 20, size: int = 1 << 20) -> GitProcess:
    """A git process with aliases, which real ones never have: they run a shell for the test."""
    return GitProcess(
        folder,
        arguments,
        environment=local_environment(folder),
        max_file_size=size,
        deadline=deadline(seconds),
    )


def shell(folder: Path, script: str, seconds: float = 20, size: int = 1 << 20) -> GitProcess:
    return process(folder, "-c", f"alias.x=!{script}", "x", seconds=seconds, size=size)


def test_the_workers_secrets_are_not_handed_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_TOKEN", "sentinel")
    monkeypatch.setenv("GIT_TRACE", "1")
    monkeypatch.setenv("https_proxy", "http://127.0.0.2:1")
    monkeypatch.setenv("GIT_SSL_CAINFO", "/the/machines/ca.crt")
    with shell(tmp_path, "env") as running:
        names = {line.partition("=")[0]: line for line in running.all_output(1 << 20).splitlines()}
    assert not {"WORKER_TOKEN", "GIT_TRACE", "https_proxy"} & names.keys()
    assert names["GIT_SSL_CAINFO"] == "GIT_SSL_CAINFO=/the/machines/ca.crt"
    assert names["GIT_CONFIG_GLOBAL"] == "GIT_CONFIG_GLOBAL=/dev/null"


def test_the_token_is_in_no_argument(tmp_path: Path) -> None:
    address = RepositoryAddress.parse("https://example.com/a", "sentinel-token")
    environment = remote_environment(tmp_path, address, dialled=["192.0.2.1"], ca_bundle=None)
    assert address.authorization is not None
    script = "alias.x=!tr '\\0' ' ' </proc/$PPID/cmdline; sleep 0"
    with GitProcess(
        tmp_path, ["-c", script, "x"], environment=environment, max_file_size=1, deadline=deadline(20)
    ) as running:
        arguments = running.all_output(1 << 20)
    assert "alias.x" in arguments
    assert address.authorization not in arguments
    assert "sentinel" not in arguments
    assert f"Authorization: {address.authorization}" in environment.values()


def test_only_the_checked_address_is_dialled(tmp_path: Path) -> None:
    address = RepositoryAddress.parse("https://example.com:8443/a", None)
    values = remote_environment(tmp_path, address, dialled=["192.0.2.1", "2001:db8::1"], ca_bundle=None)
    assert "example.com:8443:192.0.2.1,[2001:db8::1]" in values.values()
    assert values["GIT_ALLOW_PROTOCOL"] == "https"


async def test_silent_and_endless_processes_end_in_time_with_all_they_started(tmp_path: Path) -> None:
    before = children()
    for script in ("sleep 600 & sleep 600", "yes", "yes >&2", "trap '' TERM; sleep 600"):
        with pytest.raises(Rejected) as caught, shell(tmp_path, script, seconds=0.5) as running:
            running.finish()
        assert caught.value.code == "GIT_TIMED_OUT"
    assert not await gone(before)
    # They are killed with their group; the kernel takes them away a moment later.
    await until(lambda: not _processes_in(tmp_path))


def _processes_in(folder: Path) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if os.readlink(path) == str(folder):
                found.append(path.parent.name)
        except OSError:
            continue
    return found


def test_a_file_cannot_grow_beyond_the_limit(tmp_path: Path) -> None:
    script = "head -c 200000 /dev/zero >big"
    with pytest.raises(Rejected), shell(tmp_path, script, size=100_000) as running:
        running.finish()
    assert (tmp_path / "big").stat().st_size <= 100_000


def test_git_itself_refuses_other_transports(tmp_path: Path) -> None:
    address = RepositoryAddress.parse("https://example.com/a", None)
    environment = remote_environment(tmp_path, address, dialled=[], ca_bundle=None)
    for url in ("file:///etc", "/etc", "ext::sh -c true"):
        with (
            pytest.raises(Rejected),
            GitProcess(
                tmp_path,
                ["ls-remote", "--", url],
                environment=environment,
                max_file_size=1 << 20,
                deadline=deadline(20),
            ) as running,
        ):
            running.finish()


def test_redirects_are_not_followed(tmp_path: Path, servers: Servers) -> None:
    url = servers.redirect(servers.git.url("/x.git"))
    address = RepositoryAddress.parse("http://127.0.0.1/a", None)
    environment = remote_environment(tmp_path, address, dialled=["127.0.0.1"], ca_bundle=None)
    before = len(servers.git.requests)
    with (
        pytest.raises(Rejected) as caught,
        GitProcess(
            tmp_path,
            ["ls-remote", "--", url],
            environment=environment,
            max_file_size=1 << 20,
            deadline=deadline(20),
        ) as running,
    ):
        running.finish()
    assert caught.value.code == "INVALID_GIT_URL"
    assert servers.git.requests[before:] == []
