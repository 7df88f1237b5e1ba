"""Git repositories for deployment plugins: a library that several plugins share, and no plugin itself.

A plugin's params derive from :class:`GitLocation`; :func:`asked` asks the remote what they name and fetches
its files. It is a distribution of its own because no plugin imports another, and because the core is to know
nothing of Git.
"""

from bot_runner_git.asking import AskedRemote, asked
from bot_runner_git.location import GitLocation
from bot_runner_git.repository import Revision

__all__ = ["AskedRemote", "GitLocation", "Revision", "asked"]
