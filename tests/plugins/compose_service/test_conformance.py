"""The plugin keeps to what every plugin has to."""

from typing import Any

import pytest
from tests.corpus.servers import GIT_TOKEN, Servers

from bot_runner_worker.testing import PluginConformance, Site

BUILT = "services:\n  db: {image: postgres}\n  bot: {build: bot, environment: [BOT_TOKEN], restart: always}\n"
BOMB = "".join(
    [
        "a0: &a0 [x, x]\n",
        *(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 15)),
    ]
)


@pytest.fixture
def source_server(servers: Servers) -> Servers:
    """The corpus' servers, which speak Git, in place of the kit's."""
    return servers


def _repository(site: Site, name: str, compose: str, **params: Any) -> dict[str, Any]:
    sources: Servers = site.sources
    path = f"{name}-composed.git"
    if not (sources.folder / "git" / path).exists():
        files = {
            "compose.yaml": compose,
            "bot/bot.py": "import time\ntime.sleep(60)\n",
            "bot/Dockerfile": f'FROM {site.base_image}\nCOPY . /srv\nCMD ["python3", "/srv/bot.py"]\n',
        }
        sources.repository(path).commit_files(files)
    return {"deployment_mode": "compose", "git_repo": sources.git.url(f"/{path}"), **params}


def _built(site: Site, name: str = "built", **params: Any) -> dict[str, Any]:
    return _repository(site, name, BUILT, **{"service": "bot", **params})


def _ready(site: Site) -> dict[str, Any]:
    command = "command: [python3, -c, 'import time; time.sleep(60)']"
    return _repository(site, "ready", f"services: {{bot: {{image: '{site.base_image}', {command}}}}}")


def _asking(site: Site, key: str) -> dict[str, Any]:
    name = "".join(char for char in key if char.isalnum())
    return _repository(site, name, f"services: {{bot: {{image: x, {key}}}}}")


class TestConformance(PluginConformance):
    """See the class that it extends."""

    plugin = "compose_service"
    valid = {
        "one that is built": _built,
        "one of a ready image": _ready,
        "one of a private repository": lambda site: _built(site, "private/built", git_token=GIT_TOKEN),
    }
    on_engine = ("one that is built",)
    invalid = {
        "no repository": ({"deployment_mode": "compose"}, "MISSING_REQUIRED_FIELD"),
        "a file that is not there": (
            lambda site: _built(site, compose_file="other.yaml"),
            "COMPOSE_FILE_NOT_FOUND",
        ),
        "a service that is not there": (
            lambda site: _built(site, service="web"),
            "COMPOSE_SERVICE_NOT_FOUND",
        ),
        "no service named": (lambda site: _built(site, service=None), "COMPOSE_SERVICE_NOT_FOUND"),
        "no YAML": (lambda site: _repository(site, "noyaml", "a: [b"), "INVALID_COMPOSE_FILE"),
        "an unset variable": (
            lambda site: _asking(site, "command: 'run ${X}'"),
            "COMPOSE_VARIABLE_UNSET",
        ),
        "a wrong token": (
            lambda site: _built(site, "private/built", git_token="sentinel-token"),
            "GIT_ACCESS_DENIED",
        ),
    }
    hostile = {
        "privileged": (lambda site: _asking(site, "privileged: true"), "COMPOSE_KEY_REFUSED"),
        "the host's network": (lambda site: _asking(site, "network_mode: host"), "COMPOSE_KEY_REFUSED"),
        "the Engine's socket": (
            lambda site: _asking(site, "volumes: ['/var/run/docker.sock:/var/run/docker.sock']"),
            "COMPOSE_KEY_REFUSED",
        ),
        "a context outside": (
            lambda site: _repository(site, "outside", "services: {bot: {build: ../../etc}}"),
            "INVALID_COMPOSE_FILE",
        ),
        "a file outside": (lambda site: _built(site, compose_file="../../etc/passwd"), "INVALID_PATH"),
        "a bomb": (lambda site: _repository(site, "bomb", BOMB), "INVALID_COMPOSE_FILE"),
        "objects": (
            lambda site: _repository(site, "objects", "a: !!python/object/apply:os.system [id]"),
            "INVALID_COMPOSE_FILE",
        ),
        "the metadata": (
            {"deployment_mode": "compose", "git_repo": "http://169.254.169.254/x.git"},
            "ADDRESS_DENIED",
        ),
    }
