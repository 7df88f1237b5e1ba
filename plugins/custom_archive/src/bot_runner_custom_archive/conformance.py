"""The cases that show that this plugin keeps to what every plugin has to."""

import base64
import io
import tarfile
from collections.abc import Mapping
from typing import Any

from bot_runner_worker.testing import PluginConformance, Site

CUSTOM = {"deployment_mode": "custom"}
BOT = "import time\nprint('ready', flush=True)\ntime.sleep(60)\n"
PROJECT = {"bot.py": BOT, "requirements.txt": ""}


def tar(files: Mapping[str, str], link: str | None = None) -> bytes:
    """A tar of these files, and a link to somewhere."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w:gz") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
        if link is not None:
            member = tarfile.TarInfo("link")
            member.type, member.linkname = tarfile.SYMTYPE, link
            archive.addfile(member)
    return output.getvalue()


def inline(content: bytes) -> dict[str, Any]:
    """Params with the archive in them."""
    return {**CUSTOM, "archive": base64.b64encode(content).decode()}


def at(site: Site, path: str) -> dict[str, Any]:
    """Params with the archive on a server."""
    return {**CUSTOM, "archive_url": site.sources.url(path)}


def served(site: Site) -> dict[str, Any]:
    """Params with the archive on a server, whose address holds a secret."""
    address = site.sources.file("bot.tar.gz", tar(PROJECT))
    return {**CUSTOM, "archive_url": f"{address}?token=sentinel-of-the-address"}


class ArchiveConformance(PluginConformance):
    """Requests that work, and one for each error of its own."""

    plugin = "custom_archive"
    valid = {"inside the request": inline(tar(PROJECT)), "on a server": served}
    invalid = {
        "no archive": ({**CUSTOM, "archive": "bm90aGluZw=="}, "INVALID_ARCHIVE"),
        "no base64": ({**CUSTOM, "archive": "*"}, "INVALID_ARCHIVE"),
        "one that is cut off": (inline(tar(PROJECT)[:-30]), "INVALID_ARCHIVE"),
        "no source": (CUSTOM, "MISSING_SOURCE"),
        "both sources": ({**inline(b""), "archive_url": "https://e.org/x"}, "CONFLICTING_SOURCES"),
        "no address": ({**CUSTOM, "archive_url": "bot.tar.gz"}, "INVALID_ARCHIVE_URL"),
        "not on the server": (lambda site: at(site, "/files/none?token=sentinel"), "DOWNLOAD_FAILED"),
        "a server that fails": (lambda site: at(site, "/status/500"), "DOWNLOAD_FAILED"),
    }
    hostile = {
        "a path outside": (inline(tar({"../bot.py": BOT})), ("UNSAFE_ARCHIVE", "INVALID_PATH")),
        "a link to the host": (inline(tar(PROJECT, link="/etc/passwd")), "UNSAFE_ARCHIVE"),
        "an endless download": (
            lambda site: at(site, "/endless"),
            ("ARCHIVE_TOO_LARGE", "DOWNLOAD_TIMED_OUT"),
        ),
        "a slow one": (lambda site: at(site, "/drip"), "DOWNLOAD_TIMED_OUT"),
        "a redirect inwards": (
            lambda site: at(site, "/redirect/http://169.254.169.254/latest"),
            "ADDRESS_DENIED",
        ),
        "the metadata": ({**CUSTOM, "archive_url": "http://169.254.169.254/"}, "ADDRESS_DENIED"),
        "a local file": ({**CUSTOM, "archive_url": "file:///etc/passwd"}, "INVALID_ARCHIVE_URL"),
    }
    settings = {"source_timeout_seconds": 3, "max_source_size": "4m", "max_context_size": "4m"}
