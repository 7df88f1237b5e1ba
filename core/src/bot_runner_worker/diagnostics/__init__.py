"""Diagnostics: checks, run once by ``doctor`` and repeatedly for ``/health``; and metrics."""
