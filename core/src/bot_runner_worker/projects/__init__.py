"""Project files of a bot, and build contexts from them.

A plugin that gets files from somewhere (a repository, an archive, a file server) writes them into a
:class:`ProjectTreeWriter` and passes the finished :class:`ProjectTree` to :func:`project_context`, which
applies ``.dockerignore``, finds the Dockerfile, or writes one for a Python project that has none.
:func:`read_tar` fills a writer from a tar of unknown origin. Untrusted input is read in a thread of its own:
:func:`in_thread`.
"""

from bot_runner_worker.model.requirements import check_requirements
from bot_runner_worker.projects.context import project_context
from bot_runner_worker.projects.deadline import Deadline, in_thread
from bot_runner_worker.projects.python import BOT_FOLDER, BOT_USER, checked_entrypoint
from bot_runner_worker.projects.tar import Links, read_tar
from bot_runner_worker.projects.tree import ProjectFile, ProjectTree, ProjectTreeWriter, TreeCodes

__all__ = [
    "BOT_FOLDER",
    "BOT_USER",
    "Deadline",
    "Links",
    "ProjectFile",
    "ProjectTree",
    "ProjectTreeWriter",
    "TreeCodes",
    "check_requirements",
    "checked_entrypoint",
    "in_thread",
    "project_context",
    "read_tar",
]
