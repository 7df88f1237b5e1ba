"""Hostile image names, registries and images."""

from collections.abc import Callable, Mapping
from typing import Any

from tests.corpus.case import Case
from tests.corpus.registries import OPEN, fake_registry, real_registry
from tests.corpus.servers import FORBIDDEN, Servers
from tests.registry import USERNAME

NAME = "INVALID_IMAGE_NAME"
AUTH = "INCOMPLETE_REGISTRY_AUTH"
CLOSED = "REGISTRY_DENIED"
DENIED = "ADDRESS_DENIED"
FAILED = ("IMAGE_PULL_FAILED", "REGISTRY_UNAVAILABLE", "IMAGE_NOT_FOUND")
SECRET = "sentinel-registry-password"
CREDENTIALS = {"username": USERNAME, "password": "sentinel-wrong-password"}

Make = Callable[[Servers], str]


def _leading_to(servers: Servers, behaviour: str) -> str:
    """An image whose registry names the marker as the next address."""
    marker = f"http://{FORBIDDEN}:{servers.marker.port}/x"
    return f"{fake_registry(behaviour, marker).host}/a/b"


def name(case: str, docker_image: Any, code: str | tuple[str, ...] = NAME, **more: Any) -> Case:
    """An image name that goes nowhere; ``PORT`` in it is the marker's."""

    def params(servers: Servers) -> Mapping[str, Any]:
        text = docker_image
        if isinstance(text, str):
            text = text.replace("PORT", str(servers.marker.port))
        return {"deployment_mode": "image", "docker_image": text}

    return Case(f"image-{case}", params, code, **more)


def auth(case: str, registry_auth: Any, code: str = AUTH) -> Case:
    """Credentials that are not."""
    params = {"deployment_mode": "image", "docker_image": "me/bot", "registry_auth": registry_auth}
    return Case(f"image-auth-{case}", params, code, secrets=(SECRET,))


def pulled(case: str, make: Make, code: str | tuple[str, ...], **more: Any) -> Case:
    """An image of a registry that the settings open."""
    params = more.pop("params", {})
    settings = {**OPEN, **more.pop("settings", {})}

    def made(servers: Servers) -> Mapping[str, Any]:
        return {"deployment_mode": "image", "docker_image": make(servers), **params}

    return Case(f"image-{case}", made, code, settings=settings, **more)


def made(case: str, code: str | tuple[str, ...], /, **image: Any) -> Case:
    """An image that is refused for what it is; see :meth:`tests.registry.Registry.put_image`."""
    settings = image.pop("settings", {})
    return pulled(
        case, lambda servers: real_registry().put_image(f"corpus/{case}:1", **image), code, settings=settings
    )


def misbehaving(case: str, behaviour: int | str, code: str | tuple[str, ...], **more: Any) -> Case:
    """A registry that misbehaves."""
    return pulled(f"registry-{case}", lambda servers: f"{fake_registry(behaviour).host}/a/b", code, **more)


