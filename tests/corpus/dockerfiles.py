"""Hostile Dockerfiles, each inside an archive of its own."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from tests.conftest import BASE_IMAGE
from tests.corpus.case import Case
from tests.corpus.registries import OPEN, fake_registry, real_registry
from tests.corpus.servers import FORBIDDEN, Servers
from tests.corpus.tars import member, tar

FROM = f"FROM {BASE_IMAGE}\n"
REFUSED = "DOCKERFILE_REFUSED"
INVALID = "INVALID_DOCKERFILE"
FAILED = "BUILD_FAILED"
NAME = "INVALID_IMAGE_NAME"
MARKER = f"{FORBIDDEN}:PORT"
"""The marker, at an address that the settings do not open."""


def case(name: str, dockerfile: str | bytes, code: str | tuple[str, ...], **more: Any) -> Case:
    """A Dockerfile; ``PORT`` in it is the marker's."""

    def params(servers: Servers) -> Mapping[str, Any]:
        text = dockerfile.encode() if isinstance(dockerfile, str) else dockerfile
        text = text.replace(b"PORT", str(servers.marker.port).encode())
        archive = tar(member("Dockerfile", text), member("bot.py", b"print(1)\n"))
        return {"deployment_mode": "custom", "archive": base64.b64encode(archive).decode()}

    return Case(f"dockerfile-{name}", params, code, **more)


def instruction(name: str, line: str, code: str | tuple[str, ...], **more: Any) -> Case:
    """A Dockerfile on the base image, with one more instruction."""
    return case(name, f"{FROM}{line}\n", code, **more)


def python(name: str, code: str, expected: str | tuple[str, ...], **more: Any) -> Case:
    """A step that runs Python."""
    return instruction(name, f'RUN ["python3", "-c", {json.dumps(code)}]', expected, **more)


def base(name: str, make: Any, code: str | tuple[str, ...], template: str = "FROM {}\n", **more: Any) -> Case:
    """A Dockerfile on an image of a registry that is made when it is tried."""

    def params(servers: Servers) -> Mapping[str, Any]:
        archive = tar(member("Dockerfile", template.format(make(servers)).encode()))
        return {"deployment_mode": "custom", "archive": base64.b64encode(archive).decode()}

    return Case(f"dockerfile-{name}", params, code, settings=OPEN, **more)


FORK_BOMB = """
import os, time
try:
    while True:
        if os.fork() == 0:
            time.sleep(60)
except OSError as error:
    raise SystemExit(str(error))
"""

