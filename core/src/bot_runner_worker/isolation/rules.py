"""The firewall's rules as text for ``iptables-restore``; no I/O.

``iptables-restore`` applies a transaction as a whole or not at all: while the rules are replaced, there is no
moment without them.

The rules are in the table ``mangle``, which comes before ``filter`` and which nobody else manages. In
``filter``, the Engine puts its own rules first whenever a network is created or removed, and for some tens of
milliseconds nothing leads to ``DOCKER-USER`` (seen on 20.10): a connection that a bot opens in that moment
stays open.

A bot is told apart by its address: what the host forwards is not yet translated in ``mangle``, and a bot has
no capability to take another address.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from bot_runner_worker.model.addresses import AllowRule

CLOSED_V4 = tuple(
    IPv4Network(network)
    for network in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",  # private, RFC 1918; neighbours are in here too
        "100.64.0.0/10",  # shared, RFC 6598; Alibaba Cloud's metadata
        "169.254.0.0/16",  # link-local, RFC 3927; metadata of most clouds
        "168.63.129.16/32",  # Azure's host agent: a public address that the host itself answers
        "192.0.0.0/24",  # protocol assignments, RFC 6890; Oracle Cloud's metadata
        "198.18.0.0/15",  # benchmarks, RFC 2544; used as inner addresses
        "224.0.0.0/4", "240.0.0.0/4",  # multicast, reserved; the latter used as inner addresses by clouds
    )
)  # fmt: skip
"""IPv4 ranges that are closed to bots. Ranges that lead nowhere (documentation) are left out."""

CLOSED_V6 = tuple(
    IPv6Network(network)
    # All but global unicast (2000::/3), and 6to4, behind which any IPv4 address can hide.
    for network in ("::/3", "4000::/2", "8000::/1", "2002::/16")
)

CLOSED: tuple[IPv4Network | IPv6Network, ...] = (*CLOSED_V4, *CLOSED_V6)
"""All ranges that are closed to bots."""

TABLE = "mangle"
"""The table of the rules."""

_LIMIT = re.compile(r" -m (hashlimit|connlimit) ")
_ANSWERS = "-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN"


@dataclass(frozen=True, slots=True)
class Family:
    """A version of the Internet Protocol, with its commands and closed ranges.

    Args:
        version: 4 or 6.
        command: The program that lists rules.
        restore: The program that applies a transaction.
        closed: Ranges that are closed to bots.
        bits: Length of an address.
        needed: Matches that the protocol needs between a bot and its gateway.
    """

    version: int
    command: str
    restore: str
    closed: tuple[IPv4Network | IPv6Network, ...]
    bits: int
    needed: tuple[str, ...] = ()


IPV4 = Family(4, "iptables", "iptables-restore", CLOSED_V4, 32)
IPV6 = Family(
    6,
    "ip6tables",
    "ip6tables-restore",
    CLOSED_V6,
    128,
    # Neighbour discovery is to IPv6 what ARP is to IPv4, which never passes a firewall.
    ("-p ipv6-icmp --icmpv6-type 135", "-p ipv6-icmp --icmpv6-type 136"),
)


_BURST_SECONDS = 10
"""A bot that was quiet may open as many connections at once as it may in that time."""

_BURST_FACTOR = 4
"""A bot that was quiet may send or receive this many seconds' bytes at once."""


