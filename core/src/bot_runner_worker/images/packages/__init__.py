"""Images that are the base image plus packages from the index: a container that installs them, committed.

Not a build of a Dockerfile: a container can be limited from its first moment, takes a cache of wheels as a
volume, and costs less. What a tenant's choice of packages can do in it:

1. Wheels only (:data:`~.commands.WHEELS_ONLY`): nothing of a wheel runs while it is installed, so the cache
   of wheels, which all tenants share, is written by uv alone, with what the index serves.
2. Where a package comes as source only, its build runs the author's code: in a container of its own, without
   the cache.
3. Bytecode is compiled afterwards, beside the bot's start: without network and cache, and without ``site``,
   which would run the ``.pth`` files of packages.
"""

from bot_runner_worker.images.packages.installer import Making, PackageInstaller

__all__ = ["Making", "PackageInstaller"]
