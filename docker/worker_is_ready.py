"""Health check of the worker's image: can the worker serve, as far as it knows itself?

It asks the worker's own `/ready` at HEALTH_ADDRESS, read from the container's environment as the worker does.
Where that is off there is nothing to ask: that the worker runs is seen without a check.
"""

import http.client
import json
import os
import sys
from collections.abc import Mapping

TIME_LIMIT = 4.0
"""Seconds; below the limit that the image sets for the check, so that this one gets to say what is wrong."""

DEFAULT = "127.0.0.1:9180"

_REACHED_AT = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
"""Where to find what listens on all addresses."""


def connection(environment: Mapping[str, str]) -> http.client.HTTPConnection | None:
    """A connection to the worker, not opened yet; None if it does not listen.

    Raises:
        ValueError: If HEALTH_ADDRESS is not an address.
    """
    address = environment.get("HEALTH_ADDRESS") or DEFAULT
    if address == "off":
        return None
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    return http.client.HTTPConnection(_REACHED_AT.get(host, host), int(port), timeout=TIME_LIMIT)


def main() -> str | None:
    """Ask the worker; returns what is wrong, in one line."""
    try:
        worker = connection(os.environ)
        if worker is None:
            return None
        worker.request("GET", "/ready")
        answer = worker.getresponse()
        reasons = json.loads(answer.read())["reasons"]
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException) as error:
        return f"The worker does not answer: {error}"
    return None if answer.status == 200 else "The worker is not ready: " + "; ".join(reasons)


if __name__ == "__main__":
    sys.exit(main())
