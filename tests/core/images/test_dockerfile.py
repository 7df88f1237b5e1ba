"""Dockerfiles of tenants: read as the builder reads them, and refused where they reach too far."""

import bz2
import gzip
import lzma
from collections.abc import Mapping

import pytest
from tests.corpus.tars import tar_of

from bot_runner_worker.images import dockerfile as dockerfiles
from bot_runner_worker.images.context import BuildContextWriter
from bot_runner_worker.model.errors import Rejected
from bot_runner_worker.model.image import Image, ImageReference

LABELS = {"io.avtomatika.bot-runner.role": "build"}
LABEL_LINE = 'LABEL "io.avtomatika.bot-runner.role"="build"'
PREFIX = "io.avtomatika.bot-runner."


MIB = 1024 * 1024


def vet(
    text: str, files: Mapping[str, bytes] | None = None, max_image_size: int = 64 * MIB
) -> dockerfiles.VettedDockerfile:
    with BuildContextWriter(max_size=16 * MIB) as writer:
        writer.add("Dockerfile", text)
        for path, content in (files or {}).items():
            writer.add(path, content)
        context = writer.finish()
    try:
        return dockerfiles.vet(dockerfiles.parse(text.encode()), "linux/amd64", context, max_image_size)
    finally:
        context.close()


def images_of(text: str) -> list[str]:
    return [image.familiar for image in vet(text).images]


def rendered(text: str, files: Mapping[str, bytes] | None = None, **image: object) -> list[str]:
    vetted = vet(text, files)
    images = {each: Image(f"ID({each.familiar})", each.familiar, **image) for each in vetted.images}  # type: ignore[arg-type]
    return str(vetted.resolved(images, LABELS)).splitlines()


def refusal(text: str, files: Mapping[str, bytes] | None = None, max_image_size: int = 64 * MIB) -> Rejected:
    with pytest.raises(Rejected) as caught:
        vet(text, files, max_image_size)
    assert caught.value.hint
    return caught.value


def test_the_engine_gets_ids_and_labels_and_one_instruction_a_line() -> None:
    text = """\
# syntax=docker/dockerfile:1
# a comment
ARG VERSION=3.12
from  python:${VERSION}-slim   as Build
RUN pip install \\
    # a comment in the middle
    aiogram \\

    httpx
COPY --chown=1:1 . /app

FROM build
COPY --from=build --chown=1:1 /app /app
COPY --from=0 /a /b
COPY --from=ghcr.io/astral-sh/uv:0.8 --link /uv /bin/
CMD ["python", "bot.py"]
"""
    assert rendered(text) == [
        "ARG VERSION=3.12",
        "FROM ID(python:3.12-slim) AS build",
        LABEL_LINE,
        "RUN pip install     aiogram     httpx",
        "COPY --chown=1:1 . /app",
        "FROM build",
        LABEL_LINE,
        "COPY --from=build --chown=1:1 /app /app",
        "COPY --from=0 /a /b",
        "COPY --from=ID(ghcr.io/astral-sh/uv:0.8) /uv /bin/",
        'CMD ["python", "bot.py"]',
    ]


def test_another_escape_character_is_kept() -> None:
    text = "# escape=`\nFROM python\nRUN a `\n b\nWORKDIR C:\\x\n"
    assert rendered(text) == [
        "# escape=`", "FROM ID(python:latest)", LABEL_LINE, "RUN a  b", "WORKDIR C:\\x",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "images"),
    [
        ("FROM python", ["python:latest"]),
        ("ARG TAG\nFROM python:${TAG:-3.12}", ["python:3.12"]),
        ("ARG TAG=1\nFROM python:${TAG:+9}", ["python:9"]),
        ('ARG A="py" B=thon\nFROM $A$B', ["python:latest"]),
        ("ARG A=py\nARG B=${A}thon\nFROM $B", ["python:latest"]),
        ("FROM --platform=linux/amd64 python", ["python:latest"]),
        ("FROM --platform=$BUILDPLATFORM python AS x\nFROM X", ["python:latest"]),
        ("FROM scratch\nCOPY --from=me/data:1 / /", ["me/data:1"]),
        ("FROM a AS b\nFROM c AS d\nCOPY --from=B / /\nFROM a", ["a:latest", "c:latest"]),
        # A stage's name means the stage only after it.
        ("FROM late AS x\nFROM y AS late", ["late:latest", "y:latest"]),
        ("FROM x AS one\nCOPY --from=one / /", ["x:latest", "one:latest"]),
        ("\ufeffFROM python\r\nRUN true\r\n", ["python:latest"]),
        ("from python\nrun true", ["python:latest"]),
    ],
)
def test_images_that_a_dockerfile_needs(text: str, images: list[str]) -> None:
    assert images_of(text) == images


