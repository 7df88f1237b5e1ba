"""Downloads: only checked addresses are dialled, and nothing that a server does takes more than it may."""

import io
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from tests.corpus.servers import GIT_PASSWORD, GIT_USER, Servers

from bot_runner_custom_archive.download import download
from bot_runner_worker.model.errors import BotRunnerError, Rejected, Unavailable
from bot_runner_worker.plugins.tools import Tools
from bot_runner_worker.settings import Settings

LIMIT = 1024 * 1024
pytestmark = pytest.mark.usefixtures("host_names")


def tools_of(servers: Servers, said: list[tuple[str, float | None]], **changes: Any) -> Tools:
    settings: dict[str, Any] = {
        "worker_token": SecretStr("x"),
        "source_addresses_allowed": "127.0.0.1/32",
        "ca_bundle": servers.authority.certificate,
        "max_source_size": LIMIT,
        "source_timeout_seconds": 30,
        **changes,
    }

    async def report(message: str, fraction: float | None) -> None:
        said.append((message, fraction))

    images: Any = None
    return Tools(Settings.load(**settings), images, "alice", report)


async def downloaded(servers: Servers, url: str, **changes: Any) -> bytes:
    target = io.BytesIO()
    await download(url, target, tools_of(servers, [], **changes))
    return target.getvalue()


async def failure(servers: Servers, url: str, **changes: Any) -> BotRunnerError:
    before = len(servers.marked())
    with pytest.raises(BotRunnerError) as caught:
        await downloaded(servers, url, **changes)
    assert servers.marked()[before:] == []
    return caught.value


async def test_the_bytes_as_they_are_with_progress(servers: Servers) -> None:
    content = bytes(range(256)) * 4000
    said: list[tuple[str, float | None]] = []
    target = io.BytesIO()
    await download(servers.file("a.bin", content), target, tools_of(servers, said))
    assert target.getvalue() == content
    assert said[-1] == ("downloaded 1.0 of 1.0 MB", 1.0)


async def test_a_certificate_is_checked_for_the_name_and_not_the_address(servers: Servers) -> None:
    servers.file("a", b"content")
    assert await downloaded(servers, servers.https.url("/files/a", host="files.example")) == b"content"
    error = await failure(servers, servers.https.url("/files/a", host="rebind.example"))
    assert (type(error), error.code) == (Rejected, "DOWNLOAD_FAILED")


@pytest.mark.parametrize("changes", [{"ca_bundle": None}, {}])
async def test_an_unknown_certificate_is_refused(servers: Servers, changes: dict[str, Any]) -> None:
    server = servers.https if changes else servers.untrusted
    error = await failure(servers, server.url("/files/a"), **changes)
    assert (type(error), error.code) == (Rejected, "DOWNLOAD_FAILED")
    assert "certificate" in error.message


async def test_the_address_that_was_checked_is_the_one_that_is_dialled(servers: Servers) -> None:
    servers.file("a", b"content")
    # The second lookup would lead to the marker.
    assert await downloaded(servers, servers.http.url("/files/a", host="rebind.example")) == b"content"
    assert not [each for each in servers.marked() if "/files/a" in each]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_each_hop_of_a_redirect_is_checked(servers: Servers, status: int) -> None:
    error = await failure(servers, servers.redirect(servers.forbidden, status))
    assert error.code == "ADDRESS_DENIED"


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/x", "//[::1"]
)
async def test_a_redirect_to_something_else_than_http_is_refused(servers: Servers, target: str) -> None:
    error = await failure(servers, servers.redirect(target))
    assert isinstance(error, Rejected)
    assert error.code in ("INVALID_ARCHIVE_URL", "SCHEME_DENIED", "DOWNLOAD_FAILED")


async def test_a_scheme_that_is_closed_stays_closed_after_a_redirect(servers: Servers) -> None:
    url = servers.https.url(f"/redirect/302?to={servers.file('a', b'x')}")
    error = await failure(servers, url, source_schemes="https")
    assert error.code == "SCHEME_DENIED"


