"""Who serves a request: each way to get it wrong has its code, and says what is on offer."""

import json
from typing import Any

import fastjsonschema
import pytest

from bot_runner_worker.model.errors import Rejected
from bot_runner_worker.model.requests import StrictModel
from bot_runner_worker.plugins.catalogue import DeploymentSource, SourceCatalogue


class Git(StrictModel):
    git_repo: str


class Archive(StrictModel):
    archive: str


class Image(StrictModel):
    docker_image: str = ""


def catalogue(*, archive: bool = True) -> SourceCatalogue:
    made = SourceCatalogue()
    made.add("git", DeploymentSource("custom", "git", Git, "from git", frozenset({"git_repo"})))
    if archive:
        source = DeploymentSource("custom", "archive", Archive, "an archive", frozenset({"archive"}))
        made.add("archive", source)
    made.add("image", DeploymentSource("image", "image", Image, "an image"))
    return made


def request(**params: Any) -> dict[str, Any]:
    return {"user_id": "user", "bot_id": "bot", **params}


def test_the_source_is_told_by_its_field() -> None:
    start, claimed = catalogue().claim(request(deployment_mode="custom", git_repo="x", replace=True))
    assert (claimed.mode, claimed.source, claimed.params) == ("custom", "git", Git(git_repo="x"))
    assert start.replace


@pytest.mark.parametrize(
    ("params", "code", "words"),
    [
        ({}, "MISSING_REQUIRED_FIELD", "deployment_mode"),
        ({"deployment_mode": "magic"}, "INVALID_DEPLOYMENT_MODE", "custom, image"),
        ({"deployment_mode": "custom"}, "MISSING_SOURCE", "archive (archive); git (git_repo)"),
        (
            {"deployment_mode": "custom", "git_repo": "x", "archive": "y"},
            "CONFLICTING_SOURCES",
            "archive (archive); git (git_repo)",
        ),
        ({"deployment_mode": "custom", "git_repo": "x", "color": 1}, "UNKNOWN_FIELD", "git_repo"),
        ({"deployment_mode": "custom", "git_repo": 1}, "INVALID_FIELD", "git_repo"),
    ],
)
def test_a_bad_request_is_told_what_is_on_offer(params: dict[str, Any], code: str, words: str) -> None:
    with pytest.raises(Rejected) as caught:
        catalogue().claim(request(**params))
    assert caught.value.code == code
    assert words in caught.value.hint


@pytest.mark.parametrize(
    ("params", "fits"),
    [
        ({"deployment_mode": "custom", "git_repo": "x"}, True),
        ({"deployment_mode": "custom", "git_repo": 1, "nonsense": 2}, True),
        ({"deployment_mode": "custom"}, True),
        ({}, True),
        ({"deployment_mode": "image", "docker_image": "x"}, True),
        ({"deployment_mode": "custom", "archive": "x"}, False),
        ({"deployment_mode": "simple", "code": "x"}, False),
    ],
)
def test_the_routing_schema_sends_a_worker_what_it_can_serve_and_all_bad_input(
    params: dict[str, Any], fits: bool
) -> None:
    validate = fastjsonschema.compile(catalogue(archive=False).routing_schema())
    try:
        validate(request(**params))
    except fastjsonschema.JsonSchemaException:
        assert not fits
    else:
        assert fits


def test_a_worker_without_plugins_fits_nothing() -> None:
    with pytest.raises(fastjsonschema.JsonSchemaException):
        fastjsonschema.compile(SourceCatalogue().routing_schema())(request(deployment_mode="simple"))


def test_the_routing_schema_survives_the_scripts_of_the_orchestrators_redis() -> None:
    # Lua has one kind of table: an empty object comes back as an empty list, which is no schema.
    for each in (catalogue(), SourceCatalogue()):
        assert "{}" not in json.dumps(each.routing_schema())
