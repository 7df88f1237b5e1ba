"""Health check of the orchestrator's image: does its API answer?

It reads API_HOST, API_PORT and TLS_ENABLED from the container's environment, as the orchestrator does.
"""

import http.client
import os
import ssl
import sys
from collections.abc import Mapping

TIME_LIMIT = 3.0
"""Seconds; below the limit that the image sets for the check, so that this one gets to say what is wrong."""

_REACHED_AT = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
"""Where to find what listens on all addresses, which is the default."""


def connection(environment: Mapping[str, str]) -> http.client.HTTPConnection:
    """A connection to the orchestrator, not opened yet. Raises ValueError if API_PORT is not a number."""
    host = _REACHED_AT.get(environment.get("API_HOST", ""), environment.get("API_HOST", ""))
    port = int(environment.get("API_PORT") or 8000)
    if environment.get("TLS_ENABLED", "").lower() != "true":
        return http.client.HTTPConnection(host, port, timeout=TIME_LIMIT)
    # Its certificate is for another name than this address, which never leaves the container.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=TIME_LIMIT, context=context)


def main() -> str | None:
    """Ask the orchestrator; returns what is wrong, in one line."""
    try:
        orchestrator = connection(os.environ)
        orchestrator.request("GET", "/_public/status")
        status = orchestrator.getresponse().status
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"The orchestrator does not answer: {error}"
    return None if status == 200 else f"The orchestrator answers with status {status}"


if __name__ == "__main__":
    sys.exit(main())
