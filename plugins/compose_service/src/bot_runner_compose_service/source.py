"""The mode's part in a deployment: from a repository to a service, its image and its options."""

from posixpath import normpath
from typing import Any

from bot_runner_compose_service.document import MAX_SIZE, read_document
from bot_runner_compose_service.errors import COMPOSE_FILE_NOT_FOUND, invalid
from bot_runner_compose_service.params import ComposeParams
from bot_runner_compose_service.service import Build, Service, find_service
from bot_runner_git import asked
from bot_runner_worker.plugin import BuildContext, ContainerOptions, Image, ImageReference, Rejected, Tools
from bot_runner_worker.projects import Deadline, ProjectTree, in_thread, project_context

_LOOKED_FOR = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
_SERVICE = "compose_service.service"


async def prepare(params: ComposeParams, tools: Tools) -> BuildContext | None:
    """The build context of the service that the request names; ``None`` if it runs a ready image."""
    async with asked(params, tools) as remote:
        tree = await remote.tree()
    try:
        path = _compose_file(tree, params.compose_file)
        service = await in_thread(lambda: _read(tree, path, params.service), remote.deadline)
        tools.kept[_SERVICE] = service
        for note in service.notes:
            tools.note(note)
        if service.build is None:
            for note in tree.notes:
                tools.note(note)
            return None
        return await _context(tree, path, service.build, tools, remote.deadline)
    finally:
        tree.close()


def _compose_file(tree: ProjectTree, path: str | None) -> str:
    found = [name for name in ([path] if path else _LOOKED_FOR) if name in tree.files]
    if not found:
        raise Rejected(
            COMPOSE_FILE_NOT_FOUND,
            f"The repository has no {path}." if path else "The repository has no Compose file at its root.",
            hint="Set compose_file to the path of the Compose file in the repository.",
            details={"looked_for": [path] if path else list(_LOOKED_FOR)},
        )
    return found[0]


def _read(tree: ProjectTree, path: str, name: str | None) -> Service:
    service = find_service(read_document(tree.read(path, MAX_SIZE + 1)), name)
    if service.image is not None:
        # An image's name is refused before anything is asked of anybody.
        ImageReference.parse(service.image)
    return service


async def _context(
    tree: ProjectTree, path: str, build: Build, tools: Tools, deadline: Deadline
) -> BuildContext:
    folder = _inside(path.rpartition("/")[0], build.context, "build context")
    project = tree.folder(folder) if folder else tree
    dockerfile = _inside("", build.dockerfile, "Dockerfile")
    if not project.files:
        raise invalid(f"builds from a folder that the repository does not have: {folder[:100]!r}")
    return await project_context(project, tools, deadline, dockerfile=dockerfile)


def _inside(folder: str, path: str, what: str) -> str:
    """A path below ``folder``, from the root that both are in; empty for that root itself."""
    joined = normpath(f"{folder}/{path}" if folder else path)
    if "://" in path or path.startswith(("/", "git@", "~")) or joined.split("/")[0] == ".." or "\\" in path:
        raise invalid(
            f"names a {what} outside of the {'build context' if what == 'Dockerfile' else 'repository'}",
            "Give a relative path that stays inside.",
        )
    return "" if joined == "." else joined


async def resolve(tools: Tools) -> Image:
    """The image that the service names."""
    service = _kept(tools)
    assert service.image is not None
    return await tools.images.pull(service.image, tools)


def options(tools: Tools) -> ContainerOptions:
    """What the service sets of its container."""
    service = _kept(tools)
    return ContainerOptions(
        entrypoint=service.entrypoint,
        command=service.command,
        environment=service.environment,
        working_dir=service.working_dir,
        user=service.user,
        tmpfs=service.tmpfs,
    )


def _kept(tools: Tools) -> Service:
    service: Any = tools.kept[_SERVICE]
    assert isinstance(service, Service)
    return service
