"""The lease of a namespace: one worker on an Engine is active, others stand by.

The lease is kept on the Engine, as volumes: workers may run in containers that share nothing else. A volume
cannot be changed, so each **heartbeat** is a new one with the next number in its name. No name is used twice,
so what is removed late belongs to nobody else.

- To **acquire** the lease, a worker creates a volume of its own and then lists all of them. If another one is
  there that may be alive, it removes its own and waits: of two that try at once, at least one sees the other.
- A lease **expires** when a standby sees no new heartbeat for ``EXPIRED`` seconds of its own clock. Time in
  which the Engine did not answer does not count, and no wall clock is involved.
- A holder relies on a heartbeat for ``VALID`` seconds only, which is less. After that it changes nothing on
  the Engine (:meth:`Lease.permit`) until it has renewed the lease, or has found that another worker has it.
"""

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Self

from bot_runner_worker.engine import ENGINE_TROUBLE, Engine, EngineError, volumes
from bot_runner_worker.model.errors import Code, OperatorError, Unavailable
from bot_runner_worker.model.identity import INSTANCE, LEASE_ROLE, NAMESPACE, PROCESS, ROLE, WORKER_ID
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

LOOK = 0.5
"""Seconds between two looks at the Engine, of the holder and of a standby."""
FREE = 1.0
"""Seconds without any volume after which a released lease is free. A holder whose volumes somebody removes
makes new ones in less."""
RENEW = 5.0
"""Seconds between two heartbeats."""
VALID = 12.0
"""Seconds for which a holder relies on its last heartbeat, and the time limit of a renewal."""
EXPIRED = 18.0
"""Seconds without a heartbeat after which a standby takes over."""
SETTLE = 2.0
"""Seconds for which a standby that takes over waits for a last sign of life. A holder that cannot write a
heartbeat because the disk is full looks for others instead, and relies on that for as long."""
CLOSING = 5.0
"""Seconds that a worker which ends takes at most to release the lease."""

_FORMER_ROLES = ("claim", "presence", "stop-request")
"""Roles of volumes of earlier releases, whose workers shared an Engine."""

Volumes = Mapping[str, Mapping[str, str]]
"""Names and labels of volumes."""


