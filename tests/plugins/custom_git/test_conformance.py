"""The plugin keeps to what every plugin has to."""

from typing import Any

import pytest
from tests.corpus.servers import GIT_TOKEN, Servers

from bot_runner_worker.testing import PluginConformance, Site

CUSTOM = {"deployment_mode": "custom"}
BOT = "import time\nprint('ready', flush=True)\ntime.sleep(60)\n"


@pytest.fixture
def source_server(servers: Servers) -> Servers:
    """The corpus' servers, which speak Git, in place of the kit's."""
    return servers


def _repository(site: Site, name: str = "conforming.git", **params: Any) -> dict[str, Any]:
    sources: Servers = site.sources
    if not (sources.folder / "git" / name).exists():
        sources.repository(name).commit_files(
            {"bot.py": BOT, "requirements.txt": "", "sub/bot.py": BOT, "sub/requirements.txt": ""}
        )
    return {**CUSTOM, "git_repo": sources.git.url(f"/{name}"), **params}


class TestConformance(PluginConformance):
    """See the class that it extends."""

    plugin = "custom_git"
    valid = {
        "a repository": _repository,
        "a branch and a folder": lambda site: _repository(site, git_branch="main", git_subdir="sub"),
        "a private one": lambda site: _repository(site, "private/conforming.git", git_token=GIT_TOKEN),
    }
    on_engine = ("a repository",)
    invalid = {
        "no address": ({**CUSTOM, "git_repo": "me/shop"}, "INVALID_GIT_URL"),
        "no name of a branch": (lambda site: _repository(site, git_branch="a..b"), "INVALID_GIT_REF"),
        "a branch that is not there": (
            lambda site: _repository(site, git_branch="none"),
            "GIT_REF_NOT_FOUND",
        ),
        "a folder that is not there": (
            lambda site: _repository(site, git_subdir="no"),
            "GIT_FOLDER_NOT_FOUND",
        ),
        "a repository that is not there": (
            lambda site: {**CUSTOM, "git_repo": site.sources.git.url("/none.git")},
            "GIT_REPOSITORY_NOT_FOUND",
        ),
        "a wrong token": (
            lambda site: _repository(site, "private/conforming.git", git_token="sentinel-token"),
            "GIT_ACCESS_DENIED",
        ),
    }
    hostile = {
        "a local path": ({**CUSTOM, "git_repo": "/etc"}, "INVALID_GIT_URL"),
        "a helper": ({**CUSTOM, "git_repo": "ext::sh -c id"}, "INVALID_GIT_URL"),
        "an option as a branch": (
            lambda site: _repository(site, git_branch="--upload-pack=id"),
            "INVALID_GIT_REF",
        ),
        "the metadata": ({**CUSTOM, "git_repo": "http://169.254.169.254/x.git"}, "ADDRESS_DENIED"),
        "a folder outside": (lambda site: _repository(site, git_subdir="../../etc"), "INVALID_PATH"),
    }
