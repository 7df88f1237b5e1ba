"""Plugins: loaded from entry points, asked through one typed dispatcher, never imported by name."""
