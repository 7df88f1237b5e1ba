"""Bots of the suite, all in mode ``simple`` without requirements."""

import base64
import io
import tarfile
from typing import Any
from uuid import uuid4

from tests.conftest import BASE_IMAGE, IDLE_BOT

POLITE_BOT = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("ready", flush=True)
while True:
    time.sleep(1)
"""
"""Ends in order when it is told to, as bots made with aiogram do: with exit code 0."""

MORTAL_BOT = """
import os, time
print("ready", flush=True)
while not os.path.exists("/tmp/die"):
    time.sleep(0.2)
"""
"""Ends by itself, with exit code 0, once there is a file."""


ANSWERING_BOT = """
import socket
with socket.create_server(("", 8080)) as server:
    print("ready", flush=True)
    while True:
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"here")
"""
"""Answers whoever connects to its port 8080."""

FORK_BOMB = """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
"""

MEMORY_HOG = """
hoard = []
while True:
    hoard.append(bytearray(b"x" * 4_000_000))
"""

LOG_FLOOD = """
line = "x" * 1000
while True:
    print(line, flush=True)
"""

DISK_FILLER = """
import time

for number in range(16):
    with open(f"/tmp/filler-{number}", "wb") as file:
        file.write(b"x" * 10_000_000)
time.sleep(1000)
"""
"""In files that are each within the limit of one, or it might crash twice before it is measured once."""

HIDING_FILLER = """
import os, time

hidden = []
for _ in range(15):
    hidden.append(os.open("/tmp/filler", os.O_WRONLY | os.O_CREAT))
    os.unlink("/tmp/filler")
    os.write(hidden[-1], bytes(20_000_000))
time.sleep(1000)
"""
"""300 MB in files that no folder shows."""


def simple(code: str = IDLE_BOT, **more: Any) -> dict[str, Any]:
    """Parameters of a start in mode ``simple``."""
    return {"deployment_mode": "simple", "code": code, **more}


HELD = "while [ ! -e /tmp/end ]; do sleep 0.1; done"
"""The command of a build that goes on until :func:`tests.faults.running.builds_end` ends it."""

_RUN = uuid4().hex


def project(name: str, build_command: str = "sleep 1", code: str = IDLE_BOT) -> dict[str, Any]:
    """Parameters of a start in mode ``custom``.

    Args:
        name: Makes it another project, which is built anew: the Engine does no equal step again, whoever
            made it.
        build_command: What the build does.
        code: The bot.
    """
    files = {
        "Dockerfile": f"FROM {BASE_IMAGE}\nCOPY bot.py /\n"
        f"RUN echo {name} {_RUN}; {build_command} && echo {name} >/built\n"
        'CMD ["python3", "-u", "/bot.py"]\n',
        "bot.py": code,
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for path, text in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return {"deployment_mode": "custom", "archive": base64.b64encode(buffer.getvalue()).decode()}
