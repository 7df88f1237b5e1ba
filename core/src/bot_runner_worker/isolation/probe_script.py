"""The program in the probe's container: standard library only, for the Python of any base image.

It reads ``TARGETS`` (JSON, pairs of address and port), tries each, and prints how each of them answered.
"""

import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor

TIMEOUT = 2.0
SOCKETS = ("/var/run/docker.sock", "/run/docker.sock")


def answer(target: "list[str | int]") -> str:
    """``open`` if a TCP connection is accepted, ``silent`` if nothing comes back, or else ``refused``."""
    address, port = target
    try:
        socket.create_connection((str(address), int(port)), timeout=TIMEOUT).close()
    except TimeoutError:
        return "silent"
    except OSError:
        return "refused"
    return "open"


def main() -> None:
    """Print what can be reached as one line of JSON."""
    targets = json.loads(os.environ["TARGETS"])
    with ThreadPoolExecutor(max_workers=16) as pool:
        answers = list(pool.map(answer, targets))
    sockets = [path for path in SOCKETS if os.path.exists(path)]
    print(json.dumps({"answers": answers, "sockets": sockets}), flush=True)


if __name__ == "__main__":
    main()