async def test_redirects_end(servers: Servers) -> None:
    error = await failure(servers, servers.http.url("/loop"))
    assert (type(error), error.code) == (Rejected, "DOWNLOAD_FAILED")


async def test_credentials_are_dropped_on_the_way_to_another_origin(servers: Servers) -> None:
    servers.https.headers.clear()
    target = servers.file("a", b"content", secure=True)
    url = servers.redirect(target).replace("//", "//someone:sentinel@", 1)
    assert await downloaded(servers, url) == b"content"
    assert "Authorization" in servers.http.headers[-1]
    assert "Authorization" not in servers.https.headers[-1]


async def test_a_password_in_the_address_is_sent(servers: Servers) -> None:
    servers.file("secret", b"content")
    url = servers.http.url("/private/secret")
    assert await downloaded(servers, url.replace("//", f"//{GIT_USER}:{GIT_PASSWORD}@")) == b"content"
    assert (await failure(servers, url)).code == "DOWNLOAD_FAILED"


async def test_a_server_need_not_say_the_length(servers: Servers) -> None:
    servers.file("a", b"content")
    assert await downloaded(servers, servers.http.url("/no-length/a")) == b"content"


@pytest.mark.parametrize("path", ["/endless", "/huge-length"])
async def test_a_body_without_end_is_cut(servers: Servers, path: str) -> None:
    error = await failure(servers, servers.http.url(path))
    assert error.code == "ARCHIVE_TOO_LARGE"


async def test_a_length_that_is_too_large_is_believed_at_once(servers: Servers) -> None:
    target = io.BytesIO()
    with pytest.raises(Rejected):
        await download(servers.http.url("/huge-length"), target, tools_of(servers, []))
    assert target.getvalue() == b""


async def test_a_compressed_body_is_counted_and_kept_as_it_comes(servers: Servers) -> None:
    servers.file("a", b"not gzip at all")
    assert await downloaded(servers, servers.http.url("/encoded/a")) == b"not gzip at all"
    assert servers.http.headers[-1]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("path", ["/drip", "/silent"])
async def test_a_slow_server_is_given_up(servers: Servers, path: str) -> None:
    error = await failure(servers, servers.http.url(path), source_timeout_seconds=1)
    assert error.code == "DOWNLOAD_TIMED_OUT"


@pytest.mark.parametrize("path", ["/garbage", "/endless-headers", "/cut/a"])
async def test_what_is_no_http_is_refused(servers: Servers, path: str) -> None:
    servers.file("a", b"content")
    error = await failure(servers, servers.http.url(path))
    assert error.code == "DOWNLOAD_FAILED"


@pytest.mark.parametrize(
    ("status", "kind"), [(404, Rejected), (403, Rejected), (429, Unavailable), (503, Unavailable)]
)
async def test_what_may_pass_is_tried_again_and_what_will_not_is_not(
    servers: Servers, status: int, kind: type[BotRunnerError]
) -> None:
    error = await failure(servers, servers.http.url(f"/status/{status}"))
    assert (type(error), error.code) == (kind, "DOWNLOAD_FAILED")


async def test_a_server_that_is_down(servers: Servers) -> None:
    assert isinstance(await failure(servers, "http://127.0.0.1:1/x"), Unavailable)


async def test_the_machines_proxy_is_not_used(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, servers.forbidden)
    before = len(servers.marked())
    assert await downloaded(servers, servers.file("a", b"content")) == b"content"
    assert servers.marked()[before:] == []


def test_every_error_of_httpx_is_one_that_is_mapped() -> None:
    # download() catches HTTPError, InvalidURL and what is derived from them; nothing else may come.
    own = {
        error for error in vars(httpx).values() if isinstance(error, type) and issubclass(error, Exception)
    }
    unmapped = {error for error in own if not issubclass(error, httpx.HTTPError | httpx.InvalidURL)}
    assert unmapped <= {
        httpx.CookieConflict,
        httpx.StreamError,
        httpx.StreamConsumed,
        httpx.StreamClosed,
        httpx.ResponseNotRead,
        httpx.RequestNotRead,
    }
