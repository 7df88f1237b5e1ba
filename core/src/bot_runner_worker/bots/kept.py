"""What is kept of each tenant's bots that have ended, and which of them have to go."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime

from bot_runner_worker.bots.container_state import ContainerState
from bot_runner_worker.model.spec import BotRecord
from bot_runner_worker.settings import Settings

_End = tuple[str, datetime | None]
"""One end of a container, which may be started again and end once more."""

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class KeptBots:
    """Bots that have ended for good and can still be read: so many, and of such a size, for each tenant.

    The newest are kept. A container that does not run writes nothing: it is measured once.

    Args:
        settings: ``max_kept_bots_per_user`` and ``max_kept_bots_size``.
    """

    def __init__(self, settings: Settings) -> None:
        self._most = settings.max_kept_bots_per_user
        self._most_bytes = settings.max_kept_bots_size
        self._sizes: dict[_End, int] = {}
        self._surplus: frozenset[_End] = frozenset()

    def look(self, ended: Iterable[ContainerState]) -> list[BotRecord]:
        """Find out which have to go; returns those of the others whose size is not known yet.

        Args:
            ended: All bots that have ended for good, but those that somebody works on.
        """
        tenants: defaultdict[str, list[BotRecord]] = defaultdict(list)
        for each in ended:
            tenants[each.record.bot.user_id].append(each.record)
        ends = {_end(record) for records in tenants.values() for record in records}
        self._sizes = {end: size for end, size in self._sizes.items() if end in ends}
        self._surplus = frozenset(end for records in tenants.values() for end in self._beyond(records))
        known = self._surplus | self._sizes.keys()
        return [record for records in tenants.values() for record in records if _end(record) not in known]

    def _beyond(self, records: list[BotRecord]) -> Iterable[_End]:
        total = 0
        newest_first = sorted(records, key=lambda each: each.finished_at or _LONG_AGO, reverse=True)
        for number, record in enumerate(newest_first):
            total += self._sizes.get(_end(record), 0)
            if number >= self._most or total > self._most_bytes:
                yield _end(record)

    def note(self, container: ContainerState) -> None:
        """Note what a container that has ended has on its disk."""
        self._sizes[_end(container.record)] = container.disk_bytes

    def is_surplus(self, record: BotRecord) -> bool:
        """Whether a bot that has ended has to go, by the last :meth:`look`."""
        return _end(record) in self._surplus


def _end(record: BotRecord) -> _End:
    return record.id, record.finished_at
