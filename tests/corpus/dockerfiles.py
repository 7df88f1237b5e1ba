"""Hostile Dockerfiles, each inside an archive of its own."""

import base64
import bz2
import json
import lzma
from collections.abc import Callable, Mapping
from typing import Any

from tests.conftest import BASE_IMAGE
from tests.corpus.case import Case
from tests.corpus.registries import OPEN, fake_registry, real_registry
from tests.corpus.servers import FORBIDDEN, Servers
from tests.corpus.tars import END, gzipped, header, member, tar

from bot_runner_worker.model.quantities import MIB

FROM = f"FROM {BASE_IMAGE}\n"
REFUSED = "DOCKERFILE_REFUSED"
INVALID = "INVALID_DOCKERFILE"
FAILED = "BUILD_FAILED"
NAME = "INVALID_IMAGE_NAME"
MARKER = f"{FORBIDDEN}:PORT"
"""The marker, at an address that the settings do not open."""


def case(
    name: str,
    dockerfile: str | bytes,
    code: str | tuple[str, ...],
    files: Callable[[], Mapping[str, bytes]] = dict,
    **more: Any,
) -> Case:
    """A Dockerfile, with more files beside it; ``PORT`` in it is the marker's."""

    def params(servers: Servers) -> Mapping[str, Any]:
        text = dockerfile.encode() if isinstance(dockerfile, str) else dockerfile
        text = text.replace(b"PORT", str(servers.marker.port).encode())
        members = [member(path, content) for path, content in files().items()]
        archive = tar(member("Dockerfile", text), member("bot.py", b"print(1)\n"), *members)
        return {"deployment_mode": "custom", "archive": base64.b64encode(archive).decode()}

    return Case(f"dockerfile-{name}", params, code, **more)


def instruction(name: str, line: str, code: str | tuple[str, ...], **more: Any) -> Case:
    """A Dockerfile on the base image, with one more instruction."""
    return case(name, f"{FROM}{line}\n", code, **more)


def added(name: str, line: str, make: Callable[[], bytes], path: str = "x.tar.gz") -> Case:
    """An ``ADD`` of a file that the Engine would unpack."""
    return instruction(f"add-{name}", line, REFUSED, files=lambda: {path: make()})


def zeros() -> bytes:
    """A gzipped tar of 256 MiB of zeros."""
    size = 256 * MIB
    return gzipped([header("zeros", size), *[bytes(MIB)] * 256, END])


def python(name: str, code: str, expected: str | tuple[str, ...], **more: Any) -> Case:
    """A step that runs Python."""
    return instruction(name, f'RUN ["python3", "-c", {json.dumps(code)}]', expected, **more)


def base(name: str, make: Any, code: str | tuple[str, ...], template: str = "FROM {}\n", **more: Any) -> Case:
    """A Dockerfile on an image of a registry that is made when it is tried."""

    def params(servers: Servers) -> Mapping[str, Any]:
        archive = tar(member("Dockerfile", template.format(make(servers)).encode()))
        return {"deployment_mode": "custom", "archive": base64.b64encode(archive).decode()}

    return Case(f"dockerfile-{name}", params, code, settings=OPEN, **more)


def volume(name: str, step: str, path: str, code: str = "IMAGE_REFUSED") -> Case:
    """A Dockerfile whose volume does not end up where it seems to."""
    text = f"{FROM}RUN {step}\nVOLUME {path}\nCMD sleep 99\n"
    return case(f"volume-{name}", text, code, kept=code != FAILED)


