"""A tenant's Dockerfile: read, held against the rules, and written anew for the Engine.

The Engine never sees the tenant's own text. What it gets is written from what was understood here, one
instruction a line, with each base image by its id: so there is no second reading of comments, continuations,
variables or names, and no moment in which a name could come to mean another image.
"""

from bot_runner_worker.images.dockerfile.parsing import MAX_SIZE, ParsedDockerfile, parse
from bot_runner_worker.images.dockerfile.stages import VettedDockerfile, with_labels
from bot_runner_worker.images.dockerfile.vetting import vet

__all__ = ["MAX_SIZE", "ParsedDockerfile", "VettedDockerfile", "parse", "vet", "with_labels"]
