"""The program that runs in the probe's container: standard library only, for whatever Python the image has.

It reads ``TARGETS`` (JSON, pairs of address and port), tries each, prints which answered, and stays for a
while so that its output can be read.
"""

import json
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor

PATIENCE = 2.0
STAY = 60.0
SOCKETS = ("/var/run/docker.sock", "/run/docker.sock")


def answers(target: "list[str | int]") -> bool:
    """Whether a TCP connection comes about."""
    address, port = target
    try:
        socket.create_connection((str(address), int(port)), timeout=PATIENCE).close()
    except OSError:
        return False
    return True


def main() -> None:
    """Print what is within reach as one line of JSON."""
    targets = json.loads(os.environ["TARGETS"])
    with ThreadPoolExecutor(max_workers=16) as pool:
        reached = list(pool.map(answers, targets))
    sockets = [path for path in SOCKETS if os.path.exists(path)]
    print(json.dumps({"reached": reached, "sockets": sockets}), flush=True)
    time.sleep(STAY)


if __name__ == "__main__":
    main()