CASES = [
    # The Engine as a client: remote ADD.
    instruction("add-marker", f"ADD http://{MARKER}/x /x", REFUSED),
    instruction("add-metadata", "ADD http://169.254.169.254/latest/meta-data/ /x", REFUSED),
    instruction("add-https", "ADD https://example.com/x.tar.gz /x", REFUSED),
    instruction("add-among-files", f"ADD bot.py http://{MARKER}/x /x/", REFUSED),
    instruction("add-json", f'ADD ["http://{MARKER}/x", "/x"]', REFUSED),
    instruction("add-json-escapes", f'ADD ["http:\\u002f\\u002f{MARKER}/x", "/x"]', REFUSED),
    instruction("add-json-with-tail", f'ADD ["http:\\u002f\\u002f{MARKER}/x", "/x"] tail', INVALID),
    instruction("add-escaped", f"ADD ht\\tp://{MARKER}/x /x", REFUSED),
    instruction("add-quoted", f'ADD "http"://{MARKER}/x /x', REFUSED),
    instruction("add-after-flags-end", f"ADD -- http://{MARKER}/x /x", (REFUSED, INVALID)),
    instruction("add-continued", f"ADD \\\n# comment\n  http://{MARKER}/x /x", REFUSED),
    instruction("add-variable", f"ARG U=http://{MARKER}/x\nADD $U /x", REFUSED),
    instruction("add-variable-part", f"ENV U=http\nADD ${{U}}://{MARKER}/x /x", REFUSED),
    instruction("add-variable-default", f"ADD ${{NOTHING:-http}}://{MARKER}/x /x", REFUSED),
    instruction("add-git", f"ADD git://{MARKER}/x.git /x", REFUSED),
    instruction("onbuild-add", f"ONBUILD ADD http://{MARKER}/x /x", REFUSED),
    case(
        "onbuild-in-a-stage",
        f"{FROM.strip()} AS a\nONBUILD ADD http://{MARKER}/x /x\nFROM a\n",
        REFUSED,
    ),
    case("escape-hides-add", f"# escape=`\n{FROM}RUN false `\n\nADD http://{MARKER}/x /x\n", FAILED),
    case("double-escape-hides-add", f"{FROM}RUN true \\\\\nADD http://{MARKER}/x /x\n", INVALID),
    case("here-document-hides-add", f"{FROM}RUN <<EOF\nADD http://{MARKER}/x /x\nEOF\n", INVALID),
    case("nul-hides-add", f"{FROM}RUN true\0\nADD http://{MARKER}/x /x\n", INVALID),
    case("syntax-directive", f"# syntax={MARKER}/frontend\n{FROM}RUN false\n", FAILED),
    # Images that are not the tenant's to use.
    case("from-marker", f"FROM {MARKER}/x\n", "ADDRESS_DENIED", settings=OPEN),
    case("from-marker-closed", f"FROM {MARKER}/x\n", "REGISTRY_DENIED"),
    case("from-metadata", "FROM 169.254.169.254/x\n", "ADDRESS_DENIED", settings=OPEN),
    case("from-localhost", "FROM localhost:PORT/x\n", "REGISTRY_DENIED"),
    case("from-argument", f"ARG H={MARKER}\nFROM ${{H}}/x\n", "ADDRESS_DENIED", settings=OPEN),
    case("copy-from-marker", f"{FROM}COPY --from={MARKER}/x / /\n", "ADDRESS_DENIED", settings=OPEN),
    case("copy-from-variable", f"{FROM}ARG I={MARKER}/x\nCOPY --from=$I / /\n", INVALID),
    case("mount-from", f"{FROM}RUN --mount=from={MARKER}/x,target=/x true\n", INVALID),
    case("from-id", f"FROM sha256:{'0' * 64}\n", NAME),
    case("from-bare-id", f"FROM {'0' * 64}\n", NAME),
    case("from-own-repository", "FROM bot-runner/default:0123456789\n", NAME),
    case("from-own-repository-in-full", "FROM index.docker.io/bot-runner/default:0123456789\n", NAME),
    case("copy-from-own-repository", f"{FROM}COPY --from=bot-runner/default:01 / /\n", NAME),
    case("copy-from-id", f"{FROM}COPY --from={'0' * 64} / /\n", NAME),
    case("from-with-password", "FROM me:sentinel-from@127.0.0.2/x\n", NAME, secrets=("sentinel-from",)),
    case("from-other-platform", f"FROM --platform=linux/s390x {BASE_IMAGE}\n", "PLATFORM_MISMATCH"),
    case("from-nothing", "FROM $NOTHING\n", INVALID),
    base("from-missing", lambda servers: f"{real_registry().host}/acme/missing", "IMAGE_NOT_FOUND"),
    base("from-private", lambda servers: f"{real_registry(private=True).host}/a/b", "IMAGE_ACCESS_DENIED"),
    base(
        "from-onbuild",
        lambda servers: real_registry().put_image(
            "corpus/onbuild:1", config={"OnBuild": [f"ADD http://{FORBIDDEN}:{servers.marker.port}/x /x"]}
        ),
        REFUSED,
        engine=True,
    ),
    base("from-rate-limited", lambda servers: f"{fake_registry(429).host}/a/b", "REGISTRY_RATE_LIMITED"),
    # Posing as somebody else.
    instruction("label-of-a-bot", "LABEL io.avtomatika.bot-runner.role=bot", REFUSED),
    instruction("label-escaped", "LABEL io.avtomatika.bot\\-runner.role=bot", REFUSED),
    instruction("label-variable", "ARG P=io.avtomatika\nLABEL $P.bot-runner.role=bot", REFUSED),
    # Privileges.
    instruction("insecure", "RUN --security=insecure true", INVALID),
    instruction("host-network", "RUN --network=host true", INVALID),
    instruction("secret-mount", "RUN --mount=type=secret,id=x cat /run/secrets/x", INVALID),
    instruction("mount", "RUN mount -t tmpfs none /mnt", FAILED),
    instruction("raw-disk", "RUN mknod /x b 8 0 && cat /x", FAILED),
    instruction("engine-socket", "RUN cat /var/run/docker.sock", FAILED),
    instruction("kernel-setting", "RUN echo 1 > /proc/sys/kernel/panic", FAILED),
    instruction("copy-from-above", "COPY ../../../etc/shadow /x", FAILED),
    instruction("add-absolute", "ADD /etc/shadow /x", FAILED),
    # Using up what others need.
    python("fork-bomb", FORK_BOMB, FAILED, settings={"build_pids_limit": 64}),
    python("memory", "bytearray(500_000_000)", FAILED, settings={"build_memory_limit": "64m"}),
    instruction("file-of-10-gb", "RUN truncate -s 10G /x", FAILED),
    instruction("written-file-of-10-gb", "RUN dd if=/dev/zero of=/x bs=1M count=10000", FAILED,
        settings={"max_image_size": "200m"}),
    python(
        "many-files",
        "import time\nfor n in range(99): open(f'/f{n}', 'wb').write(bytes(30_000_000)); time.sleep(.1)",
        ("BUILD_LIMIT_EXCEEDED", FAILED),
        settings={"max_image_size": "200m"},
    ),
    instruction("endless-build", "RUN sleep 1000", "BUILD_TIMED_OUT", settings={"build_timeout_seconds": 2}),
    instruction("endless-output", "RUN yes", "BUILD_LIMIT_EXCEEDED", settings={"build_output_limit": "1m"}),
    instruction("endless-line", "RUN head -c 50000000 /dev/zero | tr '\\0' a", "BUILD_LIMIT_EXCEEDED"),
    instruction("endless-line-that-fails", "RUN head -c 9000000 /dev/zero | tr '\\0' a; false", FAILED),
    instruction("control-sequences", "RUN printf '\\033]0;owned\\007\\033[2J'; false", FAILED),
    instruction("false-progress", f"RUN echo 'Step {'9' * 5000}/1 : x'; false", FAILED),
    instruction("volumes-in-proc", "VOLUME /proc/sys", "IMAGE_REFUSED"),
    instruction("a-thousand-volumes", "VOLUME " + " ".join(f"/v{n}" for n in range(1000)), "IMAGE_REFUSED"),
    case("a-thousand-steps", FROM + "RUN true\n" * 1000, INVALID),
    case("half-a-megabyte", FROM + "#" * 500_000, INVALID),
    case("endless-instruction", FROM + "RUN true" + " \\\n" * 100_000, INVALID),
    case("not-text", b"FROM x\n\xff\xfe\n", INVALID),
    case("empty", "", INVALID),
    case("unknown-instruction", f"{FROM}INCLUDE /etc/passwd\n", INVALID),
]  # fmt: skip