CASES = [
    # Names.
    name("none", None, "MISSING_DOCKER_IMAGE"),
    name("empty", "", "MISSING_DOCKER_IMAGE"),
    name("space", " "),
    name("number", 7),
    name("list", ["python"]),
    name("object", {"$ne": ""}),
    name("option", "--privileged"),
    name("upper-case", "Me/Bot"),
    name("traversal", "../../etc/passwd"),
    name("newline", "python\nFROM x"),
    name("nul", "python\0:latest"),
    name("other-script", "\u0440ython"),
    name("variable", "$IMAGE"),
    name("url", "http://127.0.0.2:PORT/x"),
    name("password", f"me:{SECRET}@127.0.0.2:PORT/x", secrets=(SECRET,)),
    name("query", "python?x=y"),
    name("hundred-kilobytes", "a" * 100_000),
    name("tag-too-long", "python:" + "a" * 129),
    name("short-digest", "python@sha256:abc"),
    name("backtracking", "a-" * 250 + "!"),
    # Local images.
    name("id", "sha256:" + "0" * 64),
    name("bare-id", "0" * 64),
    name("own-repository", "bot-runner/default:0123456789"),
    name("own-repository-in-full", "docker.io/bot-runner/default:0123456789"),
    name("own-repository-by-alias", "index.docker.io/bot-runner/default:0123456789"),
    # Registries that are closed, and inner addresses behind those that are open.
    name("marker-closed", f"{FORBIDDEN}:PORT/x", CLOSED),
    name("localhost-closed", "localhost:PORT/x", CLOSED),
    name("unknown-registry", "registry.invalid/x", CLOSED),
    name("well-known-with-port", "ghcr.io:PORT/x", CLOSED),
    name("well-known-as-prefix", "ghcr.io.invalid/x", CLOSED),
    name("denied", "ghcr.io/x", CLOSED, settings={"registries_denied": "ghcr.io"}),
    name("marker", f"{FORBIDDEN}:PORT/x", DENIED, settings=OPEN),
    name("marker-short", "127.2:PORT/x", DENIED, settings=OPEN),
    name("marker-hexadecimal", "0x7f.2:PORT/x", DENIED, settings=OPEN),
    name("marker-decimal", "2130706434:PORT/x", DENIED, settings=OPEN),
    name("marker-by-name", "inner.example:PORT/x", DENIED, settings=OPEN),
    name("two-faces", "mixed.example:PORT/x", DENIED, settings=OPEN),
    name("metadata", "169.254.169.254/latest/meta-data", DENIED, settings=OPEN),
    name("metadata-by-name", "metadata.example/x", DENIED, settings=OPEN),
    name("private", "10.0.0.1:5000/x", DENIED, settings=OPEN),
    name("any-address", "0.0.0.0:PORT/x", DENIED, settings=OPEN),
    name("nobody", "nobody.invalid/x", "HOST_NOT_FOUND", settings=OPEN),
    name("ipv6", "[::1]:PORT/x", NAME, settings=OPEN),
    # Credentials.
    auth("empty", {}),
    auth("no-username", {"password": SECRET}),
    auth("no-password", {"username": "me"}),
    auth("empty-password", {"username": "me", "password": ""}),
    auth("null", {"username": "me", "password": None}),
    auth("text", SECRET),
    auth("list", ["me", SECRET]),
    auth("more", {"username": "me", "password": SECRET, "serveraddress": "127.0.0.2"}, "UNKNOWN_FIELD"),
    pulled("private-without-password", lambda servers: f"{real_registry(private=True).host}/a/b",
        "IMAGE_ACCESS_DENIED"),
    pulled("wrong-password", lambda servers: f"{real_registry(private=True).host}/a/b",
        "REGISTRY_AUTH_FAILED", params={"registry_auth": CREDENTIALS}, secrets=(CREDENTIALS["password"],)),
    # Registries that misbehave.
    pulled("missing", lambda servers: f"{real_registry().host}/corpus/missing:1", "IMAGE_NOT_FOUND"),
    misbehaving("rate-limit", 429, "REGISTRY_RATE_LIMITED"),
    misbehaving("broken", 500, "REGISTRY_UNAVAILABLE"),
    misbehaving("overloaded", 503, "REGISTRY_UNAVAILABLE"),
    misbehaving("silent", "silent", "IMAGE_PULL_TIMED_OUT", settings={"pull_timeout_seconds": 2}),
    misbehaving("huge-answer", "huge", FAILED),
    misbehaving("garbage", "garbage", FAILED),
    misbehaving("html", "html", FAILED),
    misbehaving("another-manifest", "another-manifest", FAILED),
    pulled("layer-of-another-server", lambda servers: _leading_to(servers, "layer-url"), FAILED),
    pulled("registry-down", lambda servers: "127.0.0.1:1/a/b", "REGISTRY_UNAVAILABLE"),
    # Images.
    made("no-command", "START_FAILED"),
    made("missing-user", "START_FAILED", config={"Cmd": ["/empty"], "User": "nobody-knows"}),
    made("volume-at-root", "IMAGE_REFUSED", config={"Volumes": {"/": {}}}),
    made("volume-over-proc", "IMAGE_REFUSED", config={"Volumes": {"/proc": {}}}),
    made("volume-traversal", "IMAGE_REFUSED", config={"Volumes": {"/data/../etc": {}}}),
    made("volume-with-options", "IMAGE_REFUSED", config={"Volumes": {"/data:exec,size=9g": {}}}),
    made("a-thousand-volumes", "IMAGE_REFUSED", config={"Volumes": {f"/v{n}": {} for n in range(1000)}}),
]  # fmt: skip