@pytest.mark.parametrize(
    "instruction",
    [
        "add HTTP://h/x /x", 'ADD ["ht\\\\tp://h/x", "/x"]', "ADD 'h'ttp://h/x /x", "ADD h\"t\"tp:\\//h/x /x",
        "ADD --chown=1 http://h/x /x", "ADD ftp://h/x /x", 'ADD ["$URL", "/x"]', "ADD\thttp://h/x\t/x",
        "ADD\u00a0 a http://h/x /x", "ONBUILD RUN true", "onbuild COPY . .", f'LABEL "{PREFIX}role"="bot"',
        "LABEL 'io.avtomatika'.bot-runner.role=bot", f"LABEL a=b {PREFIX}namespace=x",
        f"LABEL {PREFIX}user-id victim", 'LABEL a="b" ${P}x=y', "LABEL $A $B",
    ],
)  # fmt: skip
def test_what_reaches_too_far_is_refused(instruction: str) -> None:
    """Besides what the corpus has."""
    error = refusal(f"FROM python\n{instruction}\n")
    assert error.code in ("DOCKERFILE_REFUSED", "INVALID_DOCKERFILE")
    assert error.details["line"] == 2


@pytest.mark.parametrize(
    "instruction",
    [
        "ADD . /app", "ADD a.tar.gz b /x/", 'ADD ["a b", "/x"]', "ADD --chown=1:1 a $HOME/", "COPY $SRC /x",
        'LABEL a="b" c=\'d\' e=f', 'LABEL version="$VERSION" a=${B}', "LABEL maintainer me",
        "RUN cat <<<word",
        "RUN --mount=type=cache,target=/root/.cache pip install x", "RUN test 1 -lt 2 && echo '<< no'",
        "HEALTHCHECK CMD true", "VOLUME /x", 'SHELL ["/bin/bash", "-c"]', "EXPOSE 80", "STOPSIGNAL SIGINT",
        "RUN curl http://example.com/x", "ENV URL=http://example.com/x",
    ],
)  # fmt: skip
def test_what_is_harmless_is_kept(instruction: str) -> None:
    assert vet(f"FROM python\n{instruction}\n").stages


