"""Fixtures of the tests of images."""

from tests.registry import private_registry, registry, registry_folder

__all__ = ["private_registry", "registry", "registry_folder"]
