"""How many requests one tenant may have in this worker, and how much memory those may take."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from bot_runner_worker.model.errors import Code, Rejected, Unavailable
from bot_runner_worker.model.quantities import MIB, format_size

REQUESTS_OF_ONE_TENANT = 128
"""Starts and restarts of one tenant, waiting or not; and as many other requests."""

BYTES_OF_ONE_TENANT = 256 * MIB
BYTES_OF_ALL = 1024 * MIB
"""Memory for the params of requests: code and archives come in them. A tenant's only one may be larger."""

_ENTRY = 64
"""Bytes of an object in memory besides its text."""


class RequestLimits:
    """Counts the requests that are not answered yet, and refuses what is too much."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, bool]] = Counter()
        self._bytes: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._requests.total()

    @contextmanager
    def counted(self, name: str, params: Any) -> Iterator[None]:
        """Count a request while the block runs.

        Args:
            name: The task's name.
            params: Its raw params.

        Raises:
            Rejected: ``TOO_MANY_REQUESTS`` if the tenant has too many here already, or too large ones.
            Unavailable: The same if it is the large ones of all tenants that are too many.
        """
        tenant = params.get("user_id") if isinstance(params, Mapping) else None
        tenant = tenant if isinstance(tenant, str) else ""
        # Whoever has too many starts can stop them all the same.
        kind = (tenant, name in ("start_bot", "restart_bot"))
        size = _size_of(params)
        self._check(kind, size)
        self._requests[kind] += 1
        self._bytes[tenant] += size
        try:
            yield
        finally:
            # What comes to nothing is dropped: there is no end of tenants.
            self._requests -= Counter({kind: 1})
            self._bytes -= Counter({tenant: size})

    def _check(self, kind: tuple[str, bool], size: int) -> None:
        count, held, of_all = self._requests[kind], self._bytes[kind[0]], self._bytes.total()
        if count >= REQUESTS_OF_ONE_TENANT or (held and held + size > BYTES_OF_ONE_TENANT):
            raise Rejected(
                Code.TOO_MANY_REQUESTS,
                f"This user has {count} unanswered requests of {format_size(held)} here already.",
                hint="Wait for their answers, then send the request again.",
                details={"requests": REQUESTS_OF_ONE_TENANT, "bytes": BYTES_OF_ONE_TENANT},
                stage="request",
            )
        if size > MIB and of_all and of_all + size > BYTES_OF_ALL:
            raise Unavailable(
                Code.TOO_MANY_REQUESTS,
                "Too many large requests wait in this worker.",
                hint="Try again in a minute.",
                stage="request",
            )


def _size_of(params: Any) -> int:
    """Roughly the memory that params take, in bytes; what is too much is not looked at to its end."""
    size, rest = 0, [params]
    while rest and size <= BYTES_OF_ONE_TENANT:
        each = rest.pop()
        size += _ENTRY
        if isinstance(each, str):
            size += len(each)
        elif isinstance(each, Mapping):
            rest += [*each.keys(), *each.values()]
        elif isinstance(each, list):
            rest += each
    return size
