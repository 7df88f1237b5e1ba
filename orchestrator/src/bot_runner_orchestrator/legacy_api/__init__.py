"""The older API that published clients speak (``tg-runner-cli`` 1.0.0), beside ours on the same paths.

A request of theirs is told by its header ``X-Avtomatika-Token``. It becomes one of ours on its way in and the
answer one of theirs on its way out: what lies behind, authentication, limits and redaction included, knows
nothing of it.
"""

from .middleware import legacy_api

__all__ = ["legacy_api"]
