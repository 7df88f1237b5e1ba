"""What an image has at the paths that matter to a container's safety, read before the container runs.

The runtime (runc) resolves a mount's target inside the image's files, with the container's ``/proc`` already
in place, and a user's name in the image's own ``/etc/passwd``. Both are a tenant's to write.
"""

from collections import deque
from collections.abc import Collection

from bot_runner_worker.engine import Engine, containers
from bot_runner_worker.model.errors import Code, Rejected

_SYSTEM_FOLDERS = ("proc", "sys", "dev")
_MOST_STEPS = 256
"""Parts of paths that are looked at in one container, those of links included."""

_PASSWD = "/etc/passwd"  # noqa: S105 (no password)
_PASSWD_SIZE = 256 * 1024
_WRITABLE = 0o022


class ImageFiles:
    """The files of a container that has not run yet.

    Args:
        engine: The Engine.
        container: Its id.
    """

    def __init__(self, engine: Engine, container: str) -> None:
        self._engine = engine
        self._container = container
        self._links: dict[str, str] = {}
        self._steps = 0

    async def check_mount_points(self, paths: Collection[str]) -> None:
        """Check where volumes and folders in memory end up when the image's links are followed.

        Without that, a link to ``/proc/self`` lets an image have a folder of its own over files of the
        kernel, such as those that hold a process to its AppArmor profile (CVE-2019-19921, CVE-2023-28642).

        Args:
            paths: Absolute ones.

        Raises:
            EngineError: If the Engine refuses something.
            Rejected: ``IMAGE_REFUSED`` if one ends up in ``/proc``, ``/sys``, ``/dev``, or at the root.
        """
        for path in paths:
            if not await self._is_allowed(path):
                raise Rejected(
                    Code.IMAGE_REFUSED,
                    "A volume, or a folder in memory, leads out of the image's own files by a link.",
                    hint="Let the paths of VOLUME be plain folders of the image.",
                    details={"path": path[:200]},
                )

    async def _is_allowed(self, path: str) -> bool:
        ahead, behind = deque(path.split("/")), list[str]()
        while ahead:
            match ahead.popleft():
                case "" | ".":
                    continue
                case "..":
                    behind = behind[:-1]
                    continue
                case part:
                    behind.append(part)
            self._steps += 1
            if behind[0] in _SYSTEM_FOLDERS or self._steps > _MOST_STEPS:
                return False
            # The Engine would follow links as well, but into the folder /proc that the image brings along.
            if link := await self._link("/" + "/".join(behind)):
                behind = [] if link.startswith("/") else behind[:-1]
                ahead.extendleft(reversed(link.split("/")))
        return bool(behind)

    async def _link(self, path: str) -> str:
        if path not in self._links:
            found = await containers.read_file(self._engine, self._container, path)
            self._links[path] = found[0].linkname if found is not None and found[0].issym() else ""
        return self._links[path]

    async def check_user(self, user: str) -> None:
        """Check that the image's own files cannot turn a numeric user into root, now or after a restart.

        The Engine looks also for a user of that name, and finds it in a file that may be the image's to
        change.

        Args:
            user: A number.

        Raises:
            EngineError: If the Engine refuses something.
            Rejected: ``IMAGE_REFUSED`` if they can.
        """
        for path in ("/", "/etc", _PASSWD):
            found = await containers.read_file(self._engine, self._container, path, max_size=_PASSWD_SIZE)
            if found is None:
                continue
            header, content = found
            names = {line.partition(b":")[0].strip() for line in content.splitlines()}
            is_roots = header.uid == 0 and not header.mode & _WRITABLE and not header.issym()
            if not is_roots or header.size > _PASSWD_SIZE or user.encode() in names:
                raise Rejected(
                    Code.IMAGE_REFUSED,
                    f"The image's file {path} can turn the user {user} into root, which is not allowed here.",
                    hint="Leave / and /etc to root, and have no user with a number for its name.",
                    details={"path": path},
                )
