"""The corpus' Git server and shared runners serve these tests, too."""

from tests.corpus.conftest import own_temporary_folder, servers, shared_runner

__all__ = ["own_temporary_folder", "servers", "shared_runner"]