class LeaseError(OperatorError):
    """Another worker holds the lease, or has taken it over."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__("LEASE_HELD", message, hint=hint, stage="lease")


class Lease:
    """The lease of a namespace; use it as an asynchronous context manager, which releases it at the end.

    Args:
        settings: The Engine, the namespace, and the worker's id.
    """

    def __init__(self, settings: Settings) -> None:
        self.namespace = settings.runner_namespace
        self.holder = ""
        """Id of the worker that holds it, as far as is known."""
        self.lost = False
        """Whether another worker has taken it over from this one."""
        self.on_loss: Callable[[], None] | None = None
        """Called once when another worker has taken it over."""
        self._engine = Engine(settings.docker_host)
        self._instance = secrets.token_hex(6)
        self._labels = {
            NAMESPACE: self.namespace,
            ROLE: LEASE_ROLE,
            WORKER_ID: settings.worker_id,
            INSTANCE: self._instance,
            PROCESS: _process(os.getpid()),
        }
        self._number = 0
        self._acquired = False
        self._renewed_at = self._valid_until = float("-inf")
        self._keeping: asyncio.Task[None] | None = None
        self._renewal: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.release()

    @property
    def held(self) -> bool:
        """Whether this worker is the active one, as far as it knows."""
        return self._acquired and not self.lost

    async def acquire(self, *, wait: bool = True) -> None:
        """Become the active worker.

        Args:
            wait: Stand by while another worker is active, or the Engine does not answer.

        Raises:
            LeaseError: If another worker is active, and ``wait`` is not set. To tell it from one that was
                killed may take some seconds.
            Unavailable: If the Engine does not answer, and ``wait`` is not set.
        """
        watch, trouble = _Watch(), False
        while True:
            try:
                await self._try_acquire(watch)
                trouble = False
            except ENGINE_TROUBLE as error:
                if not wait:
                    raise
                # Once: the Engine may be away for long.
                logger.log(logging.DEBUG if trouble else logging.WARNING, "no lease can be had: %s", error)
                trouble = True
            if self._acquired:
                break
            if watch.alive and not wait:
                raise LeaseError(
                    f"The worker {self.holder} is active in the namespace {self.namespace}.",
                    hint="Use it through its orchestrator, or stop it first.",
                )
            await asyncio.sleep(LOOK)
        logger.info("this worker is active in the namespace %s", self.namespace)
        self._keeping = asyncio.create_task(self._keep())

    async def _try_acquire(self, watch: "_Watch") -> None:
        begun = now()
        found = self._others(await self._found())
        watch.look(found, begun)
        before, self.holder = self.holder, found[max(found)].get(WORKER_ID, "") if found else ""
        if watch.is_free or watch.is_expired:
            self._acquired = await self._take(found)
        elif self.holder not in ("", before):
            logger.info("standby: the worker %s is active in the namespace %s", self.holder, self.namespace)

    async def _take(self, expired: Volumes) -> bool:
        """Take the lease, unless another worker shows itself; returns whether it is taken."""
        begun = now()
        await self._beat()
        alone = self._others(await self._found()).keys() <= expired.keys()
        if alone and not all(_has_ended(labels) for labels in expired.values()):
            await asyncio.sleep(SETTLE)
            alone = self._others(await self._found()).keys() <= expired.keys()
        if not alone:
            await self._remove_own()
            await asyncio.sleep(secrets.randbelow(1000) / 1000)  # not both at the same moment again
            return False
        in_namespace = await volumes.list_by_labels(self._engine, {NAMESPACE: self.namespace})
        former = [name for name, labels in in_namespace.items() if labels.get(ROLE) in _FORMER_ROLES]
        for name in (*expired, *former):
            await volumes.remove(self._engine, name)
        self.holder = self._labels[WORKER_ID]
        self._renewed_at, self._valid_until = begun, begun + VALID
        return True

    async def permit(self) -> None:
        """Return if this worker is the active one for certain: what ``Engine.permit`` is set to.

        Raises:
            Unavailable: If it is not, or cannot find out.
        """
        if now() >= self._valid_until:
            if not self.held:
                raise _refusal()
            await asyncio.shield(self._renew())

    def _renew(self) -> asyncio.Task[None]:
        """The renewal that goes on, or a new one."""
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._renew_in_time())
            # Whoever waits for it may be cancelled.
            self._renewal.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._renewal

    async def _renew_in_time(self) -> None:
        try:
            async with asyncio.timeout(VALID):
                await self._renew_once()
        except TimeoutError:
            raise Unavailable(
                Code.ENGINE_UNAVAILABLE, "The Docker Engine does not answer in time.", hint="Try again later."
            ) from None

    async def _renew_once(self) -> None:
        begun, valid = now(), VALID
        if begun >= self._valid_until:
            found = await self._found()
            self._check_alone(found)
            if not self._own(found):
                self._lose("")  # another worker may have had it meanwhile, and have ended
        try:
            await self._beat()
        except EngineError as error:
            if not error.disk_full:
                raise
            valid = SETTLE  # and work goes on: to end a bot may be what makes room
        found = await self._found()
        self._check_alone(found)
        self._valid_until = begun + valid
        self._renewed_at = begun if valid == VALID else float("-inf")
        # The last but one stays for those who list volumes while some come and go.
        for name in self._own(found)[:-2]:
            await volumes.remove(self._engine, name)

    async def _keep(self) -> None:
        trouble = False
        while not self.lost:
            await asyncio.sleep(LOOK)
            try:
                async with asyncio.timeout(VALID):
                    found = await self._found()
                self._check_alone(found)
                if now() >= self._renewed_at + RENEW or not self._own(found):
                    await self._renew()
                trouble = False
            except (*ENGINE_TROUBLE, TimeoutError) as error:
                level = logging.DEBUG if trouble or self.lost else logging.WARNING
                logger.log(level, "the lease cannot be renewed: %s", error)
                trouble = True
            except Exception:
                logger.exception("the lease cannot be renewed")

    def _check_alone(self, found: Volumes) -> None:
        if others := self._others(found):
            self._lose(others[min(others)].get(WORKER_ID, ""))

    def _lose(self, winner: str) -> None:
        if not self.lost:
            self.lost, self.holder, self._valid_until = True, winner, float("-inf")
            if self.on_loss is not None:
                self.on_loss()
        raise _refusal()

    async def release(self) -> None:
        """Let another worker become the active one, and leave nothing on the Engine."""
        self._acquired, self._valid_until = False, float("-inf")
        tasks = [each for each in (self._keeping, self._renewal) if each is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(CLOSING):
                await self._remove_own()
        except (*ENGINE_TROUBLE, TimeoutError) as error:
            logger.warning("the lease is not released, and will expire: %s", error)
        await self._engine.close()

    async def _beat(self) -> None:
        self._number += 1
        digest = sha256(self.namespace.encode()).hexdigest()[:16]
        name = f"bot-runner-{digest}-lease-{self._instance}-{self._number:09}"
        await volumes.create(self._engine, name, self._labels)

    async def _found(self) -> Volumes:
        return await volumes.list_by_labels(self._engine, {NAMESPACE: self.namespace, ROLE: LEASE_ROLE})

    def _own(self, found: Volumes) -> list[str]:
        return sorted(name for name, labels in found.items() if labels.get(INSTANCE) == self._instance)

    def _others(self, found: Volumes) -> Volumes:
        return {name: labels for name, labels in found.items() if labels.get(INSTANCE) != self._instance}

    async def _remove_own(self) -> None:
        if self._number:
            for name in self._own(await self._found()):
                await volumes.remove(self._engine, name)


class _Watch:
    """What a standby has seen of other workers' heartbeats."""

    def __init__(self) -> None:
        self.alive = False
        """Whether one of them has shown that it is alive."""
        self.is_free = False
        """Whether nobody holds the lease."""
        self.is_expired = False
        """Whether all who hold it are dead."""
        self._seen: dict[str, tuple[frozenset[str], float]] = {}
        self._looked_at = self._empty_since = float("-inf")

    def look(self, found: Volumes, begun: float) -> None:
        """Take in what there is.

        Args:
            found: The lease's volumes.
            begun: When they were asked for.
        """
        # What was not watched proves nothing: the Engine may have been away, or this process.
        unbroken = begun - self._looked_at < EXPIRED / 2
        self._looked_at = now()
        self._empty_since = float("inf") if found else min(self._empty_since, self._looked_at)
        self.is_free = begun - self._empty_since >= FREE
        ended = {labels.get(INSTANCE, ""): _has_ended(labels) for labels in found.values()}
        self.alive |= False in ended.values()
        before, self._seen = self._seen, {}
        for instance in ended:
            names = frozenset(name for name, labels in found.items() if labels.get(INSTANCE, "") == instance)
            known, since = before.get(instance, (names, self._looked_at))
            self.alive |= not names <= known
            self._seen[instance] = (known, since) if names <= known and unbroken else (names, self._looked_at)
        self.is_expired = bool(found) and all(
            ended[instance] or begun - since >= EXPIRED for instance, (_, since) in self._seen.items()
        )


def now() -> float:
    """Seconds of a clock that nobody sets, and that goes on while the machine is suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _refusal() -> Unavailable:
    return Unavailable(
        Code.WORKER_STOPPING, "Another worker is active.", hint="Send the request again in a minute."
    )


def _process(pid: int) -> str:
    """Names a process: boot, PID namespace, user, id, start time. Empty if it has ended, or outside Linux."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        pids = Path("/proc/self/ns/pid").stat().st_ino
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if state not in "ZX":
            return f"{boot}/{pids}/{os.getuid()}/{pid}/{fields[18]}"
    return ""


def _has_ended(labels: Mapping[str, str]) -> bool | None:
    """Whether the process with these labels has ended; ``None`` if it cannot be seen from here.

    So a worker that is started again on the same machine need not wait for its former self to expire.
    """
    process, own = labels.get(PROCESS, "").split("/"), _process(os.getpid()).split("/")
    if len(process) != len(own) or process[:3] != own[:3]:
        return None
    return _process(int(process[3])) != "/".join(process)
