"""Plugins: loaded from entry points, called by one manager, never imported by name."""
