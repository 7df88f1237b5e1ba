"""The stages of a vetted Dockerfile, and what is built of them."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from bot_runner_worker.images.dockerfile.parser import Instruction, ParsedDockerfile, refused
from bot_runner_worker.model.identity import LABEL_PREFIX
from bot_runner_worker.model.image import Image, ImageReference

WILDCARDS = frozenset("*?[")
"""What makes a source a pattern (Go's ``filepath.Match``)."""

Step = tuple[Instruction, ImageReference | None]
"""An instruction as the Engine gets it, with the image of its ``COPY --from``, if any."""

_LABEL_NAME = re.compile(re.escape(LABEL_PREFIX) + r"[a-z0-9.-]+")


@dataclass(frozen=True, slots=True)
class BuildStage:
    """A ``FROM`` and what follows it.

    Args:
        line: Where it begins.
        base: A reference, or the name of an earlier stage, or ``scratch``.
        name: Its own name, or nothing.
        body: Its further instructions.
    """

    line: int
    base: ImageReference | str
    name: str
    body: list[Step] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class VettedDockerfile:
    """A Dockerfile that has passed the rules.

    Args:
        escape: Its escape character.
        arguments: The ``ARG`` instructions before the first stage.
        stages: Its stages.
        expanded: Lines of ``COPY --from`` with a variable in a source.
    """

    escape: str
    arguments: tuple[Instruction, ...]
    stages: tuple[BuildStage, ...]
    expanded: tuple[int, ...] = ()

    @property
    def images(self) -> list[ImageReference]:
        """All images that it names, each once."""
        needed = [stage.base for stage in self.stages if isinstance(stage.base, ImageReference)]
        needed += [image for stage in self.stages for _, image in stage.body if image is not None]
        return list(dict.fromkeys(needed))

    def resolved(self, images: Mapping[ImageReference, Image], labels: Mapping[str, str]) -> ParsedDockerfile:
        """Write it with the ids of its images, as it is built.

        Args:
            images: The images on the Engine by :attr:`images`.
            labels: Labels for each step's container and image, by which they are found again.

        Raises:
            Rejected: ``DOCKERFILE_REFUSED`` if a base image adds instructions (``ONBUILD``), or if what
                ``COPY --from`` copies may be a pattern.
        """
        if self.expanded and not WILDCARDS.isdisjoint("".join(self._values(images))):
            raise refused(
                self.expanded[0],
                "COPY --from with a variable is not supported where a variable holds one of * ? [",
                "Write the path itself.",
            )
        found = list(self.arguments)
        for stage in self.stages:
            found += _beginning(stage, images, labels)
            for instruction, image in stage.body:
                source = f"--from={images[image].id} " if image is not None else ""
                found.append(replace(instruction, arguments=source + instruction.arguments))
        return ParsedDockerfile(self.escape, tuple(found))

    def _values(self, images: Mapping[ImageReference, Image]) -> Iterator[str]:
        """Texts with the values of all variables."""
        yield from (each.arguments for each in self.arguments)
        for stage in self.stages:
            yield from (each.arguments for each, _ in stage.body if each.name in ("ARG", "ENV"))
        for image in images.values():
            yield from image.environment.values()


def _beginning(
    stage: BuildStage, images: Mapping[ImageReference, Image], labels: Mapping[str, str]
) -> list[Instruction]:
    name = f" AS {stage.name}" if stage.name else ""
    if isinstance(stage.base, str):
        return [Instruction(stage.line, "FROM", f"{stage.base}{name}"), _label(labels)]
    base = images[stage.base]
    if base.triggers:
        raise refused(
            stage.line,
            f"the image {stage.base.familiar} adds instructions of its own (ONBUILD)",
            "Use an image without ONBUILD, and write these instructions into the Dockerfile.",
        )
    # Each step's container has its base image's labels: none may be one of ours.
    foreign = {label: "" for label in base.labels if _LABEL_NAME.fullmatch(label)}
    return [Instruction(stage.line, "FROM", f"{base.id}{name}"), _label({**foreign, **labels})]


def with_labels(parsed: ParsedDockerfile, labels: Mapping[str, str]) -> ParsedDockerfile:
    """Add labels for each step to a Dockerfile of a plugin or the core."""
    found: list[Instruction] = []
    for instruction in parsed.instructions:
        found += [instruction, _label(labels)] if instruction.name == "FROM" else [instruction]
    return replace(parsed, instructions=tuple(found))


def _label(labels: Mapping[str, str]) -> Instruction:
    """A ``LABEL`` instruction; no name or value holds quotes, escapes or variables."""
    pairs = (f"{json.dumps(name)}={json.dumps(value)}" for name, value in labels.items())
    return Instruction(0, "LABEL", " ".join(pairs))
