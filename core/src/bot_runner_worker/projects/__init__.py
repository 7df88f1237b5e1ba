"""From a bot's source tree to its build context: what every source of project files needs.

A plugin that gets a tree from somewhere (a repository, an archive, a file server) writes it into a
:class:`ProjectTreeWriter` and hands the finished :class:`ProjectTree` to :func:`project_context`, which
honours ``.dockerignore``, finds the Dockerfile, or writes one for a Python project that has none.
:func:`read_tar` fills a writer from a tar of unknown origin. Reading untrusted input is work for a thread of
its own: :func:`in_thread`.
"""

from bot_runner_worker.projects.context import project_context
from bot_runner_worker.projects.entrypoint import checked_entrypoint
from bot_runner_worker.projects.tar import Links, read_tar
from bot_runner_worker.projects.tree import ProjectFile, ProjectTree, ProjectTreeWriter, TreeCodes
from bot_runner_worker.projects.work import Deadline, in_thread

__all__ = [
    "Deadline",
    "Links",
    "ProjectFile",
    "ProjectTree",
    "ProjectTreeWriter",
    "TreeCodes",
    "checked_entrypoint",
    "in_thread",
    "project_context",
    "read_tar",
]
