"""What the steps of a build make is what the Engine's own builder makes of the same Dockerfile."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.conftest import MakeRunner, RunnerUnderTest
from tests.core.examples import context_of
from tests.core.images.building import FROM, Builder

from bot_runner_worker.containers import temporary
from bot_runner_worker.engine import Engine, containers
from bot_runner_worker.model.identity import LABEL_PREFIX

DOCKERFILES = {
    "arguments and variables": f"""\
ARG VERSION=3.12
ARG NOTHING
{FROM}
ARG VERSION
ARG NOTHING
ARG EMPTY=
ARG A="one two" B='$A' C=${{VERSION}}-x
ENV SHADOW=env KEPT="$A, $C"
ARG SHADOW=arg
ARG D=$KEPT
RUN env | grep -v ^HOSTNAME= | sort > /found
ARG A=three
ENV LATER=$A
RUN env | grep -v ^HOSTNAME= | sort >> /found; echo "$A" >> /found
""",
    "forms of RUN": f"""\
{FROM}
RUN ["sh", "-c", "echo \\"$0\\" > /found", "$HOME"]
RUN [ -d / ] && echo test >> /found
RUN ["sh", "-c", "echo ignored >> /found"] && false
RUN echo 'a  b' \\
    # a comment
    "c" >> /found
SHELL ["/bin/sh", "-c", "echo shell \\"$0\\" >> /found"]
RUN words of the script
SHELL ["/bin/sh", "-ec"]
RUN echo $- >> /found
""",
    "user and folder": f"""\
{FROM}
RUN mkdir /some && chown 1234:1234 /some && touch /found && chmod 666 /found
USER 1234:1234
WORKDIR /some/folder
RUN pwd >> /found; id >> /found; touch /some/file; umask >> /found
USER 0
RUN ls -ln /some >> /found; (sleep 60 &)
""",
    "what is for the bot": f"""\
{FROM}
LABEL one=1
MAINTAINER somebody
ENTRYPOINT ["entry"]
CMD ["command"]
EXPOSE 80/udp
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s CMD true
RUN echo one > /found
ENV PATH="/more:$PATH"
LABEL two=$PATH
RUN echo $PATH >> /found
""",
    "no command of its own": f"""\
{FROM}
ENTRYPOINT []
CMD []
RUN echo one > /found
""",
    "stages": f"""\
