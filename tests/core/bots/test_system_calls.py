"""What a bot may ask of the kernel: nothing that takes room unseen, and nothing that the Engine denies."""

import errno
import json
from collections.abc import AsyncIterator

import pytest
from tests.conftest import BASE_IMAGE, ENGINE, MakeRunner
from tests.core.examples import logs_with

from bot_runner_worker.containers import json_answer, probe_container
from bot_runner_worker.engine import Engine
from bot_runner_worker.settings import Settings

CALLS = """
import ctypes, json, os, platform, struct
libc = ctypes.CDLL(None, use_errno=True)
numbers = {
    "x86_64": {"fallocate": 285, "ioctl": 16, "setxattr": 188, "ptrace": 101, "socket": 41},
    "aarch64": {"fallocate": 47, "ioctl": 29, "setxattr": 5, "ptrace": 117, "socket": 198},
}[platform.machine()] | {"io_uring_setup": 425}
found = {}
def call(what, name, *args):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(numbers[name]), *(
        each if isinstance(each, ctypes.Array) else ctypes.c_ulong(each) for each in args
    ))
    found[what] = ctypes.get_errno() if result < 0 else 0
PATH = "/tmp/unseen"
SIZE = 16 << 20
def blocks(what, name, *args):
    file = os.open(PATH, os.O_RDWR | os.O_CREAT)
    call(what, name, file, *args)
    seen = os.fstat(file)
    found[what + ": unseen"] = max(seen.st_blocks * 512 - seen.st_size, 0)
    os.close(file)
    os.unlink(PATH)
blocks("allocate", "fallocate", 0, 0, SIZE)
for mode in (1, 3, 16, 17, (1 << 32) | 1):
    blocks(f"allocate {mode}", "fallocate", mode, 0, SIZE)
room = struct.pack("hhqqiI4i", 0, 0, 0, SIZE, 0, 0, 0, 0, 0, 0)
for command in (0x40305828, 0x4030582A, 0x14030582A, 0x40305839, 0x401C5820):
    blocks(f"ioctl {command:x}", "ioctl", command, ctypes.create_string_buffer(room))
blocks("ioctl FIONREAD", "ioctl", 0x541B, ctypes.create_string_buffer(8))
open(PATH, "w").close()
text = ctypes.create_string_buffer
call("attribute", "setxattr", text(PATH.encode()), text(b"user.x"), text(b"v"), 1, 0)
call("io_uring", "io_uring_setup", 8, text(200))
call("trace", "ptrace", 16, 1, 0, 0)
for family in (1, 2, 10, 38, 40, (1 << 32) | 38):
    call(f"socket {family}", "socket", family, 5 if family & 255 == 38 else 2, 0)
print(json.dumps(found), flush=True)
import time
while True: time.sleep(1)
"""


@pytest.mark.engine
async def test_a_bot_takes_no_room_unseen(make_runner: MakeRunner) -> None:
    runner = await make_runner()
    await runner.start(code=CALLS, deployment_mode="simple")
    found = json.loads((await logs_with(runner, "}\n"))["logs"])
    assert {what: size for what, size in found.items() if what.endswith(": unseen") and size} == {}
    ended = {what: end for what, end in found.items() if not what.endswith(": unseen")}
    allowed = {"allocate", "ioctl FIONREAD", "socket 1", "socket 2", "socket 10"}
    assert {what for what, end in ended.items() if end == 0} == allowed
    # What programs take for a file system that cannot do it, and do without.
    assert {ended[what] for what in ("allocate 1", "allocate 3", "attribute")} == {errno.EOPNOTSUPP}


EACH_CALL = """
import ctypes, errno, json, os, signal
libc = ctypes.CDLL(None, use_errno=True)
# fork, vfork, exit, exit_group and sync of x86_64; clone, exit, exit_group and sync of aarch64
left_out = {57, 58, 60, 162, 231} if os.uname().machine == "x86_64" else {81, 93, 94, 220}
denied = []
for number in set(range(470)) - left_out:
    child = os.fork()
    if not child:
        signal.alarm(1)
        failed = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(-1)] * 6) == -1
        os._exit(1 if failed and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS) else 0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1:
        denied.append(number)
print(json.dumps({"denied": denied}))
"""
"""Tries each system call with arguments that mean nothing; one that waits or kills its process is allowed."""


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    async with Engine(ENGINE) as engine:
        yield engine


@pytest.mark.slow
async def test_nothing_is_allowed_that_the_engine_denies(engine: Engine) -> None:
    async def denied(profile: str) -> set[int]:
        settings = Settings.load(worker_token="x", base_image=BASE_IMAGE, container_seccomp=profile)
        name, config = probe_container(settings, ["python3", "-c", EACH_CALL])
        return set((await json_answer(engine, name, config, seconds=120))["denied"])

    ours, engines = await denied("strict"), await denied("engine")
    assert engines - ours == set()
    assert ours - engines, "io_uring at least, or ptrace"
