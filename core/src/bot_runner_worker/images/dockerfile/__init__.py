"""Tenants' Dockerfiles: parsed, checked, and written again for the Engine.

The Engine never gets the tenant's own text. It gets what was understood here, one instruction a line, with
each base image by its id: so nothing is parsed twice in two ways (comments, continuations, variables,
names), and a name cannot come to mean another image in between.
"""

from bot_runner_worker.images.dockerfile.parser import (
    MAX_SIZE,
    Instruction,
    ParsedDockerfile,
    parse,
    split_flags,
)
from bot_runner_worker.images.dockerfile.rules import vet
from bot_runner_worker.images.dockerfile.stages import VettedDockerfile, with_labels
from bot_runner_worker.images.dockerfile.variables import build_arguments, expand

__all__ = [
    "MAX_SIZE",
    "Instruction",
    "ParsedDockerfile",
    "VettedDockerfile",
    "build_arguments",
    "expand",
    "parse",
    "split_flags",
    "vet",
    "with_labels",
]
