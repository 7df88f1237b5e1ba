"""What tenants are told of the Engine's messages: a sentence for what is theirs, and no path of the host."""

import pytest

from bot_runner_worker.bots.start_errors import start_failed
from bot_runner_worker.engine import EngineError
from bot_runner_worker.engine.builds import BuildError
from bot_runner_worker.engine.messages import cause_of, shown
from bot_runner_worker.images.build_errors import failed

LAYERS = "/var/lib/docker/overlay2/0123abcd/merged"
RUNC = "OCI runtime create failed: container_linux.go:380: starting container process caused: "
SHIM = (
    "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create "
)
SHIM += "failed: unable to start container process: "

# As 20.10 with runc 1.0 and 1.1, and 26.1 with runc 1.1 say it.
MESSAGES = [
    (f'{RUNC}exec: "no-such": executable file not found in $PATH: unknown', "There is no command no-such"),
    (f'{SHIM}exec: "no-such": executable file not found in $PATH: unknown', "There is no command no-such"),
    (f'{RUNC}exec: "/app/x": stat /app/x: no such file or directory: unknown', "The program /app/x is not"),
    (
        f'{SHIM}exec: "/etc/x": stat /etc/x: not a directory: unknown',
        "The program /etc/x is not in the image",
    ),
    (f'{RUNC}exec: "/app/x": permission denied: unknown', "The program /app/x is not executable"),
    ("exec /app/x: exec format error", "not made for this machine"),
    ("unable to find user nobody-knows: no matching entries in passwd file", "no user or group nobody-knows"),
    ("No command specified", "says no command"),
    (
        f'{SHIM}chdir to cwd ("/root/x") set in config.json failed: permission denied',
        "The working directory /root/x cannot be entered",
    ),
    (
        f'{RUNC}container init caused: rootfs_linux.go:76: mounting "tmpfs" to rootfs at '
        f'"/p/attr" caused: mkdir {LAYERS}/p/attr: no such file or directory: unknown',
        "cannot be mounted",
    ),
    (
        f'{SHIM}error mounting "/var/lib/docker/volumes/a/_data" to rootfs at "/etc/x": not a directory',
        "cannot be mounted",
    ),
    (f"{SHIM}open {LAYERS}/x: something that nobody has seen before", "The container runtime refused it."),
]


@pytest.mark.parametrize(("message", "words"), MESSAGES)
def test_a_start_that_fails_is_explained_without_the_engines_words(message: str, words: str) -> None:
    error = start_failed(EngineError(500, message)).to_dict()
    assert error["code"] == "START_FAILED"
    assert words in error["details"]["reason"]
    assert error["hint"]
    for word in ("/var/lib", "overlay2", "runc", "OCI", ".go:"):
        assert word not in str(error)


def test_a_build_that_fails_names_no_path_of_the_host() -> None:
    step = f'{RUNC}rootfs_linux.go:76: mounting "/var/lib/docker/volumes/ab/_data" to rootfs at "/p" caused'
    assert failed(BuildError(step, [])).message == f"The build failed: {cause_of(step).reason}"
    missing = "COPY failed: stat /srv/docker/tmp/docker-builder123456/x.py: no such file or directory"
    assert failed(BuildError(missing, [])).message == (
        "The build failed: COPY failed: stat …: no such file or directory"
    )


def test_what_names_nothing_of_the_host_is_shown_as_it_is() -> None:
    message = "The command '/bin/sh -c pip install x' returned a non-zero code: 1"
    assert shown(message) == message


def test_a_full_disk_is_told_without_the_path() -> None:
    error = start_failed(EngineError(500, f"mkdir {LAYERS}: no space left on device"))
    assert error.code == "ENGINE_DISK_FULL"
    assert "/var/lib" not in str(error.to_dict())
