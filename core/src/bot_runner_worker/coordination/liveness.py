"""Who is alive: each process's own presence, and what it sees of the others'."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from time import monotonic
from uuid import uuid4

from bot_runner_worker.coordination.naming import Names
from bot_runner_worker.engine import Engine, volumes
from bot_runner_worker.model.identity import INSTANCE, NAMESPACE, PRESENCE_ROLE, ROLE, WORKER_ID
from bot_runner_worker.settings import Settings

PRESENCE_SECONDS = 30.0
"""A process whose presence is not renewed for that long is dead. It renews it six times as often."""


def renewal_seconds() -> float:
    """Seconds between two renewals of a presence."""
    return PRESENCE_SECONDS / 6


class Presence:
    """This process's presence on the Engine.

    Args:
        engine: The Engine.
        settings: Namespace and worker id.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.worker_id = settings.worker_id
        self.instance = uuid4().hex[:12]
        self._engine = engine
        self._names = Names(settings.runner_namespace)
        self._labels = {
            NAMESPACE: settings.runner_namespace,
            ROLE: PRESENCE_ROLE,
            WORKER_ID: self.worker_id,
            INSTANCE: self.instance,
        }
        self._number = 0
        self._left: set[int] = set()
        self._renewed_at = float("-inf")

    @property
    def is_sure(self) -> bool:
        """Whether nobody can take this process for dead now, nor within the next few seconds."""
        return monotonic() - self._renewed_at < PRESENCE_SECONDS / 2

    async def renew(self) -> None:
        """Count up: create the volume of the next number, then remove those of the former ones."""
        begun = monotonic()
        self._number += 1
        self._left.add(self._number)
        await volumes.create(self._engine, self._names.presence(self.instance, self._number), self._labels)
        # From when the call began: others may have seen the new number since then.
        self._renewed_at = begun
        await self._remove(self._left - {self._number})

    async def end(self) -> None:
        """Leave no volume."""
        self._renewed_at = float("-inf")
        await self._remove(set(self._left))

    async def _remove(self, numbers: Iterable[int]) -> None:
        for number in sorted(numbers):
            await volumes.remove(self._engine, self._names.presence(self.instance, number))
            self._left.discard(number)


@dataclass(slots=True)
class _Sighting:
    presences: frozenset[str]
    since: float
    seen_at: float


class Census:
    """What this process has seen of the others' presences."""

    def __init__(self) -> None:
        self._seen: dict[str, _Sighting] = {}
        self._dead: set[str] = set()

    def look(self, found: Mapping[str, Mapping[str, str]]) -> None:
        """Take in what there is now.

        Args:
            found: Names and labels of the volumes of all claims and presences.
        """
        now = monotonic()
        presences: dict[str, set[str]] = {}
        for name, labels in found.items():
            known = presences.setdefault(labels.get(INSTANCE, ""), set())
            if labels.get(ROLE) == PRESENCE_ROLE:
                known.add(name)
        seen = {}
        for instance, names in presences.items():
            before = self._seen.get(instance)
            # What this process did not watch itself proves nothing: the Engine may have been away.
            unbroken = before is not None and now - before.seen_at < PRESENCE_SECONDS / 2
            if before is not None and unbroken and names <= before.presences:
                seen[instance] = _Sighting(before.presences, before.since, now)
            else:
                seen[instance] = _Sighting(frozenset(names), now, now)
        self._seen = seen

    def condemn(self, instance: str) -> None:
        """Take a process for dead from now on, whatever is seen of it."""
        self._dead.add(instance)

    def is_dead(self, instance: str) -> bool:
        """Whether a process is dead, as far as this one can tell."""
        if instance in self._dead:
            return True
        sighting = self._seen.get(instance)
        return sighting is not None and sighting.seen_at - sighting.since >= PRESENCE_SECONDS