@dataclass(frozen=True, slots=True)
class Egress:
    """What one bot may do beyond the host, so that its deeds are not held against the host's address.

    A limit of 0 is none.

    Args:
        closed_ports: TCP ports of the internet that are closed.
        connections: Connections that are open at the same time, those of UDP included.
        connection_rate: New connections in a second.
        bandwidth: Bytes in a second, in each direction.
    """

    closed_ports: tuple[int, ...] = ()
    connections: int = 0
    connection_rate: int = 0
    bandwidth: int = 0

    @property
    def without_limits(self) -> "Egress":
        """The closed ports alone, which take nothing that a kernel may lack."""
        return Egress(self.closed_ports)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules for the bridges of one prefix.

    Args:
        prefix: Beginning of the names of the bots' bridges.
        allow_rules: Exceptions.
        egress: Limits of what is open.
    """

    prefix: str
    allow_rules: tuple[AllowRule, ...] = ()
    egress: Egress = Egress()

    @property
    def input_chain(self) -> str:
        """The chain for packets to the host itself."""
        return f"BOT-RUNNER-{self.prefix}INPUT"

    @property
    def forward_chain(self) -> str:
        """The chain for packets that the host forwards."""
        return f"BOT-RUNNER-{self.prefix}FORWARD"

    @property
    def answer_chain(self) -> str:
        """The chain for packets that the host forwards to bots."""
        return f"BOT-RUNNER-{self.prefix}ANSWERS"

    def apply(self, family: Family, state: str) -> str:
        """The transaction that installs the rules, or replaces those that are installed.

        Args:
            family: Version of the protocol.
            state: The installed rules, as the family's command prints them with ``-S``.
        """
        return _transaction(
            *(f":{hook.chain} - [0:0]" for hook in self._hooks),  # makes the chain, or empties it
            *self._unhook(state),
            *self._to_host(family),
            *self._beyond(family),
            *self._back(family),
            *(f"-I {hook.builtin} 1 {hook.rule}" for hook in reversed(self._hooks)),
        )

    def remove(self, state: str) -> str:
        """The transaction that removes the rules and their chains; empty if there are none."""
        chains = [hook.chain for hook in self._hooks if f"-N {hook.chain}" in state.splitlines()]
        if not chains:
            return ""
        emptied = (f"-F {chain}" for chain in chains)
        return _transaction(*self._unhook(state), *emptied, *(f"-X {chain}" for chain in chains))

    def in_place(self, state: str) -> bool:
        """Whether packets from the bots' bridges reach our chains before any other rule, and end there."""
        rules = state.splitlines()
        closing = f"-A {self.forward_chain} -d "
        closed = [rule for rule in rules if rule.startswith(closing) and rule.endswith(" -j DROP")]
        if f"-A {self.input_chain} -j DROP" not in rules or not closed:
            return False
        for hook in (self._to_host_hook, self._beyond_hook):
            first = next((rule for rule in rules if rule.startswith(f"-A {hook.builtin} ")), "")
            if first != f"-A {hook.builtin} {hook.rule}":
                return False
        return True

    def limits_in_place(self, state: str) -> bool:
        """Whether the limits of :class:`Egress` are among the installed rules."""
        egress = self.egress
        wanted = (egress.connections, egress.connection_rate, egress.bandwidth, egress.bandwidth)
        chains = (f"-A {self.forward_chain} ", f"-A {self.answer_chain} ")
        found = [rule for rule in state.splitlines() if rule.startswith(chains) and _LIMIT.search(rule)]
        return len(found) == sum(map(bool, wanted))

    @property
    def _to_host_hook(self) -> "_Hook":
        return _Hook("INPUT", f"-i {self.prefix}+", self.input_chain)

    @property
    def _beyond_hook(self) -> "_Hook":
        return _Hook("FORWARD", f"-i {self.prefix}+", self.forward_chain)

    @property
    def _hooks(self) -> tuple["_Hook", ...]:
        back = _Hook("FORWARD", f"-o {self.prefix}+", self.answer_chain)
        return (self._to_host_hook, self._beyond_hook, back)

    def _unhook(self, state: str) -> Iterator[str]:
        ends = tuple(f"-j {hook.chain}" for hook in self._hooks)
        for rule in state.splitlines():
            if rule.startswith("-A ") and rule.endswith(ends):
                yield "-D" + rule.removeprefix("-A")

    def _to_host(self, family: Family) -> Iterator[str]:
        # Everything but what is open, not only ctstate NEW: a packet may have no connection at all.
        yield f"-A {self.input_chain} {_ANSWERS}"
        for match in family.needed:
            yield f"-A {self.input_chain} {match} -j RETURN"
        yield from self._open(family, self.input_chain)
        yield f"-A {self.input_chain} -j DROP"

    def _beyond(self, family: Family) -> Iterator[str]:
        chain, egress = self.forward_chain, self.egress
        yield from self._bandwidth(family, chain, "src")
        yield f"-A {chain} {_ANSWERS}"
        yield from self._connections(family)
        yield from self._open(family, chain)
        for port in egress.closed_ports:
            yield f"-A {chain} -p tcp --dport {port} -j DROP"
        for network in family.closed:
            yield f"-A {chain} -d {network} -j DROP"

    def _back(self, family: Family) -> Iterator[str]:
        yield from self._bandwidth(family, self.answer_chain, "dst")

    def _bandwidth(self, family: Family, chain: str, side: str) -> Iterator[str]:
        # Bytes as the kernel counts them, retransmitted ones included; TCP slows down when some are dropped.
        if limit := self.egress.bandwidth:
            name = self._table(family, "up" if side == "src" else "down")
            match = f"--hashlimit-above {limit}b/s --hashlimit-burst {_BURST_FACTOR * limit}b"
            yield f"-A {chain} -m hashlimit {match} --hashlimit-mode {side}ip {name} -j DROP"

    def _connections(self, family: Family) -> Iterator[str]:
        egress, new = self.egress, f"-A {self.forward_chain} -m conntrack --ctstate NEW"
        if rate := egress.connection_rate:
            match = f"--hashlimit-above {rate}/sec --hashlimit-burst {_BURST_SECONDS * rate}"
            name = self._table(family, "new")
            yield f"{new} -m hashlimit {match} --hashlimit-mode srcip {name} -j DROP"
        if most := egress.connections:
            match = f"--connlimit-above {most} --connlimit-mask {family.bits} --connlimit-saddr"
            yield f"{new} -m connlimit {match} -j DROP"

    def _table(self, family: Family, name: str) -> str:
        # The kernel's tables have names of their own, of at most 15 characters before 4.20.
        return f"--hashlimit-name {self.prefix}{name}{family.version}"

    def _open(self, family: Family, chain: str) -> Iterator[str]:
        # RETURN, not ACCEPT: what the operator's other rules close stays closed.
        for rule in self.allow_rules:
            if rule.network.version != family.version:
                continue
            if rule.port is None:
                yield f"-A {chain} -d {rule.network} -j RETURN"
            else:
                for protocol in ("tcp", "udp"):
                    match = f"-d {rule.network} -p {protocol} --dport {rule.port}"
                    yield f"-A {chain} {match} -j RETURN"


@dataclass(frozen=True, slots=True)
class _Hook:
    """A rule that leads from one of the kernel's chains to one of ours."""

    builtin: str
    match: str
    chain: str

    @property
    def rule(self) -> str:
        return f"{self.match} -j {self.chain}"


def _transaction(*lines: str) -> str:
    return "\n".join((f"*{TABLE}", *lines, "COMMIT", ""))
