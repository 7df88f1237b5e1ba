"""Sources that the worker fetches: git repositories, archives by URL, images."""

from pathlib import PurePosixPath
from urllib.parse import SplitResult, parse_qsl, urlsplit

from bot_runner_cli.errors import UsageError
from bot_runner_cli.sources.model import Source

_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")
_GIT_HOSTS = frozenset(
    {"github.com", "gitlab.com", "bitbucket.org", "codeberg.org", "gitea.com", "gitflic.ru"}
)
_PAGES = frozenset({"tree", "blob", "src", "commit", "raw"})
_GIT_SCHEMES = frozenset({"git", "ssh", "git+ssh", "git+https", "git+http"})


def is_remote(location: str) -> bool:
    """Whether it is a URL, or ``user@host:path`` as git writes it, and no local path."""
    return "://" in location or _is_scp_like(location)


def is_git(location: str) -> bool:
    """Whether a remote location is a git repository, told by its shape alone."""
    if _is_scp_like(location):
        return True
    parts = urlsplit(location)
    path = parts.path.rstrip("/")
    if parts.scheme in _GIT_SCHEMES or path.endswith(".git"):
        return True
    return _host(parts) in _GIT_HOSTS and not path.endswith(_ARCHIVES)


def git_source(
    repository: str, branch: str | None = None, subdir: str | None = None, token: str | None = None
) -> Source:
    """A git repository.

    Raises:
        UsageError: The URL is that of a page in a repository.
    """
    _refuse_page(repository)
    params = {"deployment_mode": "custom", "git_repo": repository}
    given = {"git_branch": branch, "git_subdir": subdir, "git_token": token}
    params |= {name: value for name, value in given.items() if value is not None}
    return Source(params, secrets=_url_secrets(repository) | ({token} if token else set()))


def archive_url_source(url: str) -> Source:
    """An archive that the worker downloads."""
    return Source({"deployment_mode": "custom", "archive_url": url}, secrets=_url_secrets(url))


def image_source(reference: str, username: str | None = None, password: str | None = None) -> Source:
    """An image in a registry, with the registry's credentials if it wants any."""
    params: dict[str, object] = {"deployment_mode": "image", "docker_image": reference}
    if username is not None and password is not None:
        params["registry_auth"] = {"username": username, "password": password}
    return Source(params, secrets=frozenset({password} if password else ()))


def _host(parts: SplitResult) -> str:
    return (parts.hostname or "").removeprefix("www.")


def _is_scp_like(location: str) -> bool:
    user_and_host, colon, _ = location.partition(":")
    return bool(colon) and "@" in user_and_host and "/" not in user_and_host


def _url_secrets(url: str) -> frozenset[str]:
    """The user's part of a URL and its query may hold a token."""
    if "://" not in url:
        return frozenset()
    parts = urlsplit(url)
    values = (value for _, value in parse_qsl(parts.query))
    return frozenset(part for part in (parts.username, parts.password, *values) if part)


def _refuse_page(repository: str) -> None:
    parts = urlsplit(repository)
    steps = PurePosixPath(parts.path).parts[1:]
    # github.com/OWNER/NAME/tree/BRANCH/FOLDER and its kin: a branch may hold slashes, so no guess is made.
    if _host(parts) in _GIT_HOSTS and _PAGES.intersection(steps[2:]):
        root = f"{parts.scheme}://{parts.hostname}/{'/'.join(steps[:2])}"
        raise UsageError(
            "That is the address of a page in a repository.",
            hint=f"Give the repository: --git {root} --branch NAME --subdir FOLDER",
        )
