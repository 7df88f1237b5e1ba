"""Host names that exist for the tests only; no name server is asked about them."""

import socket
from collections import defaultdict
from typing import Any

import pytest
from tests.corpus.servers import ALLOWED, FORBIDDEN

ANSWERS: dict[str, tuple[str, ...]] = {
    "files.example": (ALLOWED,),
    "inner.example": (FORBIDDEN,),
    "metadata.example": ("169.254.169.254",),
    "private.example": ("10.0.0.1",),
    "mapped.example": ("::ffff:127.0.0.2",),
    # The first lookup gives an open address, each further one a closed one.
    "rebind.example": (ALLOWED, FORBIDDEN),
}
MIXED = "mixed.example"
"""Has an open and a closed address at once."""


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer for the names above, and count the lookups of each from now on."""
    real = socket.getaddrinfo
    lookups: defaultdict[str, int] = defaultdict(int)

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name == MIXED:
            return [entry for each in (ALLOWED, FORBIDDEN) for entry in real(each, port, *args, **kwargs)]
        if name in ANSWERS:
            answers = ANSWERS[name]
            number = min(lookups[name], len(answers) - 1)
            lookups[name] += 1
            return real(answers[number], port, *args, **kwargs)
        if isinstance(name, str) and name.endswith((".example", ".invalid", ".test")):
            raise socket.gaierror(socket.EAI_NONAME, "no such name in the tests")
        return real(host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
