"""The corpus' servers and runners serve honest projects, too."""

from tests.corpus.conftest import host_names, servers, shared_runner

__all__ = ["host_names", "servers", "shared_runner"]