SMALL = tar(member("x", b"x"))
WRITES = "".join(f"RUN head -c 90M /dev/zero > /x{n}\n" for n in range(6))
LIMITED = {"max_image_size": "200m"}

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
    # The Engine as an unpacker: ADD of an archive, outside the limits of a build.
    added("bomb", "ADD x.tar.gz /x", zeros),
    added("bomb-bzip2", "ADD x.tar.gz /x", lambda: bz2.compress(SMALL + bytes(16 * MIB))),
    added("bomb-xz", "ADD x.tar.gz /x", lambda: lzma.compress(SMALL + bytes(16 * MIB))),
    added("bomb-zstd", "ADD x.tar.gz /x", lambda: b"\x28\xb5\x2f\xfd" + bytes(64)),
    added("archive-plain", "ADD x.tar.gz /x", lambda: SMALL),
    added("archive-in-disguise", "ADD notes.txt /x", lambda: gzipped([SMALL]), "notes.txt"),
    added("archive-by-pattern", "ADD n?te[^a].* /x", lambda: gzipped([SMALL]), "notes.txt"),
    added("archive-json", 'ADD ["x\\u002etar.gz", "/x"]', lambda: SMALL),
    added("archive-quoted", "ADD 'x'.t\"ar\".gz /x", lambda: SMALL),
    added("archive-escaped", "ADD x\\.tar.gz /x", lambda: SMALL),
    added("archive-from-above", "ADD ../y/../x.tar.gz /x", lambda: SMALL),
    added("archive-among-files", "ADD --chown=1:1 bot.py ./x.tar.gz /x/", lambda: SMALL),
    added("archive-with-a-link", "ADD x.tar.gz /x", lambda: tar(member("l", b"", b"2", link="/etc"))),
    instruction("add-many-sources", "ADD" + " bot.py" * 40 + " /x/", REFUSED),
    # The Engine as a copier, likewise.
    instruction(
        "copy-the-same-again",
        "COPY " + " ".join("/".join("abcdefghi"[:n]) for n in range(1, 10)) + " /x/",
        REFUSED,
        files=lambda: {"a/b/c/d/e/f/g/h/i/big": bytes(4 * MIB)},
        settings={"max_image_size": "32m"},
    ),
    case("copy-hard-links", f"{FROM.strip()} AS a\nRUN ln /x /y\n{FROM}COPY --from=a /l* /x/\n", REFUSED),
    case(
        "copy-hard-links-by-variable",
        f"{FROM.strip()} AS a\nRUN ln /x /y\n{FROM}ENV L=/l*\nCOPY --from=a $L /x/\n",
        REFUSED,
        engine=True,
    ),
    case(
        "copy-endless-list",
        f"{FROM.strip()} AS a\n{FROM}COPY --from=a{' /x' * 600} /y/\n",
        INVALID,
    ),
    case("sum-of-steps", f"{FROM}{WRITES}RUN sleep 100\n", "BUILD_LIMIT_EXCEEDED", settings=LIMITED),
    case(
        "sum-of-copies",
        f"{FROM.strip()} AS a\nRUN head -c 90M /dev/zero > /x\n{FROM}"
        + "".join(f"COPY --from=a /x /y{n}\n" for n in range(6))
        + "RUN sleep 100\n",
        "BUILD_LIMIT_EXCEEDED",
        settings=LIMITED,
    ),
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
    instruction("8-bit-controls-and-bidi", "RUN printf '\\302\\233[2J\\342\\200\\256x'; false", FAILED),
    instruction("false-progress", f"RUN echo 'Step {'9' * 5000}/1 : x'; false", FAILED),
    instruction("volumes-in-proc", "VOLUME /proc/sys", "IMAGE_REFUSED"),
    # Links that lead a volume out of the image's own files.
    volume("link-to-proc", "ln -s /proc/self /p", "/p/attr"),
    volume("link-without-root", "mkdir /q && ln -s ../proc/self /q/p", "/q/p/attr"),
    volume("links-in-a-row", "ln -s /b /a && ln -s c /b && ln -s /proc /c", "/a/sys/kernel"),
    volume("link-that-goes-up", "ln -s /tmp/../proc/self/. /p", "/p/attr"),
    volume("link-at-the-end", "ln -s /sys/kernel /p", "/p"),
    volume("link-to-the-root", "ln -s /tmp/.. /p", "/p", "START_FAILED"),
    volume("links-in-a-circle", "ln -s /b/x /a && ln -s /a/x /b", "/a/x", FAILED),
    volume("link-to-devices", "ln -s /dev /p", "/p/shm"),
    volume("over-a-file", "touch /p", "/p", FAILED),
    volume("below-a-file", "touch /p", "/p/x", FAILED),
    volume("link-before-a-step", "ln -s /proc/self /p", "/p/attr\nRUN true"),
    instruction("step-that-is-not-there", 'RUN ["/no/such"]', FAILED),
    instruction("a-thousand-volumes", "VOLUME " + " ".join(f"/v{n}" for n in range(1000)), "IMAGE_REFUSED"),
    case("a-thousand-steps", FROM + "RUN true\n" * 1000, INVALID),
    case("half-a-megabyte", FROM + "#" * 500_000, INVALID),
    case("endless-instruction", FROM + "RUN true" + " \\\n" * 100_000, INVALID),
    case("not-text", b"FROM x\n\xff\xfe\n", INVALID),
    case("empty", "", INVALID),
    case("unknown-instruction", f"{FROM}INCLUDE /etc/passwd\n", INVALID),
]  # fmt: skip