FROM scratch AS empty
COPY file /from/context
{FROM.strip()} AS Build
ARG WORD=word
RUN mkdir /made && echo $WORD > /made/here && ln /made/here /made/again && ln -s here /made/link
FROM build AS second
RUN echo second >> /made/here
{FROM}
COPY --from=empty /from /found-1
COPY --from=1 --chown=7:7 /made /found-2
COPY --from=second /made/again /found-3
RUN cat /found-1/context /found-2/link /found-2/again /found-3 > /found
RUN stat -c '%u %h %F' /found-2/* >> /found
""",
    "files of all kinds": f"""\
{FROM}
COPY file /a/b
RUN rm -r /usr/share/doc /etc/motd; mkfifo /a/fifo; chmod 4755 /a/b; mkdir -m 1777 /a/c; touch -d @0 /a/c/d
RUN (cd /a && stat -c '%n %a %F %u' b fifo c && stat -c '%n %Y' c/d) > /found
RUN ls /usr/share/doc /etc/motd 2>&1 | sort >> /found
""",
    "variables where they are put in": f"""\
{FROM}
ARG FROM_HERE=file TO=/x
ENV ON=on
COPY $FROM_HERE $TO/${{ON}}/
WORKDIR $TO
RUN cat on/file > /found; pwd >> /found
""",
}  # fmt: skip
FILES = {"file": b"content\n"}


async def built_by_the_engine(engine: Engine, dockerfile: str) -> str:
    """The id of the image that the classic builder makes."""
    built = ""
    lines = engine.stream_json(
        "POST",
        "build",
        data=context_of(dockerfile, **FILES),
        headers={"Content-Type": "application/x-tar"},
    )
    said: list[Any] = []
    async for line in lines:
        built = (line.get("aux") or {}).get("ID", built)
        said.append(line)
    assert "error" not in said[-1], said[-5:]
    return built


async def found(engine: Engine, image: str) -> tuple[dict[str, Any], str]:
    """An image's configuration, and what is in its file ``/found``."""
    config = (await engine.json("GET", f"images/{image}/json"))["Config"]
    labels = {
        name: value for name, value in (config["Labels"] or {}).items() if not name.startswith(LABEL_PREFIX)
    }
    kept = ("Env", "Cmd", "Entrypoint", "User", "WorkingDir", "Volumes", "ExposedPorts", "Shell",
            "StopSignal", "Healthcheck", "OnBuild")  # fmt: skip
    body = {"Image": image, "Entrypoint": ["true"]}
    async with temporary(engine, f"test-steps-{secrets.token_hex(6)}", body) as container:
        read = await containers.read_file(engine, container, "/found", max_size=1_000_000)
    assert read is not None
    return {name: config.get(name) or None for name in kept} | {"Labels": labels}, read[1].decode()


async def as_the_engine_builds(builder: Builder, dockerfile: str) -> None:
    engine = builder.runner.engine
    theirs = await built_by_the_engine(engine, dockerfile)
    try:
        ours = await builder.build(dockerfile, FILES)
        assert await found(engine, ours.id) == await found(engine, theirs)
    finally:
        await engine.json("DELETE", f"images/{theirs}", params={"force": True})


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            each, marks=pytest.mark.engine if "argu" in each or each == "stages" else pytest.mark.slow
        )
        for each in DOCKERFILES
    ],
)
async def test_images_are_as_the_engine_builds_them(runner: RunnerUnderTest, case: str) -> None:
    await as_the_engine_builds(Builder(runner), DOCKERFILES[case])


@pytest.fixture
async def other_base(runner: RunnerUnderTest) -> AsyncIterator[str]:
    """An image that the operator offers, with a volume."""
    name = f"test-steps-{secrets.token_hex(6)}"
    image = await built_by_the_engine(runner.engine, f"{FROM}VOLUME /data\n")
    await runner.engine.json("POST", f"images/{image}/tag", params={"repo": name, "tag": "latest"})
    yield name
    await runner.engine.json("DELETE", f"images/{name}", params={"force": True})


@pytest.mark.slow
async def test_proxies_reach_a_step_and_not_the_image(make_runner: MakeRunner, other_base: str) -> None:
    runner = await make_runner(http_proxy="http://proxy.example:3128", local_images_allowed=[other_base])
    command = f'FROM {other_base}\nRUN ["sh", "-c", "echo $HTTP_PROXY > /found"]\n'
    built = await Builder(runner).build(command)
    config, said = await found(runner.engine, built.id)
    assert said == "http://proxy.example:3128\n"
    assert not any("proxy" in each for each in config["Env"])


@pytest.mark.engine
async def test_a_command_that_was_run_is_not_run_again(runner: RunnerUnderTest) -> None:
    """Not on the same image, with the same variables."""
    builder = Builder(runner)
    begin = f"{FROM}ARG A=1\nRUN date +%s%N > /found\n"
    first = await builder.build(begin)
    second = await builder.build(f"{begin}ENV x=y\n")
    # Images that are made of the first carry its labels.
    third = await builder.build(f"{begin}COPY file /\nRUN date +%s%N > /found\n", FILES)
    other = await builder.build(begin.replace("A=1", "A=2"))
    times = [(await found(runner.engine, each.id))[1] for each in (first, second, third, other)]
    assert times[0] == times[1]
    assert len(set(times)) == 3


@pytest.mark.slow
async def test_volumes_of_a_base_image_take_no_disk_and_own_ones_keep_what_is_written(
    make_runner: MakeRunner, other_base: str
) -> None:
    runner = await make_runner(local_images_allowed=[other_base])
    builder = Builder(runner)
    write = "RUN df -T /data | tail -1 | tr -s ' ' | cut -d' ' -f2 > /found; echo lost > /data/x\n"
    built = await builder.build(f"FROM {other_base}\n{write}RUN ls /data >> /found\n")
    assert (await found(runner.engine, built.id))[1] == "tmpfs\n"
    own = await builder.build(
        f"{FROM}VOLUME /own\nRUN mkdir /own; echo kept > /own/x\nRUN cat /own/x > /found\n"
    )
    config, said = await found(runner.engine, own.id)
    assert (said, config["Volumes"]) == ("kept\n", {"/own": {}})


@pytest.mark.engine
@pytest.mark.parametrize(
    ("instructions", "words"),
    [
        ("USER nobody-here\nRUN true\n", "no user or group"),
        ('RUN ["no-such-program"]\n', "127"),
        ("RUN echo said; exit 7\n", "returned a non-zero code: 7"),
        pytest.param(f"RUN {'[' * 50_000}\n", "returned a non-zero code: 127", id="nested list"),
        ("COPY missing /\n", "missing"),
        ("ARG A=$(x)\nRUN true\n", "is not understood"),
    ],
)
async def test_a_step_that_fails_is_explained(runner: RunnerUnderTest, instructions: str, words: str) -> None:
    error = await Builder(runner).failure(FROM + instructions)
    assert error.code in ("BUILD_FAILED", "INVALID_DOCKERFILE"), error
    assert words in str(error) + str(error.details), error
