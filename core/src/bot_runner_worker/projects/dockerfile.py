"""Which Dockerfile a project is built from, and which folder its ``COPY`` lines mean."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from bot_runner_worker.model.errors import Rejected
from bot_runner_worker.projects.tree import ProjectTree

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
