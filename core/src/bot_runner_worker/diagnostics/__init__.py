"""Whether all is well: checks, run once by ``doctor`` and again and again for ``/health``, and metrics."""
