"""A build context as it is sent: with another Dockerfile in place of its own, and nothing else changed."""

import io
import tarfile

import pytest

from bot_runner_worker.images.context import BuildContext, BuildContextWriter

LONG = "/".join(["folder" * 20] * 4) + "/Dockerfile"


def written(*paths: str, dockerfile: str) -> BuildContext:
    with BuildContextWriter(max_size=10_000_000) as writer:
        for path in paths:
            writer.add(path, f"content of {path}" * 1000, executable=path.endswith(".sh"))
        return writer.finish(dockerfile)


async def entries(context: BuildContext, dockerfile: bytes | None = None) -> dict[str, tuple[int, bytes]]:
    sent = b"".join([chunk async for chunk in context.chunks(dockerfile)])
    with tarfile.open(fileobj=io.BytesIO(sent)) as tar:
        files = {member.name: (member.mode, tar.extractfile(member)) for member in tar}
        return {name: (mode, file.read()) for name, (mode, file) in files.items() if file is not None}


@pytest.mark.parametrize(
    ("paths", "dockerfile"),
    [
        (("Dockerfile", "a.sh"), "Dockerfile"),
        (("a.sh", "Dockerfile"), "Dockerfile"),
        (("a.sh", "Dockerfile", "b"), "Dockerfile"),
        (("Dockerfile",), "Dockerfile"),
        (("a.sh", LONG, "b"), LONG),
        (("a.sh", "DOCKERFILE", "b"), "Dockerfile"),
    ],
)
@pytest.mark.parametrize("replacement", [b"", b"FROM x\n", b"y" * 5000])
async def test_only_the_dockerfile_changes(
    paths: tuple[str, ...], dockerfile: str, replacement: bytes
) -> None:
    context = written(*paths, dockerfile=dockerfile)
    before = await entries(context)
    assert before[context.dockerfile][1].startswith(b"content of ")
    assert context.read_dockerfile(10) == b"content of"
    after = await entries(context, replacement)
    assert after == {**before, context.dockerfile: (0o644, replacement)}
    assert await entries(context) == before
    context.close()
