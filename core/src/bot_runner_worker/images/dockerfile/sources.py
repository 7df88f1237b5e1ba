"""What ``ADD`` and ``COPY`` copy.

The Engine copies and unpacks by itself, outside the limits that a step's container has, and nobody can stop
it in the middle. So what one instruction copies is limited beforehand: by the size of the build context, or
by the size of the stage or image that it copies from, of which each file is copied once. What all of them
have written is counted after each (:mod:`bot_runner_worker.images.build`).
"""

import json
from dataclasses import dataclass, field

from bot_runner_worker.images.context import BuildContext
from bot_runner_worker.images.dockerfile.parser import (
    BUILDKIT_HINT,
    WHITE_SPACE,
    Instruction,
    invalid,
    refused,
    split_flags,
    unquoted,
)
from bot_runner_worker.images.dockerfile.stages import WILDCARDS, Step
from bot_runner_worker.model.image import ImageReference
from bot_runner_worker.model.quantities import format_size

MAX_ADDED = 32
"""Sources of all ``ADD`` instructions; each is compared with all files of the context."""


@dataclass(slots=True)
class CopyRules:
    """The rules for ``ADD`` and ``COPY``.

    Args:
        context: The build context.
        max_size: Bytes that one instruction may copy from it.
        expanded: Lines of the ``COPY --from`` with a variable in a source.
    """

    context: BuildContext
    max_size: int
    expanded: list[int] = field(default_factory=list)
    _added: int = 0

    def add(self, instruction: Instruction) -> Step:
        """Check an ``ADD``; returns the ``COPY`` that does the same.

        The Engine would unpack a source that is a tar by its content, however it is called, and copies all
        else (moby, ``builder/dockerfile/copy.go``). As it gets no ``ADD``, it unpacks nothing: an archive
        that is not found here is copied.

        Raises:
            Rejected: ``DOCKERFILE_REFUSED`` for an address, a variable or an archive.
        """
        line = instruction.line
        kept, words = self._split(instruction, {"chown"})
        *sources, _target = map(unquoted, words)
        # The Engine fetches remote sources itself, from its own network: the host's loopback is open to it.
        if any("://" in unquoted(word) for word in words):
            raise refused(
                line,
                "ADD of a remote address is not allowed",
                "Put the file into the project, or fetch it in a RUN instruction.",
            )
        if any("$" in source for source in sources):
            raise refused(
                line,
                "ADD with a variable in its source is not allowed, it might be an address",
                "Use COPY for the project's own files.",
            )
        self._added += len(sources)
        if self._added > MAX_ADDED:
            raise refused(line, f"ADD names more than {MAX_ADDED} sources in all", "Use COPY.")
        for source in sources:
            if (archive := self.context.find_archive(source)) is not None:
                raise refused(
                    line,
                    f"ADD would unpack {archive[:200]!r} outside the build's limits",
                    "Use COPY, which copies it as it is, and unpack it with tar -xf in a RUN instruction.",
                )
        self._check_size(line, len(sources))
        return Instruction(line, "COPY", kept), None

    def copy(self, instruction: Instruction, earlier: list[str]) -> list[Step]:
        """Check a ``COPY``.

        Several sources of another stage or image are written as a ``COPY`` each: hard links to one file
        are so many files in the copy, and what was copied is counted after each instruction.

        Args:
            instruction: The instruction.
            earlier: Names of the earlier stages.

        Raises:
            Rejected: ``INVALID_DOCKERFILE``, or ``DOCKERFILE_REFUSED`` for what copies too much.
        """
        line = instruction.line
        flags, rest = split_flags(instruction)
        source = flags.get("from")
        kept, words = self._split(instruction, {"from", "chown"})
        if source is None:
            self._check_size(line, len(words) - 1)
            return [(Instruction(line, "COPY", kept), None)]
        image = self._origin(line, source, earlier)
        if any(WILDCARDS.intersection(word) for word in words[:-1]):
            raise refused(
                line,
                "COPY --from with a pattern is not supported: hard links make it endless",
                "Name the files, or copy the folder that holds them.",
            )
        if any("$" in word for word in words[:-1]):
            self.expanded.append(line)
        chown = f"--chown={flags['chown']} " if "chown" in flags else ""
        prefix = chown if image is not None else f"--from={source} {chown}"
        if len(words) == 2:
            return [(Instruction(line, "COPY", prefix + rest), image)]
        *sources, target = words
        folder = target if unquoted(target).endswith("/") else f"{target}/"
        pairs = ([each, folder] for each in sources)
        texts = (json.dumps(pair) if rest.startswith("[") else " ".join(pair) for pair in pairs)
        return [(Instruction(line, "COPY", prefix + text), image) for text in texts]

    def _split(self, instruction: Instruction, known: set[str]) -> tuple[str, list[str]]:
        """The arguments without flags that change nothing, and the sources and the target."""
        flags, rest = split_flags(instruction)
        if instruction.name == "COPY":
            flags.pop("link", None)  # how layers are stored; the content is the same
        if unknown := flags.keys() - known:
            raise invalid(
                instruction.line, f"{instruction.name} --{min(unknown)} needs BuildKit", BUILDKIT_HINT
            )
        kept = " ".join([*(f"--{name}={value}" for name, value in flags.items()), rest])
        return kept, _paths(instruction.line, rest)

    def _origin(self, line: int, source: str, earlier: list[str]) -> ImageReference | None:
        """The image that is copied from; ``None`` for an earlier stage."""
        if "$" in source:
            raise invalid(line, "variables in COPY --from are not supported", "Write the name itself.")
        is_number = source.isascii() and source.isdecimal() and len(source) < 4
        if is_number and int(source) >= len(earlier):
            raise invalid(line, f"there is no earlier stage {source}")
        return None if is_number or source.lower() in earlier else ImageReference.parse(source)

    def _check_size(self, line: int, sources: int) -> None:
        # Each may name all of the context again, in another folder of the target.
        size = sources * self.context.size
        if sources > 1 and size > self.max_size:
            raise refused(
                line,
                f"{sources} sources in a build context of {format_size(self.context.size)} may come to "
                f"{format_size(size)}, more than an image may have",
                "Name a folder instead of its files, or write several COPY instructions.",
            )


def _paths(line: int, text: str) -> list[str]:
    """Read the sources and the target of ``ADD`` or ``COPY``, in either form.

    Raises:
        Rejected: ``INVALID_DOCKERFILE`` if there are fewer than two, or a list is not plain JSON, of which
            the Engine would read the beginning only.
    """
    if text.startswith("["):
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):
            parsed = None
        if not isinstance(parsed, list) or not all(isinstance(path, str) for path in parsed):
            raise invalid(line, "the list of paths is not valid JSON")
        found: list[str] = parsed
    else:
        found = WHITE_SPACE.split(text)
    if len(found) < 2 or text.startswith("-"):
        raise invalid(line, "a source or the target is missing, or begins with a dash")
    return found
