"""Downloads an archive from an address that a tenant gave: every address that is dialled is checked first."""

import asyncio
import ssl
from typing import IO

import httpx

from bot_runner_custom_archive.errors import (
    ARCHIVE_TOO_LARGE,
    DOWNLOAD_FAILED,
    DOWNLOAD_TIMED_OUT,
    INVALID_ARCHIVE_URL,
)
from bot_runner_worker.plugin import OutboundPolicy, Rejected, Settings, Tools, Unavailable, format_size

_FIELD = "archive_url"
_MAX_REDIRECTS = 5
_SILENCE_SECONDS = 30.0
_CONNECT_SECONDS = 15.0
_REPORT_BYTES = 2 * 1024 * 1024


class CheckedTransport(httpx.AsyncBaseTransport):
    """Dials only addresses that the policy lets through; httpx passes each hop of a redirect through here.

    The name is looked up once, here, and its address is dialled; the name stays in the ``Host`` header and in
    the certificate's check. A second lookup could give another address.

    Args:
        policy: The operator's rules.
        inner: Makes the connections.
    """

    def __init__(self, policy: OutboundPolicy, inner: httpx.AsyncBaseTransport) -> None:
        self._policy = policy
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request, to the first of its host's addresses that answers."""
        url = self._policy.check_url(str(request.url), code=INVALID_ARCHIVE_URL, field=_FIELD)
        addresses = await self._policy.resolve(url.host, url.port)
        extensions = {**request.extensions, "sni_hostname": url.host}
        for address in addresses:
            dialled = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,
                extensions=extensions,
            )
            try:
                return await self._inner.handle_async_request(dialled)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if address == addresses[-1]:
                    raise
        raise AssertionError("a host that is found has an address")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


async def download(url: str, target: IO[bytes], tools: Tools) -> None:
    """Download a file.

    Args:
        url: Where from; its user and password, if any, are sent to that origin only.
        target: Where to.
        tools: Limits, rules and progress.

    Raises:
        Rejected: ``INVALID_ARCHIVE_URL``, ``ARCHIVE_TOO_LARGE``, ``DOWNLOAD_FAILED``,
            ``DOWNLOAD_TIMED_OUT``, or a code of the outbound policy.
        Unavailable: ``DOWNLOAD_FAILED`` if the network or the server fails.
    """
    settings = tools.settings
    # What is checked must be what is dialled: httpx gets our reading of the address, not the tenant's text.
    source = tools.outbound.check_url(url, code=INVALID_ARCHIVE_URL, field=_FIELD)
    auth = (source.username, source.password) if source.username or source.password else None
    try:
        async with (
            asyncio.timeout(settings.source_timeout_seconds),
            _client(tools.outbound, settings) as client,
            client.stream("GET", source.without_credentials, auth=auth) as response,
        ):
            await _receive(response, target, settings.max_source_size, tools)
    except TimeoutError as error:
        raise _timed_out(f"took longer than {settings.source_timeout_seconds} seconds") from error
    except httpx.TimeoutException as error:
        raise _timed_out("stood still for too long") from error
    except httpx.TooManyRedirects as error:
        raise _failed(f"is redirected more than {_MAX_REDIRECTS} times") from error
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise Rejected(
            INVALID_ARCHIVE_URL,
            f"{_FIELD} is, or leads to, no address that can be downloaded from.",
            hint="Give the final address, such as https://example.com/bot.tar.gz.",
        ) from error
    except (httpx.RemoteProtocolError, httpx.DecodingError) as error:
        raise _failed("broke off, or is no valid HTTP") from error
    except httpx.HTTPError as error:
        raise _of_network(error) from error


def _client(policy: OutboundPolicy, settings: Settings) -> httpx.AsyncClient:
    context = ssl.create_default_context()
    if settings.ca_bundle is not None:
        context.load_verify_locations(settings.ca_bundle)
    inner = httpx.AsyncHTTPTransport(verify=context, trust_env=False, http2=False)
    return httpx.AsyncClient(
        transport=CheckedTransport(policy, inner),
        # Neither the machine's proxy nor its .netrc is the tenant's to use.
        trust_env=False,
        follow_redirects=True,
        max_redirects=_MAX_REDIRECTS,
        # A compressed body could be of any size; what is compressed by itself is an archive.
        headers={"Accept-Encoding": "identity", "User-Agent": "bot-runner"},
        timeout=httpx.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS),
    )


async def _receive(response: httpx.Response, target: IO[bytes], limit: int, tools: Tools) -> None:
    _check_status(response.status_code)
    length = response.headers.get("Content-Length", "")
    expected = int(length) if length.isascii() and length.isdigit() and len(length) < 20 else None
    received = reported = 0
    if expected is not None and expected > limit:
        raise _too_large(limit)
    async for chunk in response.aiter_raw():
        received += len(chunk)
        if received > limit:
            raise _too_large(limit)
        target.write(chunk)
        if received - reported >= _REPORT_BYTES:
            reported = received
            await tools.progress(*_progress(received, expected))
    await tools.progress(*_progress(received, expected))


def _progress(received: int, expected: int | None) -> tuple[str, float | None]:
    amount = f"{received / 1e6:.1f}"
    if not expected:
        return f"downloaded {amount} MB", None
    return f"downloaded {amount} of {expected / 1e6:.1f} MB", received / expected


def _check_status(status: int) -> None:
    if status == 200:
        return
    if status == 429 or status >= 500:
        raise Unavailable(
            DOWNLOAD_FAILED,
            f"The server of the archive answers with status {status}.",
            hint="Try again later.",
            details={"status": status},
        )
    hint = "Check archive_url."
    if status in (401, 403):
        hint = "The server wants credentials: put them into archive_url as user:password@."
    raise Rejected(
        DOWNLOAD_FAILED,
        f"The server of the archive answers with status {status}.",
        hint=hint,
        details={"status": status},
    )


def _too_large(limit: int) -> Rejected:
    return Rejected(
        ARCHIVE_TOO_LARGE,
        f"The archive is larger than {format_size(limit)}.",
        hint="Leave out what the bot does not need, or ask the operator to raise MAX_SOURCE_SIZE.",
        details={"limit_bytes": limit},
    )


def _timed_out(what: str) -> Rejected:
    return Rejected(
        DOWNLOAD_TIMED_OUT, f"The download {what}.", hint="Use a faster server, or a smaller archive."
    )


def _failed(what: str) -> Rejected:
    return Rejected(DOWNLOAD_FAILED, f"The download {what}.", hint="Check archive_url and its server.")


def _of_network(error: httpx.HTTPError) -> Rejected | Unavailable:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Rejected(
                DOWNLOAD_FAILED,
                "The certificate of the archive's server is not trusted here.",
                hint="Use a server with a public certificate, or ask the operator to add its CA (CA_BUNDLE).",
                details={"reason": cause.verify_message},
            )
        cause = cause.__cause__ or cause.__context__
    return Unavailable(
        DOWNLOAD_FAILED,
        "The server of the archive cannot be reached.",
        hint="Try again later.",
        details={"reason": type(error).__name__},
    )
