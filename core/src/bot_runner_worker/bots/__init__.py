"""A bot's life on one Engine.

:mod:`.protocol` is the seam, :mod:`.docker_runtime` implements it, :mod:`.supervisor` keeps bots as they
should be.
"""
