"""URLs from tenants: read strictly, and held against the operator's lists of schemes and hosts."""

from typing import Any

import pytest
from pydantic import SecretStr

from bot_runner_worker.model.errors import Rejected
from bot_runner_worker.outbound import OutboundPolicy
from bot_runner_worker.settings import Settings


def policy(**settings: Any) -> OutboundPolicy:
    return OutboundPolicy(Settings.load(worker_token=SecretStr("token"), **settings))


def refusal(url: str, **settings: Any) -> Rejected:
    with pytest.raises(Rejected) as caught:
        policy(**settings).check_url(url, code="INVALID_GIT_URL", field="git_repo")
    return caught.value


def test_a_url_is_taken_apart() -> None:
    url = policy().check_url(
        "https://me%40home:p%2Fw@Example.COM:8443/owner/bot.git?a=b", code="X", field="git_repo"
    )
    assert (url.scheme, url.host, url.port, url.target) == (
        "https", "example.com", 8443, "/owner/bot.git?a=b",
    )  # fmt: skip
    assert (url.username, url.password) == ("me@home", "p/w")
    assert url.without_credentials == "https://example.com:8443/owner/bot.git?a=b"
    assert "p/w" not in repr(url)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://example.com", "https://example.com"),
        ("http://example.com:80/", "http://example.com"),
        ("http://example.com:443/", "http://example.com:443"),
        ("https://example.com./x", "https://example.com"),
        ("https://[2606:4700::1111]/x", "https://[2606:4700::1111]"),
        ("https://xn--e1afmkfd.xn--p1ai/", "https://xn--e1afmkfd.xn--p1ai"),
    ],
)
def test_the_origin_is_normalised(url: str, origin: str) -> None:
    assert policy().check_url(url, code="X", field="archive_url").origin == origin


@pytest.mark.parametrize(
    "url",
    [
        "", "example.com/x", "https:/example.com", "https://", "https://example.com/a b", "https://example.com/\x7f",
        "https://example.com:/", "https://example.com:x/", "https://[::1", "https://[fe80::1%eth0]/",
        "https://[example.com]/", "https://-example.com/", "https://example..com/", "https://.com/",
        "https://example.com/\u0430", "https://user@/", "https://a,b/", "https://" + "a" * 300 + ".com/",
    ],
)  # fmt: skip
def test_what_two_programs_might_read_differently_is_refused(url: str) -> None:
    """Besides what the corpus has."""
    error = refusal(url)
    assert error.code == "INVALID_GIT_URL"
    assert error.details == {"field": "git_repo"}


def test_an_error_never_repeats_the_url() -> None:
    error = refusal("https://me:hunter2@example.com/#x")
    assert "hunter2" not in str(error.to_dict())


def test_the_operator_closes_plain_http() -> None:
    error = refusal("http://example.com/x", source_schemes="https")
    assert error.code == "SCHEME_DENIED"
    assert "https://" in error.hint


@pytest.mark.parametrize(
    ("settings", "open_hosts", "closed_hosts"),
    [
        ({}, ["example.com", "a.b.example.com"], []),
        (
            {"source_hosts_allowed": "*.example.com, github.com"},
            ["git.example.com", "a.b.example.com", "GitHub.com", "github.com."],
            ["example.com", "evil-example.com", "github.com.evil.net", "git.example.comx", "gist.github.com"],
        ),
        (
            {"source_hosts_denied": "*.internal,bad.net"},
            ["good.net", "internal.net"],
            ["git.internal", "BAD.net", "bad.net."],
        ),
        (
            {"source_hosts_allowed": "*.example.com", "source_hosts_denied": "old.example.com"},
            ["new.example.com"],
            ["old.example.com"],
        ),
        ({"source_hosts_denied": "*"}, [], ["example.com"]),
    ],
)
def test_hosts_are_held_against_the_operators_lists(
    settings: dict[str, str], open_hosts: list[str], closed_hosts: list[str]
) -> None:
    rules = policy(**settings)
    for host in open_hosts:
        rules.check_url(f"https://{host}/x", code="X", field="git_repo")
    for host in closed_hosts:
        assert refusal(f"https://{host}/x", **settings).code == "HOST_DENIED"
