"""The images of the stack: pulled where that works, otherwise built on this machine.

Their tags stay on the Engine, so that the next run finds them.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bot_runner_stack.commands import run_command
from bot_runner_stack.console import Progress
from bot_runner_stack.errors import StackError

REDIS = "redis:7-alpine"
"""What `compose.yaml` asks for."""

# With the host part "localhost", no Engine ever asks a public registry for an image of this name.
LOCAL_REDIS = "localhost/bot-runner-redis:local"
_KINDS = ("orchestrator", "worker", "stack-bot")
_LOCAL = "localhost/bot-runner-{kind}:{name}"

_PULL_SECONDS = 120
_BUILD_SECONDS = 900
_QUESTION_SECONDS = 30


@dataclass(frozen=True, kw_only=True)
class Images:
    """References of the images: the three services', and the one that a bot of mode `image` is made of."""

    redis: str
    orchestrator: str
    worker: str
    bot: str

    def environment(self) -> dict[str, str]:
        """The variables by which `compose.yaml` is told."""
        return {
            "REDIS_IMAGE": self.redis,
            "ORCHESTRATOR_IMAGE": self.orchestrator,
            "WORKER_IMAGE": self.worker,
        }


async def prepare_images(
    root: Path, name: str, bot_project: Path, progress: Progress, *, base_image: str
) -> Images:
    """Pull or build all images.

    `root` is the checkout, `name` the tag of what is built from it, `bot_project` a folder with the
    Dockerfile of a bot. Raises StackError with the last words of the build that failed.
    """
    redis = await _redis(root, progress, base_image)
    orchestrator, worker, bot = (_LOCAL.format(kind=kind, name=name) for kind in _KINDS)
    arguments = {"BASE_IMAGE": base_image}
    for tag, dockerfile in ((orchestrator, "orchestrator/Dockerfile"), (worker, "Dockerfile")):
        progress.note(f"{tag} from {dockerfile}")
        options = ["--file", str(root / dockerfile), str(root)]
        # Without a tag, each change would leave one more build stage on the Engine.
        await _build(f"{tag}-build", "--target", "build", *options, arguments=arguments)
        await _build(tag, *options, arguments=arguments)
    await _build(bot, bot_project, arguments={})
    return Images(redis=redis, orchestrator=orchestrator, worker=worker, bot=bot)


async def remove_images(name: str) -> None:
    """Remove what `prepare_images` built for this name, and the stand-in for Redis."""
    built = [LOCAL_REDIS]
    for kind in _KINDS:
        tag = _LOCAL.format(kind=kind, name=name)
        built += [tag, f"{tag}-build"]
    for tag in built:
        if await _exists(tag):
            await _docker("image", "rm", tag, seconds=_QUESTION_SECONDS)


async def _redis(root: Path, progress: Progress, base_image: str) -> str:
    wanted = os.environ.get("REDIS_IMAGE") or REDIS
    if await _exists(wanted):
        return wanted
    # A stand-in from an earlier run says that pulling failed then; trying each time could take minutes.
    if not await _exists(LOCAL_REDIS):
        progress.note(f"pulling {wanted}")
        try:
            await _docker("pull", wanted, seconds=_PULL_SECONDS)
        except StackError as error:
            reason = (error.log_tail or str(error)).splitlines()[-1]
            progress.note(f"{wanted} cannot be pulled: {reason}")
        else:
            return wanted
    progress.note(f"{LOCAL_REDIS} from docker/redis.Dockerfile, in place of {wanted}")
    dockerfile = root / "docker" / "redis.Dockerfile"
    await _build(LOCAL_REDIS, "--file", dockerfile, dockerfile.parent, arguments={"BASE_IMAGE": base_image})
    return LOCAL_REDIS


async def _build(tag: str, *options: str | Path, arguments: Mapping[str, str]) -> None:
    former = await _id(tag)
    build_args = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
    await _docker("build", "--force-rm", "--tag", tag, *build_args, *options, seconds=_BUILD_SECONDS)
    if former and former != await _id(tag):
        await _forget(former)


async def _forget(image_id: str) -> None:
    """Remove an image that lost its tag, unless somebody else uses it."""
    tags = await _docker("image", "inspect", "--format", "{{.RepoTags}}", image_id, seconds=_QUESTION_SECONDS)
    if tags == "[]":
        try:
            await _docker("image", "rm", image_id, seconds=_QUESTION_SECONDS)
        except StackError:
            return  # a container or a newer image is made of it


async def _exists(reference: str) -> bool:
    return bool(await _id(reference))


async def _id(reference: str) -> str:
    return await _docker("image", "ls", "--no-trunc", "--quiet", reference, seconds=_QUESTION_SECONDS)


async def _docker(*arguments: str | Path, seconds: float) -> str:
    return await run_command(["docker", *arguments], env={}, cwd=Path.cwd(), seconds=seconds)