def test_cache_mounts_are_left_out() -> None:
    line = "RUN --mount=type=cache,target=/a --mount=target=/b,type=cache pip install x"
    assert rendered(f"FROM python\n{line}\n")[-1] == "RUN pip install x"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1), ("# nothing\n", 1), ("RUN true", 1), ("ARG A=1\nRUN true", 2), ("FROM", 1), ("FROM a b", 1),
        ("FROM a AS", 1), ("FROM a AS 9", 1), ("FROM a AS b c", 1), ("FROM $NOTHING", 1),
        ("FROM a\nFROM $NOTHING", 2), ("FROM \"a\"", 1), ("FROM a\\\\b", 1), ("FROM ${A:?x}", 1),
        ("FROM $(a)", 1),
        ("FROM --x=y a", 1), ("FROM a\nNONSENSE x", 2), ("FROM a\nRUN", 2), ("FROM a\nRUN <<EOF\nx\nEOF", 2),
        ("FROM a\nCOPY <<EOF /x\nADD http://h/ /\nEOF\n", 2), ("FROM a\nRUN cat <<-'E' > x", 2),
        ("FROM a\nRUN --mount=type=secret,id=x true", 2), ("FROM a\nRUN --network=host true", 2),
        ("FROM a\nRUN --security=insecure true", 2), ('FROM a\nRUN --mount="type=cache",target=/x true', 2),
        ("FROM a\nRUN --mount=type=bind,from=b true", 2), ("FROM a\nCOPY --chmod=1 a b", 2),
        ("FROM a\nCOPY --from=$X a b", 2), ("FROM a\nCOPY --from=1 a b", 2), ("FROM a\nCOPY --from=0 a b", 2),
        ('FROM a\nCOPY --from="b" a b', 2), ("FROM a\nCOPY --from=b --from=c a b", 2), ("FROM a\nCOPY a", 2),
        ('FROM a\nADD ["a", "b"] c', 2), ('FROM a\nCOPY ["a"', 2), ("FROM a\nCOPY -- --from=b a b", 2),
        ("FROM a\nRUN a \\\\\nADD http://h/ /", 2), ("FROM a\nRUN a\\ \\\n", 2),
        ("# escape=x\nFROM a", 1), ("FROM a\n\0", 1), ("ARG A='x' 'y'\nFROM a", 1),
        ("FROM a\n" + "RUN x\n" * 600, 501),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named_with_its_line(text: str, line: int) -> None:
    error = refusal(text)
    assert error.code == "INVALID_DOCKERFILE"
    assert error.details["line"] == line


def test_images_of_this_machine_are_refused_in_a_variable_too() -> None:
    assert refusal("ARG I=bot-runner/default:abc\nFROM $I").code == "INVALID_IMAGE_NAME"


def test_onbuild_of_a_base_image_is_refused() -> None:
    vetted = vet("FROM python")
    image = Image("ID", "python", triggers=("ADD http://127.0.0.1/ /x",))
    with pytest.raises(Rejected) as caught:
        vetted.resolved({ImageReference.parse("python"): image}, LABELS)
    assert caught.value.code == "DOCKERFILE_REFUSED"


def test_labels_of_a_base_image_cannot_pose_as_ours() -> None:
    lines = rendered("FROM python", labels={f"{PREFIX}user-id": "victim", f"{PREFIX}role": "bot", "x": "y"})
    assert lines[1] == f'LABEL "{PREFIX}user-id"="" "{PREFIX}role"="build"'


TAR = tar_of({"bot.py": "print(1)"})
ARCHIVES = {"a.tar": TAR, "a.tar.gz": gzip.compress(TAR), "sub/a.tbz": bz2.compress(TAR)}
ARCHIVES |= {"a.tar.xz": lzma.compress(TAR), "notes.txt": gzip.compress(TAR), "sub/[x] y": TAR}


@pytest.mark.parametrize(
    ("instruction", "archive"),
    [
        ("ADD a.tar /x/", "a.tar"), ("ADD ./a.tar.gz /x", "a.tar.gz"), ("ADD /a.tar.xz /x", "a.tar.xz"),
        ("ADD sub/../a.tar /x", "a.tar"), ("ADD ../a.tar /x", "a.tar"), ("add  notes.txt  /x", "notes.txt"),
        ("ADD --chown=1:1 Dockerfile sub/a.tbz /x/", "sub/a.tbz"), ('ADD ["sub/[[]x] y", "/x"]', "sub/[x] y"),
        ("ADD *.gz /x", "a.tar.gz"), ("ADD s?b/*.t[^g]z /x", "sub/a.tbz"), ("ADD \"a.tar\" /x", "a.tar"),
        ("ADD a\\.tar /x", "a.tar"), ("ADD * /x/", "a.tar"), ("ADD */* /x/", "sub/a.tbz"),
    ],
)  # fmt: skip
def test_an_archive_that_the_engine_would_unpack_is_refused(instruction: str, archive: str) -> None:
    """By its content, as the Engine does it, whatever its name is."""
    error = refusal(f"FROM python\n{instruction}\n", ARCHIVES)
    assert error.code == "DOCKERFILE_REFUSED"
    assert repr(archive) in error.message
    assert "COPY" in error.hint
    assert error.details["line"] == 2


