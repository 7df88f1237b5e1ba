"""The steps of a build.

The Engine's classic builder does what runs nothing: it copies, and writes the configuration. Commands are run
by :mod:`.run_steps`.
"""

from collections.abc import Mapping
from dataclasses import replace

from bot_runner_worker.engine import Engine, builds
from bot_runner_worker.engine import images as engine_images
from bot_runner_worker.engine.builds import BuildError, BuildLog
from bot_runner_worker.images.context import BuildContext
from bot_runner_worker.images.dockerfile import (
    Instruction,
    ParsedDockerfile,
    build_arguments,
    expand,
    split_flags,
)
from bot_runner_worker.images.run_steps import CommandSteps
from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.model.identity import BUILD_ROLE, NAMESPACE, ROLE
from bot_runner_worker.model.image import Progress
from bot_runner_worker.model.quantities import format_size
from bot_runner_worker.settings import Settings

_COPIES = ("ADD", "COPY")
_SHOWN = 120
"""Characters of an instruction in the progress."""


class BuildSteps:
    """One build, step by step.

    Args:
        engine: The Engine.
        settings: Limits and names.
        context: The build context.
        dockerfile: What is built: vetted, or the runner's own.
        network: Name of the network of its commands.
        given: Build arguments that need no ``ARG``.
        progress: Called at each step.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        context: BuildContext,
        dockerfile: ParsedDockerfile,
        network: str,
        given: Mapping[str, str],
        progress: Progress,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._context = context
        self._dockerfile = dockerfile
        self._given = given
        self._progress = progress
        self._log = BuildLog()
        self._count = sum(each.line > 0 for each in dockerfile.instructions)
        self._begun = 0
        self._labels = {NAMESPACE: settings.runner_namespace, ROLE: BUILD_ROLE}
        self.images: dict[str, None] = {}
        """The image after each step so far, made or found, by its id or the beginning of it."""
        self._sizes: dict[str, int] = {}
        self._commands = CommandSteps(
            engine,
            settings,
            network,
            labels=self._labels,
            log=self._log,
            images=self.images,
            check_size=self.check_size,
        )
        # Of the stage that it is at:
        self._image = ""
        self._names: list[str] = []
        self._waiting: list[Instruction] = []
        self._volumes: list[Instruction] = []
        self._arguments: dict[str, str | None] = {}
        # Of those before:
        self._stages: dict[str, str] = {}
        self._ended = 0
        self._before: dict[str, str | None] = {}

    async def run(self) -> str:
        """Do all steps; returns the id of the image.

        Raises:
            BuildError: If a step fails by itself.
            EngineError: If the Engine refuses something.
            Rejected: ``BUILD_LIMIT_EXCEEDED``.
        """
        try:
            for instruction in self._dockerfile.instructions:
                await self._do(instruction)
            await self._end_stage()
        except BuildError as error:
            error.log = self._log.lines()
            raise
        return self._image

    async def _do(self, instruction: Instruction) -> None:
        match instruction.name:
            case "FROM":
                await self._end_stage()
                self._begin_stage(instruction)
                await self._begin(instruction)
            case "ARG":
                await self._declare(instruction)
                await self._begin(instruction)
            case "RUN":
                await self._assemble()
                await self._begin(instruction)
                self._image = await self._commands.run(
                    self._image, instruction.arguments, self._known_arguments(), self._given
                )
            case "VOLUME":
                # What a later command writes there is kept, as BuildKit keeps it.
                self._volumes.append(instruction)
            case _:
                self._waiting.append(self._from_stage(instruction))

    async def _begin(self, instruction: Instruction) -> None:
        if instruction.line == 0:
            return
        self._begun += 1
        self._log.add(f"Step {self._begun}/{self._count} : {instruction}\n")
        message = f"step {self._begun} of {self._count}: {str(instruction)[:_SHOWN]}"
        await self._progress(message, (self._begun - 1) / self._count)

    def _begin_stage(self, instruction: Instruction) -> None:
        flags, rest = split_flags(instruction)
        base, *name = rest.split()
        known = {each: value or "" for each, value in self._before.items()}
        base = expand(base, known, instruction.line)
        platform = f"--platform={flags['platform']} " if "platform" in flags else ""
        self._image = self._stages.get(base.lower(), platform + base)
        self._names = [str(self._ended), *(each.lower() for each in name[1:])]
        self._arguments = {}

    async def _end_stage(self) -> None:
        self._waiting += self._volumes
        self._volumes = []
        await self._assemble()
        if self._names:
            self._stages |= dict.fromkeys(self._names, self._image)
            self._ended += 1

    def _from_stage(self, instruction: Instruction) -> Instruction:
        """An instruction that copies from an earlier stage, with the id of that stage's image."""
        if instruction.name not in _COPIES:
            return instruction
        flags, rest = split_flags(instruction)
        if "from" in flags:
            flags["from"] = self._stages.get(flags["from"].lower(), flags["from"])
        words = [f"--{name}={value}" for name, value in flags.items()]
        return replace(instruction, arguments=" ".join([*words, rest]))

    async def _declare(self, instruction: Instruction) -> None:
        """Take note of an ``ARG``, with its value at this point."""
        if not self._image:
            known = {name: value or "" for name, value in self._before.items()}
            found = build_arguments(instruction, known)
            self._before |= {name: self._given.get(name, value) for name, value in found.items()}
            return
        known = {name: value or "" for name, value in self._arguments.items()}
        if "$" in instruction.arguments:
            await self._assemble()
            known |= await self._environment()
        found = build_arguments(instruction, known)
        # What waits was written with the values from before.
        if any(name in str(each) for name in found for each in self._waiting):
            await self._assemble()
        for name, default in found.items():
            value = default if default is not None else self._before.get(name)
            self._arguments[name] = self._given.get(name, value)

    def _known_arguments(self) -> dict[str, str]:
        return {name: value for name, value in self._arguments.items() if value is not None}

    async def _environment(self) -> dict[str, str]:
        image = await engine_images.inspect(self._engine, self._image)
        return dict(image.environment) if image is not None else {}

    async def _assemble(self) -> None:
        """Let the classic builder do what waits."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        text = "\n".join(map(str, waiting))
        arguments = {name: value for name, value in self._known_arguments().items() if name in text}
        begin = [Instruction(0, "FROM", self._image), *(Instruction(0, "ARG", name) for name in arguments)]
        dockerfile = str(replace(self._dockerfile, instructions=(*begin, *waiting))).encode()
        copies = any(each.name in _COPIES and "from" not in split_flags(each)[0] for each in waiting)

        async def begun(number: int) -> None:
            if number > len(begin):
                await self._begin(waiting[number - len(begin) - 1])

        self._image = await builds.build(
            self._engine,
            tar=self._context.chunks(dockerfile) if copies else self._context.no_files(dockerfile),
            dockerfile=self._context.dockerfile,
            arguments=arguments,
            images=self.images,
            on_step=begun,
        )
        await self.check_size()

    async def check_size(self) -> None:
        """Check what all steps so far have written.

        Raises:
            Rejected: ``BUILD_LIMIT_EXCEEDED``.
        """
        limit = self._settings.max_image_size
        for image in self.images.keys() - self._sizes.keys():
            self._sizes[image] = await engine_images.layer_size(self._engine, image, self._labels)
        if sum(self._sizes.values()) + await self._commands.written() > limit:
            raise Rejected(
                Code.BUILD_LIMIT_EXCEEDED,
                f"The steps of the build wrote more than {format_size(limit)} in all, and it was ended.",
                hint="Make the image smaller, or ask the operator to raise MAX_IMAGE_SIZE.",
                details={"limit": "disk", "limit_bytes": limit},
            )
