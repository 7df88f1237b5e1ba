"""The policy for outbound connections: servers that a tenant's request may reach.

It holds for connections of this worker and of the Engine. A host name proves nothing: all its addresses
count, at the moment of connecting. So a caller checks the URL, resolves its host and connects to one of the
addresses that it got, and does so again after each redirect::

    url = tools.outbound.check_url(params.archive_url, code="INVALID_ARCHIVE_URL", field="archive_url")
    addresses = await tools.outbound.resolve(url.host, url.port)
    # connect to one of addresses, with url.host as the Host header and as the name in the certificate

The operator's settings are ``SOURCE_SCHEMES``, ``SOURCE_HOSTS_ALLOWED``, ``SOURCE_HOSTS_DENIED``,
``SOURCE_ADDRESSES_ALLOWED``, ``REGISTRIES_ALLOWED`` and ``REGISTRIES_DENIED``.
"""

from bot_runner_worker.outbound.policy import OutboundPolicy
from bot_runner_worker.outbound.url import SourceUrl, parse_url

__all__ = ["OutboundPolicy", "SourceUrl", "parse_url"]
