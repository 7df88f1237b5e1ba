"""The operator's rules for connections on behalf of tenants."""

import asyncio
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import urlsplit

from bot_runner_worker.model.addresses import HostList
from bot_runner_worker.model.errors import Code, Rejected, Unavailable
from bot_runner_worker.outbound.addresses import Address, is_own, is_public, parse_address, unwrapped
from bot_runner_worker.outbound.url import SourceUrl, parse_url
from bot_runner_worker.settings import Settings

LOOKUP_SECONDS = 10.0

_LOOKUPS = ThreadPoolExecutor(128, thread_name_prefix="lookup")
"""A lookup that is given up keeps its thread until the resolver's own time is over, half a minute or more: it
must not be one of asyncio's few, or a tenant's silent name server stops the lookups of all."""


class OutboundPolicy:
    """Decides which servers may be reached.

    Args:
        settings: ``source_*`` and ``registries_*``.
    """

    def __init__(self, settings: Settings) -> None:
        self._schemes = settings.source_schemes
        self._allowed = HostList(settings.source_hosts_allowed)
        self._denied = HostList(settings.source_hosts_denied)
        self._networks = settings.source_addresses_allowed
        self._registries_allowed = HostList(settings.registries_allowed)
        self._registries_denied = HostList(settings.registries_denied)

    def check_url(self, url: str, *, code: str, field: str) -> SourceUrl:
        """Parse a URL, and check its scheme and host; nothing is connected.

        Args:
            url: The URL of a request, or the target of a redirect.
            code: Code for a URL that cannot be read, such as ``INVALID_GIT_URL``.
            field: The request's field, for errors.

        Raises:
            Rejected: ``code``, ``SCHEME_DENIED`` or ``HOST_DENIED``.
        """
        parsed = parse_url(url, code=code, field=field)
        if parsed.scheme not in self._schemes:
            raise Rejected(
                Code.SCHEME_DENIED,
                f"{field} uses {parsed.scheme}://, which is not allowed here.",
                hint=f"Use one of: {', '.join(f'{scheme}://' for scheme in sorted(self._schemes))}.",
                details={"field": field, "schemes": sorted(self._schemes)},
            )
        self.check_host(parsed.host)
        return parsed

    def check_host(self, host: str) -> None:
        """Check a host's name by ``SOURCE_HOSTS_ALLOWED`` and ``SOURCE_HOSTS_DENIED``.

        Raises:
            Rejected: ``HOST_DENIED``.
        """
        if self._denied.covers(host) or (self._allowed and not self._allowed.covers(host)):
            raise _host_denied(host)

    async def resolve(self, host: str, port: int) -> list[str]:
        """Look a host up, and check each of its addresses.

        Args:
            host: A name, or an address in any notation.
            port: Port of the connection.

        Returns:
            The addresses, the resolver's first choice first. Connect to these and no others: the next lookup
            may give different ones.

        Raises:
            Rejected: ``HOST_NOT_FOUND``, ``HOST_DENIED``, or ``ADDRESS_DENIED`` if any of them is not public
                and not opened by ``SOURCE_ADDRESSES_ALLOWED``.
            Unavailable: ``HOST_LOOKUP_FAILED`` if the name server does not answer.
        """
        addresses = await _look_up(host, port)
        for address in addresses:
            if self._denied.covers(str(unwrapped(address))):
                raise _host_denied(host)
            if not self._is_open(address):
                # Without the addresses, which would tell a tenant about the operator's own network.
                raise Rejected(
                    Code.ADDRESS_DENIED,
                    f"The host {host} has an address that is not on the public Internet.",
                    hint="Use a public server; the operator can open an inner one: SOURCE_ADDRESSES_ALLOWED.",
                    details={"host": host},
                )
        return [str(address) for address in addresses]

    def _is_open(self, address: Address) -> bool:
        plain = unwrapped(address)
        if any(plain.version == network.version and plain in network for network in self._networks):
            return True
        return is_public(address) and not is_own(address)

    async def check_registry(self, registry: str) -> None:
        """Check a registry, to which the Engine itself connects.

        A registry that ``REGISTRIES_ALLOWED`` lists by its exact name may have any address; one that matches
        a pattern must have public ones.

        Args:
            registry: Host, with a port if the reference has one: ``docker.io``, ``registry.local:5000``.

        Raises:
            Rejected: ``REGISTRY_DENIED``, ``HOST_NOT_FOUND`` or ``ADDRESS_DENIED``.
            Unavailable: ``HOST_LOOKUP_FAILED``.
        """
        if self._registries_denied.covers(registry) or not self._registries_allowed.covers(registry):
            raise Rejected(
                Code.REGISTRY_DENIED,
                f"Images from the registry {registry} are not allowed here.",
                hint="Use another registry, or ask the operator to add this one to REGISTRIES_ALLOWED.",
                details={"registry": registry},
            )
        if not self._registries_allowed.names(registry):
            server = urlsplit(f"//{registry}")
            await self.resolve(server.hostname or registry, server.port or 443)


def _host_denied(host: str) -> Rejected:
    return Rejected(
        Code.HOST_DENIED,
        f"The host {host} is not allowed here.",
        hint="Use another server, or ask the operator about SOURCE_HOSTS_ALLOWED and SOURCE_HOSTS_DENIED.",
        details={"host": host},
    )


async def _look_up(host: str, port: int) -> list[Address]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(LOOKUP_SECONDS):
            ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
            found = await loop.run_in_executor(_LOOKUPS, ask)
    except (TimeoutError, socket.gaierror, UnicodeError, OverflowError) as error:
        if isinstance(error, TimeoutError) or getattr(error, "errno", None) == socket.EAI_AGAIN:
            raise Unavailable(
                Code.HOST_LOOKUP_FAILED,
                f"The name {host} could not be looked up: the name server does not answer.",
                hint="Try again later.",
                details={"host": host},
            ) from error
        raise _not_found(host) from error
    addresses = list(_once(parse_address(str(entry[4][0])) for entry in found))
    if not addresses:
        raise _not_found(host)
    return addresses


def _once(addresses: Iterable[Address]) -> Iterable[Address]:
    return dict.fromkeys(addresses)


def _not_found(host: str) -> Rejected:
    return Rejected(
        Code.HOST_NOT_FOUND,
        f"There is no host {host}.",
        hint="Check the address.",
        details={"host": host},
    )