@pytest.mark.parametrize(
    "content",
    [b"", b"text", bytes(4096), gzip.compress(b"{}" * 9999), b"\x1f\x8b\x08 no gzip", TAR[:100] + TAR[101:]],
    ids=["nothing", "text", "zeros", "compressed text", "no gzip", "broken tar"],
)
def test_what_the_engine_copies_as_it_is_may_be_added(content: bytes) -> None:
    files = {"data.gz": content, "folder/a.tar": TAR}
    lines = rendered("FROM python\nADD data.gz folder /x/\nADD --chown=1 . /y\nADD *.gz /z/\n", files)
    assert lines[2:] == ["COPY data.gz folder /x/", "COPY --chown=1 . /y", "COPY *.gz /z/"]


def test_the_engine_never_gets_an_add() -> None:
    """So it unpacks nothing, even if its idea of an archive were another than ours."""
    assert "ADD" not in "".join(rendered('FROM python\nADD ["a b", "/x"]\nadd\ta\t/x\nADD -- a /x\n'))


def test_the_sources_of_all_adds_are_limited() -> None:
    assert refusal("FROM python\n" + "ADD a b c /x/\n" * 12).code == "DOCKERFILE_REFUSED"
    assert vet("FROM python\n" + "ADD a b c /x/\n" * 10).stages


def test_a_copy_that_names_the_context_again_and_again_is_refused() -> None:
    """`COPY a a/b a/b/c /x/` writes what lies in c three times."""
    files = {"a/b/c/big": bytes(8 * MIB)}
    for name in ("ADD", "COPY"):
        error = refusal(f"FROM python\n{name} a a/b a/b/c /x/\n", files, 20 * MIB)
        assert error.code == "DOCKERFILE_REFUSED"
        assert vet(f"FROM python\n{name} a a/b /x/\n", files, 20 * MIB).stages
    assert vet("FROM python\nCOPY a /x\n", files, MIB).stages


def test_each_source_of_another_image_is_a_step_of_its_own() -> None:
    """Hard links to one file are so many files in the copy; what was copied is counted after each step."""
    text = """\
FROM python AS build
FROM python
COPY --from=build --chown=1 /a /b /x/
COPY --from=0 ["/a b", "/c", "/x"]
COPY --from=ghcr.io/astral-sh/uv:0.8 /uv /uvx $BIN
"""
    assert rendered(text)[-6:] == [
        "COPY --from=build --chown=1 /a /x/",
        "COPY --from=build --chown=1 /b /x/",
        'COPY --from=0 ["/a b", "/x/"]',
        'COPY --from=0 ["/c", "/x/"]',
        "COPY --from=ID(ghcr.io/astral-sh/uv:0.8) /uv $BIN/",
        "COPY --from=ID(ghcr.io/astral-sh/uv:0.8) /uvx $BIN/",
    ]
    many = "COPY --from=build " + "/a " * 300 + "/x/\n"
    assert refusal("FROM python AS build\nFROM python\n" + 2 * many).code == "INVALID_DOCKERFILE"


def test_a_pattern_is_no_source_of_another_image() -> None:
    for pattern in ("/l*", "/l?", "/[l]", "${L:-/l*}"):
        error = refusal(f"FROM python AS a\nFROM python\nCOPY --from=a {pattern} /x/\n")
        assert error.code == "DOCKERFILE_REFUSED"


@pytest.mark.parametrize(
    ("before", "values"), [("ENV L=/l*\n", {}), ("ARG L\nARG M=[a]\n", {}), ("", {"L": "/l?"})]
)
def test_a_variable_is_no_way_to_a_pattern(before: str, values: dict[str, str]) -> None:
    text = f"FROM python AS a\nFROM python\n{before}COPY --from=a ${{L}} /x/\n"
    with pytest.raises(Rejected) as caught:
        rendered(text, environment=values)
    assert caught.value.code == "DOCKERFILE_REFUSED"
    harmless = "FROM python AS a\nFROM python\nENV V=/venv\nCOPY --from=a $V $V\n"
    assert rendered(harmless, environment={"PATH": "/bin"})[-1] == "COPY --from=a $V $V"
