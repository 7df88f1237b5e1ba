"""The corpus' servers serve the library's tests, too."""

from tests.corpus.conftest import servers

__all__ = ["servers"]
