"""The firewall's rules as text for ``iptables-restore``; no I/O.

``iptables-restore`` applies a transaction as a whole or not at all: while the rules are replaced, there is no
moment without them.

The rules are in the table ``mangle``, which comes before ``filter`` and which nobody else manages. In
``filter``, the Engine puts its own rules first whenever a network is created or removed, and for some tens of
milliseconds nothing leads to ``DOCKER-USER`` (seen on 20.10): a connection that a bot opens in that moment
stays open.
"""

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

_ANSWERS = "-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN"


@dataclass(frozen=True, slots=True)
class Family:
    """A version of the Internet Protocol, with its commands and closed ranges.

    Args:
        version: 4 or 6.
        command: The program that lists rules.
        restore: The program that applies a transaction.
        closed: Ranges that are closed to bots.
        needed: Matches that the protocol needs between a bot and its gateway.
    """

    version: int
    command: str
    restore: str
    closed: tuple[IPv4Network | IPv6Network, ...]
    needed: tuple[str, ...] = ()


IPV4 = Family(4, "iptables", "iptables-restore", CLOSED_V4)
IPV6 = Family(
    6,
    "ip6tables",
    "ip6tables-restore",
    CLOSED_V6,
    # Neighbour discovery is to IPv6 what ARP is to IPv4, which never passes a firewall.
    ("-p ipv6-icmp --icmpv6-type 135", "-p ipv6-icmp --icmpv6-type 136"),
)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules for the bridges of one prefix.

    Args:
        prefix: Beginning of the names of the bots' bridges.
        allow_rules: Exceptions.
    """

    prefix: str
    allow_rules: tuple[AllowRule, ...] = ()

    @property
    def input_chain(self) -> str:
        """The chain for packets to the host itself."""
        return f"BOT-RUNNER-{self.prefix}INPUT"

    @property
    def forward_chain(self) -> str:
        """The chain for packets that the host forwards."""
        return f"BOT-RUNNER-{self.prefix}FORWARD"

    def apply(self, family: Family, state: str) -> str:
        """The transaction that installs the rules, or replaces those that are installed.

        Args:
            family: Version of the protocol.
            state: The installed rules, as the family's command prints them with ``-S``.
        """
        return _transaction(
            *(f":{chain} - [0:0]" for chain in self._hooks.values()),  # makes the chain, or empties it
            *self._unhook(state),
            *self._to_host(family),
            *self._beyond(family),
            *(f"-I {hook} 1 -i {self.prefix}+ -j {chain}" for hook, chain in self._hooks.items()),
        )

    def remove(self, state: str) -> str:
        """The transaction that removes the rules and their chains; empty if there are none."""
        chains = [chain for chain in self._hooks.values() if f"-N {chain}" in state.splitlines()]
        if not chains:
            return ""
        emptied = (f"-F {chain}" for chain in chains)
        return _transaction(*self._unhook(state), *emptied, *(f"-X {chain}" for chain in chains))

    def in_place(self, state: str) -> bool:
        """Whether packets from the bots' bridges reach our chains before any other rule."""
        rules = state.splitlines()
        for hook, chain in self._hooks.items():
            first = next((rule for rule in rules if rule.startswith(f"-A {hook} ")), "")
            if first != f"-A {hook} -i {self.prefix}+ -j {chain}":
                return False
        return True

    @property
    def _hooks(self) -> dict[str, str]:
        return {"INPUT": self.input_chain, "FORWARD": self.forward_chain}

    def _unhook(self, state: str) -> Iterator[str]:
        ends = tuple(f"-j {chain}" for chain in self._hooks.values())
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
        yield f"-A {self.forward_chain} {_ANSWERS}"
        yield from self._open(family, self.forward_chain)
        for network in family.closed:
            yield f"-A {self.forward_chain} -d {network} -j DROP"

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


def _transaction(*lines: str) -> str:
    return "\n".join((f"*{TABLE}", *lines, "COMMIT", ""))
