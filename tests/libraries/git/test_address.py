"""Addresses of repositories: read one way, with the credentials apart. The corpus holds the hostile ones."""

import base64

import pytest

from bot_runner_git.address import RepositoryAddress
from bot_runner_worker.model.errors import Rejected


def pair_of(url: str, token: str | None = None) -> str | None:
    authorization = RepositoryAddress.parse(url, token).authorization
    return None if authorization is None else base64.b64decode(authorization.split()[1]).decode()


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("https://Example.com/owner/bot.git", "https://example.com/owner/bot.git"),
        ("https://example.com:443/a/", "https://example.com/a"),
        ("https://user:secret@example.com:8443/a", "https://example.com:8443/a"),
        ("http://[::1]:8080/a", "http://[::1]:8080/a"),
        ("http://0x7f.1/a", "http://127.0.0.1/a"),
        ("http://2130706433/a", "http://127.0.0.1/a"),
        ("http://example.com./a", "http://example.com/a"),
    ],
)
def test_what_git_gets_is_what_was_checked(url: str, normal: str) -> None:
    assert RepositoryAddress.parse(url, None).url == normal


@pytest.mark.parametrize(
    ("url", "token", "pair"),
    [
        ("https://example.com/a", None, None),
        ("https://example.com/a", "t0ken", "x-access-token:t0ken"),
        ("https://bitbucket.org/a/b", "t0ken", "x-token-auth:t0ken"),
        ("https://example.com/a", "me:pass:word", "me:pass:word"),
        ("https://t0ken@example.com/a", None, "x-access-token:t0ken"),
        ("https://me:p%40ss@example.com/a", None, "me:p@ss"),
    ],
)
def test_credentials(url: str, token: str | None, pair: str | None) -> None:
    assert pair_of(url, token) == pair


def test_no_credentials_in_what_is_printed() -> None:
    address = RepositoryAddress.parse("https://me:sentinel@example.com/a", None)
    assert "sentinel" not in repr(address)
    assert base64.b64encode(b"me:sentinel").decode() not in repr(address)


@pytest.mark.parametrize(
    ("url", "advice"),
    [("git@example.com:owner/bot.git", "https://"), ("https://example.com/a?private_token=x", "git_token")],
)
def test_what_to_write_instead_is_said(url: str, advice: str) -> None:
    with pytest.raises(Rejected) as caught:
        RepositoryAddress.parse(url, None)
    assert advice in caught.value.hint
