"""From a location to a revision and its files, within the operator's rules and limits."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bot_runner_git.address import RepositoryAddress
from bot_runner_git.environment import remote_environment
from bot_runner_git.errors import GIT_TIMED_OUT, INVALID_GIT_URL, timed_out
from bot_runner_git.location import GitLocation
from bot_runner_git.repository import RemoteRepository, Revision
from bot_runner_worker.plugin import Tools
from bot_runner_worker.projects import Deadline, ProjectTree, in_thread


@dataclass(frozen=True, slots=True)
class AskedRemote:
    """A remote that has said what the location's name stands for; see :func:`asked`.

    Args:
        address: Where it is.
        revision: What the name stands for.
        deadline: Of fetching and of all that the caller makes of the files.
    """

    address: RepositoryAddress
    revision: Revision
    deadline: Deadline
    _repository: RemoteRepository
    _environment: Mapping[str, str]
    _tools: Tools

    async def tree(self, folder: str | None = None) -> ProjectTree:
        """Fetch the commit and read its files; the caller closes the tree.

        Args:
            folder: The folder of the project inside the repository, if it is not the whole.

        Raises:
            Rejected: ``GIT_TOO_LARGE``, ``GIT_FOLDER_NOT_FOUND``, ``GIT_SUBMODULES_UNSUPPORTED``,
                ``UNSAFE_REPOSITORY`` …
            Unavailable: If the network or the server fails.
        """

        async def report() -> None:
            amount = f"{self._repository.fetched / 1e6:.1f} MB"
            await self._tools.progress(f"fetched {amount} of commit {self.revision.commit[:12]}")

        limit = self._tools.settings.max_context_size
        return await in_thread(
            lambda: self._repository.tree(self.revision, folder, self._environment, limit),
            self.deadline,
            report,
        )


@asynccontextmanager
async def asked(location: GitLocation, tools: Tools) -> AsyncIterator[AskedRemote]:
    """Ask the remote what a location stands for, with the request's own credentials.

    It is asked in any case, also where the caller has an image of the commit already: who may no longer read
    a repository does not get its image either.

    Args:
        location: The request's params.
        tools: Those of the deployment.

    Raises:
        Rejected: ``INVALID_GIT_URL``, ``GIT_REF_NOT_FOUND``, ``GIT_ACCESS_DENIED`` …
        Unavailable: If the network or the server fails.
    """
    address = location.address()
    settings = tools.settings
    seconds = settings.source_timeout_seconds
    deadline = Deadline(seconds, code=GIT_TIMED_OUT, message=timed_out(seconds))
    tools.outbound.check_url(address.url, code=INVALID_GIT_URL, field="git_repo")
    dialled = await tools.outbound.resolve(address.host, address.port)
    with RemoteRepository(address.url, deadline=deadline, max_size=settings.max_source_size) as repository:
        environment = remote_environment(
            repository.folder, address, dialled=dialled, ca_bundle=settings.ca_bundle
        )
        await tools.progress("asking the Git server")
        revision = await in_thread(lambda: repository.revision(location, environment), deadline)
        yield AskedRemote(address, revision, deadline, repository, environment, tools)
