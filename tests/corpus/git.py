"""Hostile requests, repositories and servers of Git."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from tests.corpus.case import Case
from tests.corpus.git_repositories import FILE, FOLDER, SUBMODULE, SYMLINK, Repository
from tests.corpus.servers import FORBIDDEN, GIT_PASSWORD, GIT_USER, Servers

URL = "INVALID_GIT_URL"
REF = "INVALID_GIT_REF"
LARGE = "GIT_TOO_LARGE"
UNSAFE = "UNSAFE_REPOSITORY"
NO_FOLDER = "GIT_FOLDER_NOT_FOUND"
COMMIT = "a" * 40
IMPATIENT = {"source_timeout_seconds": 1}


def url(name: str, git_repo: str, code: str | tuple[str, ...] = URL, **more: Any) -> Case:
    """A case of an address."""
    return Case(f"git-{name}", {"deployment_mode": "custom", "git_repo": git_repo}, code, **more)


def request(name: str, code: str | tuple[str, ...], /, **params: Any) -> Case:
    """A case of other params, with a good repository."""

    def make(servers: Servers) -> Mapping[str, Any]:
        return {"deployment_mode": "custom", "git_repo": good(servers), **params}

    return Case(f"git-{name}", make, code)


def repository(
    name: str, code: str | tuple[str, ...], make: Callable[[Repository], object], **params: Any
) -> Case:
    """A case of a repository's content."""

    def build(servers: Servers) -> Mapping[str, Any]:
        make(servers.repository(f"{name}.git"))
        return {"deployment_mode": "custom", "git_repo": servers.git.url(f"/{name}.git"), **params}

    return Case(f"git-{name}", build, code)


def server(name: str, code: str | tuple[str, ...], path: str, **more: Any) -> Case:
    """A case of a server that misbehaves."""

    def make(servers: Servers) -> Mapping[str, Any]:
        return {"deployment_mode": "custom", "git_repo": servers.http.url(f"/git/{path}")}

    return Case(f"git-{name}", make, code, **more)


def good(servers: Servers) -> str:
    """The address of a repository without any fault."""
    path = servers.folder / "git" / "good.git"
    if not path.exists():
        servers.repository("good.git").commit_files({"Dockerfile": "FROM scratch\n", "bot.py": "print(1)\n"})
    return servers.git.url("/good.git")


def _tree_bomb(repository: Repository) -> None:
    tree = repository.tree_of({f"f{number}": "" for number in range(10)})
    for _ in range(9):
        tree = repository.tree([(FOLDER, f"d{number}", tree) for number in range(10)])
    repository.commit(tree)


def _blob_bomb(repository: Repository) -> None:
    blob = repository.blob(bytes(2 * 1024 * 1024))
    repository.commit(repository.tree([(FILE, f"f{number:02}", blob) for number in range(40)]))


def _noise(repository: Repository) -> None:
    repository.commit_files({"noise": os.urandom(10 * 1024 * 1024)})


def _raw_tree(*entries: tuple[str, str, str]) -> Callable[[Repository], object]:
    def make(repository: Repository) -> None:
        blob = repository.blob("/etc/passwd")
        inner = repository.tree([(FILE, "x", blob)])
        ids = {"blob": blob, "tree": inner, "commit": COMMIT}
        repository.commit(repository.tree([(mode, name, ids[oid]) for mode, name, oid in entries]))

    return make


def _evil_attributes(repository: Repository) -> None:
    repository.commit_files(
        {
            ".gitattributes": "* filter=evil diff=evil export-subst\nsecret export-ignore\n",
            ".gitmodules": "",
            "hooks/post-checkout.sh": "touch /tmp/bot-runner-hook-ran\n",
            "secret": "$Format:%H$",
        }
    )


def _private(servers: Servers, **params: Any) -> Mapping[str, Any]:
    if not (servers.folder / "git" / "private" / "case.git").exists():
        servers.repository("private/case.git").commit_files({"Dockerfile": "FROM scratch\n"})
    return {"deployment_mode": "custom", "git_repo": servers.git.url("/private/case.git"), **params}


def _with_password(servers: Servers) -> Mapping[str, Any]:
    params = _private(servers, git_branch="missing")
    return {**params, "git_repo": params["git_repo"].replace("//", f"//{GIT_USER}:{GIT_PASSWORD}@")}


