"""What of a service a bot is made of, what is refused by name, and what is noted."""

from typing import Any

import pytest

from bot_runner_compose_service.document import read_document
from bot_runner_compose_service.keys import BUILD_IGNORED, BUILD_REFUSED, IGNORED, REFUSED, TAKEN
from bot_runner_compose_service.service import Build, Service, find_service
from bot_runner_worker.model.errors import Rejected

MIB = 1024**2


def service(text: str, name: str | None = "bot") -> Service:
    return find_service(read_document(text.encode()), name)


def of(**keys: Any) -> Service:
    """A service with these keys, and an image."""
    return find_service({"services": {"bot": {"image": "python:3.12-slim", **keys}}}, None)


def refusal(**keys: Any) -> Rejected:
    with pytest.raises(Rejected) as raised:
        of(**keys)
    return raised.value


def test_a_usual_file() -> None:
    found = service(
        """
        version: "3.8"
        x-logging: &logging {driver: json-file}
        services:
          db: {image: "postgres:16", privileged: true}
          bot:
            build: {context: ./bot, dockerfile: docker/Dockerfile}
            command: python -m bot --name "my bot"
            environment:
              - BOT_TOKEN
              - MODE=${MODE:-polling}
              - PRICE=5$$
            user: 22:22
            working_dir: /srv
            tmpfs: [/run, "/tmp:size=16m,mode=1777"]
            volumes: ["data:/data"]
            restart: unless-stopped
            depends_on: [db]
            logging: *logging
        volumes: {data: {}}
        """
    )
    assert found.build == Build("./bot", "docker/Dockerfile")
    assert found.command == ("python", "-m", "bot", "--name", "my bot")
    assert found.entrypoint is None
    assert found.environment == {"MODE": "polling", "PRICE": "5$"}
    assert (found.user, found.working_dir) == ("22:22", "/srv")
    assert found.tmpfs == {"/run": 64 * MIB, "/tmp": 16 * MIB, "/data": 64 * MIB}
    notes = " | ".join(found.notes)
    for word in ("restart", "logging", "depends_on", "only this one service", "/data"):
        assert word in notes


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"A": "1", "B": None}, {"A": "1"}),
        (["A=1=2", "B", "C="], {"A": "1=2", "C": ""}),
        # The request's own variable of the same name, however it is written.
        ({"A": "$A", "B": "${B}", "C": "${C:?missing}", "D": "${D?}"}, {}),
        ({"A": "${A:-x}", "B": "${B-}", "C": "${C:+y}"}, {"A": "x", "B": "", "C": ""}),
        ({"A": "x${B:-${C:-deep}}y"}, {"A": "xdeepy"}),
    ],
)
def test_environment(environment: Any, expected: dict[str, str]) -> None:
    assert of(environment=environment).environment == expected


@pytest.mark.parametrize(
    ("keys", "variable"),
    [
        ({"environment": {"URL": "https://$HOST/"}}, "HOST"),
        ({"environment": {"A": "${B:?no}"}}, "B"),
        ({"image": "bot:${TAG}"}, "TAG"),
        ({"command": ["run", "${WHAT}"]}, "WHAT"),
    ],
)
def test_a_variable_without_a_value_is_refused_instead_of_becoming_nothing(keys: Any, variable: str) -> None:
    error = refusal(**keys)
    assert (error.code, error.details["variable"]) == ("COMPOSE_VARIABLE_UNSET", variable)


# What a file may hold of each refused key.
ASKED: dict[str, Any] = {
    **{key: ["x"] for key in REFUSED},
    "privileged": "true",
    "network_mode": "host",
    "pid": "host",
    "ipc": "host",
    "security_opt": ["seccomp:unconfined"],
}


@pytest.mark.parametrize("key", REFUSED)
def test_what_bots_do_not_get_is_refused_by_name_with_a_hint(key: str) -> None:
    error = refusal(**{key: ASKED[key]})
    assert error.code == "COMPOSE_KEY_REFUSED"
    assert key in error.message
    assert error.details["refused"] == {key: REFUSED[key]}
    assert error.hint == f"{key}: {REFUSED[key]}"


