"""Where uv cannot be had: a Dockerfile that runs pip."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bot_runner_worker.images.context import BuildContext, BuildContextWriter
from bot_runner_worker.model.image import Image
from bot_runner_worker.settings import Settings

PIP_INSTALL = (
    "python3 -m pip install --no-cache-dir --no-input --disable-pip-version-check --root-user-action=ignore"
)


@contextmanager
def pip_context(base: Image, requirements: Sequence[str], settings: Settings) -> Iterator[BuildContext]:
    """The build context that installs requirements; nothing in it belongs to one tenant."""
    with BuildContextWriter(max_size=settings.max_context_size) as writer:
        writer.add("requirements.txt", "\n".join(requirements) + "\n")
        lines = [f"FROM {base.id}", "COPY requirements.txt /requirements.txt"]
        lines.append(f"RUN {PIP_INSTALL} -r /requirements.txt")
        writer.add("Dockerfile", "\n".join(lines) + "\n")
        context = writer.finish(shared=True)
    try:
        yield context
    finally:
        context.close()