def _names(host: str) -> Callable[[Servers], Mapping[str, Any]]:
    return lambda servers: {
        "deployment_mode": "custom",
        "git_repo": servers.git.url("/good.git", host=host),
    }


CASES = [
    # Addresses.
    url("ext-transport", "ext::sh -c touch% /tmp/bot-runner-pwned"),
    url("ext-transport-as-scheme", "ext::https://example.com/x"),
    url("file-url", "file:///etc"),
    url("local-path", "/etc"),
    url("relative-path", "../../etc"),
    url("fd-transport", "fd::17/x"),
    url("option", "--upload-pack=touch /tmp/bot-runner-pwned"),
    url("option-after-scheme", "https://--upload-pack=x/y"),
    url("ssh", "ssh://git@example.com/x.git"),
    url("ssh-option-as-host", "ssh://-oProxyCommand=touch/x"),
    url("scp-like", "git@example.com:owner/x.git"),
    url("git-protocol", "git://example.com/x.git"),
    url("ftp", "ftp://example.com/x.git"),
    url("variable", "https://example.com/$WORKER_TOKEN/x.git"),
    url("variable-as-host", "https://${WORKER_TOKEN}.example.com/x.git"),
    url("newline", "https://example.com/x\n[core]\nsshCommand=touch"),
    url("backslash", "https://example.com\\@127.0.0.2/x.git"),
    url("no-host", "https:///x.git"),
    url("no-path", "https://example.com"),
    url("dots-in-path", "https://example.com/a/../../x"),
    url("encoded-dots-in-path", "https://example.com/a/%2e%2e/x"),
    url(
        "token-in-query",
        "https://example.com/x.git?private_token=sentinel-query-token",
        secrets=("sentinel-query-token",),
    ),
    url("fragment", "https://example.com/x.git#main"),
    url("not-ascii", "https://\u0435xample.com/x.git"),
    url("too-long", "https://example.com/" + "a" * 3000, ("INVALID_FIELD", URL)),
    Case("git-loopback", _names(FORBIDDEN), "ADDRESS_DENIED"),
    Case("git-name-of-inner-address", _names("inner.example"), "ADDRESS_DENIED"),
    Case("git-name-of-metadata-address", _names("metadata.example"), "ADDRESS_DENIED"),
    Case("git-name-of-mapped-address", _names("mapped.example"), "ADDRESS_DENIED"),
    Case("git-name-with-one-inner-address", _names("mixed.example"), "ADDRESS_DENIED"),
    # The address of the first lookup is dialled, or none at all: the marker sees nothing.
    Case(
        "git-rebinding",
        lambda servers: {**_names("rebind.example")(servers), "git_branch": "missing"},
        ("GIT_REF_NOT_FOUND", "GIT_REPOSITORY_NOT_FOUND", "ADDRESS_DENIED"),
    ),
    url("name-that-does-not-exist", "https://nowhere.invalid/x.git", "HOST_NOT_FOUND"),
    # Branch, folder, entrypoint.
    request("branch-option", REF, git_branch="--upload-pack=touch /tmp/bot-runner-pwned"),
    request("branch-dash", REF, git_branch="-x"),
    request("branch-range", REF, git_branch="a..b"),
    request("branch-reflog", REF, git_branch="main@{1}"),
    request("branch-glob", REF, git_branch="*"),
    request("branch-space", REF, git_branch="a b"),
    request("branch-control", REF, git_branch="a\nb"),
    request("branch-colon", REF, git_branch="main:refs/heads/x"),
    request("branch-lock", REF, git_branch="main.lock"),
    request("branch-missing", "GIT_REF_NOT_FOUND", git_branch="nope"),
    request("branch-tail-of-another", "GIT_REF_NOT_FOUND", git_branch="ain"),
    request("commit-missing", "GIT_REF_NOT_FOUND", git_branch=COMMIT),
    request("branch-too-long", "INVALID_FIELD", git_branch="a" * 300),
    request("subdir-traversal", "INVALID_PATH", git_subdir="../x"),
    request("subdir-absolute", "INVALID_PATH", git_subdir="/etc"),
    request("subdir-revision", NO_FOLDER, git_subdir="x^{commit}"),
    request("subdir-option", NO_FOLDER, git_subdir="--output=x"),
    request("subdir-is-a-file", NO_FOLDER, git_subdir="bot.py"),
    request("two-sources", "CONFLICTING_SOURCES", archive="x"),
    request("unknown-field", "UNKNOWN_FIELD", upload_pack="touch"),
    # Content.
    repository("dot-git-folder", (UNSAFE, "NO_DOCKERFILE"), _raw_tree((FOLDER, ".git", "tree"))),
    repository("dot-dot-file", UNSAFE, _raw_tree((FILE, "..", "blob"))),
    repository("dot-dot-folder", UNSAFE, _raw_tree((FOLDER, "..", "tree"))),
    repository("slash-in-name", UNSAFE, _raw_tree((FILE, "a/../../x", "blob"))),
    repository("backslash-in-name", UNSAFE, _raw_tree((FILE, "..\\x", "blob"))),
    repository("newline-in-name", UNSAFE, _raw_tree((FILE, "a\nb", "blob"))),
    repository("name-twice", UNSAFE, _raw_tree((FILE, "a", "blob"), (FILE, "a", "blob"))),
    repository("name-twice-by-case", UNSAFE, _raw_tree((FILE, "A", "blob"), (FILE, "a", "blob"))),
    repository("link-and-folder", UNSAFE, _raw_tree((SYMLINK, "..", "blob"), (FOLDER, "a", "tree"))),
    repository("subdir-through-a-link", NO_FOLDER, _raw_tree((SYMLINK, "l", "blob")), git_subdir="l"),
    repository("submodule", "GIT_SUBMODULES_UNSUPPORTED", _raw_tree((SUBMODULE, "m", "commit"))),
    repository("submodule-as-subdir", NO_FOLDER, _raw_tree((SUBMODULE, "m", "commit")), git_subdir="m"),
    repository("hooks-filters-attributes", "NO_DOCKERFILE", _evil_attributes),
    repository("tree-bomb", LARGE, _tree_bomb),
    repository("blob-bomb", LARGE, _blob_bomb),
    repository("larger-than-allowed", LARGE, _noise),
    repository("empty", "GIT_REF_NOT_FOUND", lambda repository: None),
    # Servers.
    server("redirect-to-inner-host", URL, "redirect/x.git"),
    server("endless-references", ("GIT_TIMED_OUT", LARGE), "endless/x.git", settings=IMPATIENT),
    server("endless-pack", LARGE, "endless-pack/x.git"),
    server("slow-server", "GIT_TIMED_OUT", "drip/x.git", settings=IMPATIENT),
    server("not-git", "GIT_REF_NOT_FOUND", "page/x.git"),
    server("garbage", "GIT_FAILED", "garbage/x.git"),
    server("server-error", "GIT_UNREACHABLE", "503/x.git"),
    server("rate-limited", "GIT_UNREACHABLE", "429/x.git"),
    server("gone", "GIT_REPOSITORY_NOT_FOUND", "410/x.git"),
    Case(
        "git-untrusted-certificate",
        lambda servers: {
            "deployment_mode": "custom",
            "git_repo": servers.untrusted.url("/git/page/x.git"),
        },
        "GIT_CERTIFICATE_REFUSED",
    ),
    # Credentials.
    Case("git-no-password", _private, "GIT_ACCESS_DENIED"),
    Case(
        "git-wrong-token",
        lambda servers: _private(servers, git_token="sentinel-wrong-token"),
        "GIT_ACCESS_DENIED",
        secrets=("sentinel-wrong-token",),
    ),
    Case("git-password-in-url", _with_password, "GIT_REF_NOT_FOUND", secrets=(GIT_PASSWORD,)),
    Case(
        "git-credentials-twice",
        lambda servers: {**_with_password(servers), "git_token": "sentinel-token-too"},
        URL,
        secrets=(GIT_PASSWORD, "sentinel-token-too"),
    ),
    Case(
        "git-header-injection",
        lambda servers: _private(servers, git_token="sentinel\r\nX-Injected: 1"),
        URL,
        secrets=("sentinel\r\nX-Injected",),
    ),
]  # fmt: skip
