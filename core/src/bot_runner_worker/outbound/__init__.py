"""Which servers may be dialled for a tenant, by this worker or by the Engine on its behalf.

A host name proves nothing: its addresses count, all of them, at the moment of dialling. So a caller checks
the URL, resolves its host and dials one of the addresses that it got back, after each redirect anew::

    url = tools.outbound.check_url(params.archive_url, code="INVALID_ARCHIVE_URL", field="archive_url")
    addresses = await tools.outbound.resolve(url.host, url.port)
    # connect to one of addresses, with url.host as the Host header and as the name in the certificate

What is open is the operator's to say: ``SOURCE_SCHEMES``, ``SOURCE_HOSTS_ALLOWED``, ``SOURCE_HOSTS_DENIED``,
``SOURCE_ADDRESSES_ALLOWED``, ``REGISTRIES_ALLOWED`` and ``REGISTRIES_DENIED``.
"""

from bot_runner_worker.outbound.policy import OutboundPolicy
from bot_runner_worker.outbound.url import SourceUrl, parse_url

__all__ = ["OutboundPolicy", "SourceUrl", "parse_url"]
