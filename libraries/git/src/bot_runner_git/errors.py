"""Codes of what can be wrong with a repository, and how they are read from what git says."""

import re

from bot_runner_worker.plugin import Rejected, Unavailable
from bot_runner_worker.projects import TreeCodes

INVALID_GIT_URL = "INVALID_GIT_URL"
INVALID_GIT_REF = "INVALID_GIT_REF"
GIT_REF_NOT_FOUND = "GIT_REF_NOT_FOUND"
GIT_FOLDER_NOT_FOUND = "GIT_FOLDER_NOT_FOUND"
GIT_ACCESS_DENIED = "GIT_ACCESS_DENIED"
GIT_REPOSITORY_NOT_FOUND = "GIT_REPOSITORY_NOT_FOUND"
GIT_SUBMODULES_UNSUPPORTED = "GIT_SUBMODULES_UNSUPPORTED"
GIT_TOO_LARGE = "GIT_TOO_LARGE"
GIT_TIMED_OUT = "GIT_TIMED_OUT"
GIT_CERTIFICATE_REFUSED = "GIT_CERTIFICATE_REFUSED"
GIT_FAILED = "GIT_FAILED"
"""Git failed in a way that trying again will not mend: a server that does not speak its protocol, for one."""
GIT_UNREACHABLE = "GIT_UNREACHABLE"
UNSAFE_REPOSITORY = "UNSAFE_REPOSITORY"

CODES = TreeCodes(invalid=GIT_FAILED, unsafe=UNSAFE_REPOSITORY, too_large=GIT_TOO_LARGE)

_ADDRESS_HINT = "Check git_repo; a private repository also needs git_token."

# Patterns over git's own words (git 2.39, remote-curl.c, http.c, connect.c, fetch-pack.c), first match wins.
# What the server wrote comes with the prefix "remote:" and is not looked at.
_REJECTIONS: tuple[tuple[str, str, str, str], ...] = (
    (
        r"could not read (Username|Password)|Authentication failed|returned error: 40[13]",
        GIT_ACCESS_DENIED,
        "The Git server does not let this request read the repository.",
        "Check git_token and that it may read the repository; some servers answer so for a missing "
        "repository, too.",
    ),
    (
        r"repository '.*' not found|returned error: 4(04|10)",
        GIT_REPOSITORY_NOT_FOUND,
        "There is no such repository.",
        _ADDRESS_HINT,
    ),
    (
        r"returned error: 30\d|[Rr]edirect",
        INVALID_GIT_URL,
        "The Git server redirects to another address, which is not followed.",
        "Give the final address in git_repo.",
    ),
    (
        r"is this a git repository|not valid: |dumb http transport",
        GIT_REPOSITORY_NOT_FOUND,
        "There is no Git server at this address, or it is too old.",
        _ADDRESS_HINT,
    ),
    (
        r"not our ref|couldn't find remote ref|Server does not allow request for unadvertised object",
        GIT_REF_NOT_FOUND,
        "The repository does not give out this commit.",
        "Name a branch or a tag in git_branch, or a commit that is on one.",
    ),
    (
        r"certificate|SSL: no alternative",
        GIT_CERTIFICATE_REFUSED,
        "The Git server's certificate is not trusted here.",
        "Use a server with a public certificate, or ask the operator to add its CA (CA_BUNDLE).",
    ),
    (
        r"File too large|died of signal|[Oo]ut of memory|mmap failed|malloc",
        GIT_TOO_LARGE,
        "The repository is too large to be fetched.",
        "Remove large files from the repository, or ask the operator to raise MAX_SOURCE_SIZE.",
    ),
    (
        r"invalid path|malformed|corrupt|bad tree|too-short tree|empty filename|missing (blob|tree|object)",
        UNSAFE_REPOSITORY,
        "The repository's commit is damaged, or made to do damage.",
        "Make the commit anew with Git itself.",
    ),
    (
        r"Operation too slow|[Tt]imed out|[Tt]imeout was reached",
        GIT_TIMED_OUT,
        "The Git server is too slow.",
        "Try again later, or use another server.",
    ),
)  # fmt: skip
_NETWORK = re.compile(
    r"returned error: (429|5\d\d)|Could not resolve|[Cc]onnection|Failed to connect|Couldn't connect|"
    r"Empty reply|Recv failure|transfer closed|early EOF|hung up|SSL|gnutls|TLS",
)


def of_git(words: str) -> Rejected | Unavailable:
    """The error that git's words on its error stream stand for."""
    own = "\n".join(line for line in words.splitlines() if not line.startswith("remote:"))
    details = {"reason": _last_words(own)}
    for pattern, code, message, hint in _REJECTIONS:
        if re.search(pattern, own):
            return Rejected(code, message, hint=hint, details=details)
    if _NETWORK.search(own):
        return Unavailable(
            GIT_UNREACHABLE,
            "The Git server cannot be reached, or fails.",
            hint="Try again later.",
            details=details,
        )
    return Rejected(
        GIT_FAILED, "Git could not fetch the repository.", hint="Git's words are in details.reason.",
        details=details,
    )  # fmt: skip


def _last_words(text: str) -> str:
    printable = "".join(char if char.isprintable() else " " for char in text)
    return printable.strip()[-300:]


def timed_out(seconds: float) -> str:
    """The message of a fetch that took too long."""
    return f"Fetching the repository took longer than {seconds:.0f} seconds."


def too_large(limit: str) -> Rejected:
    """A repository that is larger than may be fetched."""
    return Rejected(
        GIT_TOO_LARGE,
        f"The repository is larger than {limit}.",
        hint="Remove large files from the repository, or ask the operator to raise MAX_SOURCE_SIZE.",
    )
