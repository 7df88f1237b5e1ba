"""Build contexts of projects: which Dockerfile is used, and which files are sent."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from bot_runner_worker.images.context import BuildContext
from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.plugins.tools import Tools
from bot_runner_worker.projects.deadline import Deadline, in_thread
from bot_runner_worker.projects.ignore import MAX_SIZE, DockerIgnore, InvalidPattern
from bot_runner_worker.projects.python import (
    GENERATED_FOLDER,
    LOOKED_FOR,
    find_command,
    find_dependencies,
    python_dockerfile,
)
from bot_runner_worker.projects.tree import ProjectTree

NO_DOCKERFILE = "NO_DOCKERFILE"
IGNORE_FILE = ".dockerignore"
AMBIGUOUS_DOCKERFILE = "AMBIGUOUS_DOCKERFILE"

# What lies beside a Dockerfile in a folder that is kept for Docker's files only.
_DOCKER_FILES = (
    "dockerfile*", "*.dockerfile", ".dockerignore", "*.dockerignore", "docker-compose*", "compose*.y*ml",
    "*.sh", "*.conf", "*.md", ".env*", ".gitkeep",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FoundDockerfile:
    """A project's own Dockerfile.

    Args:
        tree: The build context.
        path: The Dockerfile inside ``tree``.
        notes: How it was found, if that is not obvious.
    """

    tree: ProjectTree
    path: str
    notes: tuple[str, ...] = ()


async def project_context(
    tree: ProjectTree,
    tools: Tools,
    deadline: Deadline,
    *,
    entrypoint: str | None = None,
    dockerfile: str | None = None,
) -> BuildContext:
    """Make the build context of a project.

    In this order: a Dockerfile at the root; the only Dockerfile in a subfolder
    (:func:`find_dockerfile`); a generated one for a Python project
    with ``requirements.txt`` or ``pyproject.toml`` that names or shows what to run: the request's
    ``entrypoint``, a ``worker`` line in its ``Procfile``, or exactly one of ``main.py``, ``bot.py`` and
    ``__main__.py``.

    Args:
        tree: The project; the caller closes it.
        tools: Base image and limits.
        deadline: Of the whole preparation.
        entrypoint: The file to run, where there is no Dockerfile.
        dockerfile: The Dockerfile to build, where the request or the project names one.

    Raises:
        Rejected: ``NO_DOCKERFILE`` with what was looked for, or the code of what is wrong with it.
    """
    base = await tools.images.base()
    found = None if dockerfile is None else _named_dockerfile(tree, dockerfile)
    return await in_thread(lambda: _context(tree, tools, deadline, entrypoint, base.id, found), deadline)


def _named_dockerfile(tree: ProjectTree, path: str) -> FoundDockerfile:
    if path not in tree.files:
        raise Rejected(
            NO_DOCKERFILE,
            f"The project has no file {path[:200]!r} to be built from.",
            hint="Name the Dockerfile by its path inside the folder that is built.",
            details={"looked_for": [path]},
        )
    return FoundDockerfile(tree, path)


def _context(
    tree: ProjectTree,
    tools: Tools,
    deadline: Deadline,
    entrypoint: str | None,
    base_id: str,
    named: FoundDockerfile | None,
) -> BuildContext:
    found = named or find_dockerfile(tree)
    if found is None:
        return _python_context(_without_ignored(tree, None, deadline), tools, deadline, entrypoint, base_id)
    notes = [*tree.notes, *found.notes]
    if entrypoint is not None:
        notes.append(f"the entrypoint {entrypoint} is not used: the Dockerfile says what runs")
    kept = _without_ignored(found.tree, found.path, deadline)
    with tools.new_build_context() as context:
        for path, entry in kept.files.items():
            deadline.check()
            context.add_stream(path, kept.open(path), entry.size, executable=entry.executable)
        return context.finish(found.path, notes=notes)


def _python_context(
    tree: ProjectTree, tools: Tools, deadline: Deadline, entrypoint: str | None, base_id: str
) -> BuildContext:
    dependencies = find_dependencies(tree)
    command = find_command(tree, entrypoint)
    if dependencies is None or command is None:
        raise _no_dockerfile(tree, has_dependencies=dependencies is not None)
    words, origin = command
    with tools.new_build_context() as context:
        for path, entry in tree.files.items():
            deadline.check()
            if path != IGNORE_FILE:
                context.add_stream(path, tree.open(path), entry.size, executable=entry.executable)
        if dependencies.lines:
            context.add(f"{GENERATED_FOLDER}/requirements.txt", "\n".join(dependencies.lines) + "\n")
        dockerfile = f"{GENERATED_FOLDER}/Dockerfile"
        context.add(dockerfile, python_dockerfile(base_id, dependencies, words))
        note = f"there is no Dockerfile: one was generated for {dependencies.origin}, running {origin}"
        return context.finish(dockerfile, generated=True, notes=[*tree.notes, note])


def find_dockerfile(tree: ProjectTree) -> FoundDockerfile | None:
    """Find the Dockerfile: at the root, or the only one in a subfolder.

    A Dockerfile in a subfolder is built with that folder as its context, as ``docker build FOLDER`` does it;
    where the folder holds nothing to build from but Docker's own files (``docker/Dockerfile``), with the
    whole project, as ``docker build -f docker/Dockerfile .`` does it.

    Raises:
        Rejected: ``AMBIGUOUS_DOCKERFILE`` if there are several in subfolders and none at the root.
    """
    found = sorted(path for path in tree.files if path.rpartition("/")[2].casefold() == "dockerfile")
    if at_root := [path for path in found if "/" not in path]:
        return FoundDockerfile(tree, at_root[0])
    if not found:
        return None
    if len(found) > 1:
        raise Rejected(
            AMBIGUOUS_DOCKERFILE,
            f"The project has no Dockerfile at its root, and {len(found)} of them in subfolders.",
            hint="Name the subfolder to build (git_subdir, archive_subdir), or put a Dockerfile at the root.",
            details={"found": found[:20]},
        )
    folder, _, name = found[0].rpartition("/")
    inside = tree.folder(folder)
    if all(_is_docker_file(path) for path in inside.files):
        return FoundDockerfile(tree, found[0], (f"built from {found[0]}, with the whole project as context",))
    return FoundDockerfile(inside, name, (f"built from {found[0]}, with the folder {folder} as context",))


def _is_docker_file(path: str) -> bool:
    name = path.rpartition("/")[2].casefold()
    return any(fnmatchcase(name, pattern) for pattern in _DOCKER_FILES)


def _without_ignored(tree: ProjectTree, dockerfile: str | None, deadline: Deadline) -> ProjectTree:
    """The tree without the files that its ``.dockerignore`` excludes.

    The Dockerfile and the ignore file itself are always sent, as Docker's own client does: the Engine needs
    them, and removes them from the context later if they are excluded.
    """
    ignore_file = next(
        (name for name in (f"{dockerfile}.dockerignore", IGNORE_FILE) if name in tree.files), None
    )
    if ignore_file is None:
        return tree
    if tree.files[ignore_file].size > MAX_SIZE:
        raise _invalid_ignore_file(f"it is larger than {MAX_SIZE // 1024} KiB")
    try:
        ignore = DockerIgnore(tree.read(ignore_file, MAX_SIZE).decode(errors="replace"))
    except InvalidPattern as error:
        raise _invalid_ignore_file(str(error)) from None

    def is_kept(path: str) -> bool:
        deadline.check()
        return path in (dockerfile, ignore_file) or not ignore.excludes(path)

    return tree.keeping(path for path in tree.files if is_kept(path))


def _invalid_ignore_file(reason: str) -> Rejected:
    return Rejected(
        Code.INVALID_FIELD,
        f"{IGNORE_FILE} cannot be used: {reason}.",
        hint=f"Correct {IGNORE_FILE}, or leave it out.",
    )


def _no_dockerfile(tree: ProjectTree, *, has_dependencies: bool) -> Rejected:
    dependencies = ["requirements.txt", "pyproject.toml"]
    looked_for = ["Dockerfile", "Dockerfile in exactly one subfolder", *dependencies]
    if has_dependencies:
        looked_for += ["entrypoint in the request", "Procfile with a worker line", *LOOKED_FOR]
        message = "The project has no Dockerfile, and it is not clear what to run."
        hint = 'Set "entrypoint" to the Python file that starts the bot, or add a Dockerfile.'
    else:
        message = "The project has no Dockerfile, and no requirements.txt or pyproject.toml either."
        hint = "Add a Dockerfile, or a requirements.txt (it may be empty) and an entrypoint."
    return Rejected(
        NO_DOCKERFILE,
        message,
        hint=hint,
        details={"looked_for": looked_for, "found": sorted({path.split("/")[0] for path in tree.files})[:50]},
    )