@pytest.mark.parametrize("key", BUILD_REFUSED)
def test_what_builds_do_not_get_is_refused_by_name(key: str) -> None:
    with pytest.raises(Rejected) as raised:
        find_service({"services": {"bot": {"build": {"context": ".", key: ["x"]}}}}, None)
    assert raised.value.details["refused"] == {f"build.{key}": BUILD_REFUSED[key]}


def test_all_that_is_refused_is_said_at_once() -> None:
    error = refusal(privileged="true", ports=["80:80"], devices=["/dev/kvm"])
    assert set(error.details["refused"]) == {"privileged", "ports", "devices"}


@pytest.mark.parametrize("key", IGNORED)
def test_what_means_nothing_here_is_noted(key: str) -> None:
    assert any(key in note for note in of(**{key: "x"}).notes)


def test_what_asks_for_nothing_is_no_matter() -> None:
    harmless = {"privileged": "false", "ports": [], "devices": None, "network_mode": "bridge"}
    assert of(**harmless, security_opt=["no-new-privileges:true"], image="a").image == "a"
    for key in BUILD_IGNORED:
        find_service({"services": {"bot": {"build": {"context": ".", key: "x"}}}}, None)


def test_no_key_is_in_two_lists() -> None:
    lists = [set(REFUSED), set(IGNORED), set(TAKEN)]
    assert sum(map(len, lists)) == len(set.union(*lists))


@pytest.mark.parametrize(
    "volume",
    [
        *("./data:/data", "/var/run/docker.sock:/var/run/docker.sock", "~/x:/x", "../x:/x:ro", "C:\\x:/x"),
        {"type": "bind", "source": "/", "target": "/host"},
        {"type": "npipe", "source": "x", "target": "/x"},
    ],
)
def test_folders_of_the_host_are_refused(volume: Any) -> None:
    error = refusal(volumes=[volume])
    assert error.code == "COMPOSE_KEY_REFUSED"
    assert "volumes" in error.hint


@pytest.mark.parametrize(
    "keys",
    [
        {"volumes": ["data:/proc/x"]},
        {"volumes": ["data:/a/../.."]},
        {"volumes": ["${DATA}:/x"]},
        {"volumes": "data:/data"},
        {"tmpfs": "/"},
        {"tmpfs": "/x:size=0"},
        {"tmpfs": "/x:size=-1"},
        {"tmpfs": "/x:size=99999999g"},
        {"tmpfs": "relative"},
        {"user": "a b"},
        {"user": ["root"]},
        {"working_dir": "srv"},
        {"working_dir": "/a/../b"},
        {"command": 'a "b'},
        {"command": {"a": "b"}},
        {"command": [["a"]]},
        {"entrypoint": ["a", None, {"b": "c"}]},
        {"environment": ["1A=x"]},
        {"environment": ["=x"]},
        {"environment": {"A": ["x"]}},
        {"environment": "A=x"},
        {"environment": {"A": "${"}},
        {"environment": {"A": "${B"}},
        {"environment": {"A": "${B:-" * 2000}},
        {"environment": {"A": "$1"}},
        {"image": ["a"]},
        {"comand": "a typing error"},
        {"build": ["."]},
        {"build": {"context": ".", "dockerfil": "x"}},
    ],
)
def test_what_makes_no_sense_is_refused(keys: Any) -> None:
    error = refusal(**keys)
    assert error.code == "INVALID_COMPOSE_FILE"
    assert error.hint


def test_services_are_found_by_name_or_as_the_only_one() -> None:
    two = "services: {bot: {image: a}, db: {image: b}}"
    assert service(two, "db").image == "b"
    for name in (None, "web"):
        with pytest.raises(Rejected) as raised:
            service(two, name)
        assert raised.value.code == "COMPOSE_SERVICE_NOT_FOUND"
        assert "bot, db" in raised.value.hint
    for nothing in (
        "services: {}",
        "services: []",
        "version: '3'",
        "services: {bot: }",
        "services: {bot: {}}",
    ):
        with pytest.raises(Rejected):
            service(nothing)
    with pytest.raises(Rejected):
        service("include: [other.yaml]\nservices: {bot: {image: a}}")
