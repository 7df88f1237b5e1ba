"""Addresses from tenants: every way to write one that is not open, for each param that takes an address.

The marker listens on all addresses of this machine; the settings open 127.0.0.1 alone.
"""

from collections.abc import Callable, Mapping
from typing import Any

from tests.corpus.case import Case
from tests.corpus.servers import Servers

DENIED = "ADDRESS_DENIED"
ARCHIVE = "INVALID_ARCHIVE_URL"
GIT = "INVALID_GIT_URL"
SECRET = "sentinel-url-password"


def _params(field: str, url: str) -> Callable[[Servers], Mapping[str, Any]]:
    def make(servers: Servers) -> Mapping[str, Any]:
        return {"deployment_mode": "custom", field: url.replace("PORT", str(servers.marker.port))}

    return make


def archive(name: str, url: str, code: str | tuple[str, ...] = DENIED, **more: Any) -> Case:
    """An ``archive_url``; ``PORT`` in it is the marker's."""
    return Case(f"url-archive-{name}", _params("archive_url", url), code, **more)


def git(name: str, url: str, code: str | tuple[str, ...] = DENIED, **more: Any) -> Case:
    """A ``git_repo``; ``PORT`` in it is the marker's."""
    return Case(f"url-git-{name}", _params("git_repo", url), code, **more)


def host(name: str, host: str, *, readable: bool = True) -> list[Case]:
    """A host that must not be reached, as it is tried with each param.

    Args:
        name: What it is.
        host: As it stands in the address.
        readable: Whether every client takes it for an address at all.
    """
    return [
        archive(name, f"http://{host}:PORT/bot.tar.gz", DENIED if readable else (DENIED, ARCHIVE)),
        git(name, f"http://{host}:PORT/owner/bot.git"),
    ]


CASES = [
    # Every way to write 127.0.0.2, and other names of this machine.
    *host("loopback", "127.0.0.2"),
    *host("loopback-two-parts", "127.2"),
    *host("loopback-three-parts", "127.0.2"),
    *host("loopback-decimal", "2130706434"),
    *host("loopback-hexadecimal", "0x7f000002"),
    *host("loopback-hexadecimal-parts", "0x7f.0.0.0x2"),
    *host("loopback-octal", "0177.0.0.2", readable=False),
    *host("loopback-octal-whole", "017700000002"),
    *host("loopback-leading-zeros", "127.000.000.002", readable=False),
    *host("loopback-final-dot", "127.0.0.2."),
    *host("loopback-ipv6", "[::1]"),
    *host("loopback-ipv6-long", "[0:0:0:0:0:0:0:1]"),
    *host("loopback-mapped", "[::ffff:127.0.0.2]"),
    *host("loopback-mapped-hexadecimal", "[::ffff:7f00:2]"),
    *host("loopback-compatible", "[::127.0.0.2]"),
    *host("loopback-nat64", "[64:ff9b::7f00:2]"),
    *host("loopback-local-nat64", "[64:ff9b:1::7f00:2]"),
    *host("loopback-6to4", "[2002:7f00:2::1]"),
    *host("loopback-teredo", "[2001:0:7f00:2::]"),
    *host("any-address", "0.0.0.0"),
    *host("any-address-short", "0"),
    *host("any-address-ipv6", "[::]"),
    archive("circled-digits", "http://\u2460\u2461\u2466.0.0.2:PORT/x", ARCHIVE),
    archive("full-width-digits", "http://\uff11\uff12\uff17.0.0.2:PORT/x", ARCHIVE),
    archive("ideographic-dots", "http://127\u30020\u30020\u30022:PORT/x", ARCHIVE),
    git("circled-digits", "http://\u2460\u2461\u2466.0.0.2:PORT/x/y.git", GIT),
    # Other inner networks, and what clouds serve to their own machines.
    *host("metadata", "169.254.169.254"),
    *host("metadata-decimal", "2852039166"),
    *host("metadata-ipv6", "[fd00:ec2::254]"),
    *host("metadata-alibaba", "100.100.100.200"),
    *host("metadata-oracle", "192.0.0.192"),
    *host("azure-host-agent", "168.63.129.16"),
    *host("private-10", "10.0.0.1"),
    *host("private-172", "172.17.0.1"),
    *host("private-192", "192.168.0.1"),
    *host("shared-address-space", "100.64.0.1"),
    *host("link-local-ipv6", "[fe80::1]"),
    *host("unique-local-ipv6", "[fc00::1]"),
    *host("multicast", "224.0.0.1"),
    *host("broadcast", "255.255.255.255"),
    *host("benchmarking", "198.18.0.1"),
    # Names, whose addresses count.
    *host("name-of-loopback", "inner.example"),
    *host("name-of-metadata", "metadata.example"),
    *host("name-of-private", "private.example"),
    *host("name-of-mapped", "mapped.example"),
    *host("name-with-two-faces", "mixed.example"),
    archive("name-of-nobody", "http://nobody.invalid/x", "HOST_NOT_FOUND"),
    # What one program takes for the host, and another for something else.
    archive("user-like-a-host", f"http://files.example:{SECRET}@127.0.0.2:PORT/x", secrets=(SECRET,)),
    archive("backslash-before-at", "http://127.0.0.2:PORT\\@files.example/x", ARCHIVE),
    archive("fragment-before-at", "http://127.0.0.2:PORT#@files.example/x", ARCHIVE),
    archive("two-ats", "http://a@files.example@127.0.0.2:PORT/x"),
    archive("space", "http://files.example @127.0.0.2:PORT/x", ARCHIVE),
    archive("tab", "http://127.0.0.2\t:PORT/x", ARCHIVE),
    archive("newline", "http://files.example/\r\nHost: 127.0.0.2", ARCHIVE),
    archive("nul", "http://files.example\0.127.0.0.2:PORT/x", ARCHIVE),
    archive("percent-in-host", "http://127.0.0%2e2:PORT/x", ARCHIVE),
    archive("zone", "http://[fe80::1%25lo]:PORT/x", ARCHIVE),
    archive("variable", "http://$HOSTNAME:PORT/x", ARCHIVE),
    archive("no-scheme", "//127.0.0.2:PORT/x", ARCHIVE),
    archive("port-0", "http://files.example:0/x", ARCHIVE),
    archive("port-too-large", "http://files.example:65616/x", ARCHIVE),
    archive("too-long", "http://files.example/" + "a" * 5000, (ARCHIVE, "INVALID_FIELD")),
    # Schemes.
    archive("file", "file:///etc/passwd", (ARCHIVE, "SCHEME_DENIED")),
    archive("gopher", "gopher://127.0.0.2:PORT/_x", (ARCHIVE, "SCHEME_DENIED")),
    archive("ftp", "ftp://127.0.0.2:PORT/x", (ARCHIVE, "SCHEME_DENIED")),
    archive("data", "data:text/plain,x", ARCHIVE),
    archive("unix-socket", "http+unix://%2Fvar%2Frun%2Fdocker.sock/x", (ARCHIVE, "SCHEME_DENIED")),
    # The operator's lists.
    archive(
        "plain-http-closed", "http://files.example/x", "SCHEME_DENIED", settings={"source_schemes": "https"}
    ),
    git("host-not-allowed", "https://other.example/a/b.git", "HOST_DENIED",
        settings={"source_hosts_allowed": "*.git.example"}),
    git("host-denied", "https://files.example/a/b.git", "HOST_DENIED",
        settings={"source_hosts_denied": "files.example"}),
]  # fmt: skip
