"""The checks, one module for each concern."""
