"""Images of packages: the base image plus packages of the index, installed in a container and committed.

A container is used instead of a build: it has all limits from its first moment, mounts a cache of wheels, and
is quicker. What a tenant's choice of packages can do in it:

1. Wheels only (:data:`~.commands.WHEELS_ONLY`): nothing of a wheel runs while it is installed. The cache of
   wheels, which all tenants share, is written by uv alone, with what the index serves over TLS; and whoever
   writes it is alone on its network.
2. A package without a wheel runs its author's code while it is built: in a container of its own, without the
   cache.
3. Bytecode is compiled later, beside the bot's start: without network and cache, and without ``site``, which
   would run the ``.pth`` files of packages.
"""

from bot_runner_worker.images.packages.commands import PIP_INSTALL, pip_context
from bot_runner_worker.images.packages.installer import Making, PackageInstaller

__all__ = ["PIP_INSTALL", "Making", "PackageInstaller", "pip_context"]
