"""The corpus' servers and runners serve honest projects, too."""

from tests.corpus.conftest import (
    host_names,
    own_temporary_folder,
    servers,
    shared_memory_runner,
    shared_runner,
)

__all__ = ["host_names", "own_temporary_folder", "servers", "shared_memory_runner", "shared_runner"]
