"""YAML of unknown origin, read within bounds.

Scalars stay the text that they are: Compose means ``on``, ``1_0`` and ``22:22`` as they are written, while
YAML 1.1 makes a truth, a ten and a number of base 60 out of them.
"""

import re
from typing import Any

import yaml

from bot_runner_compose_service.errors import invalid

MAX_SIZE = 64 * 1024
"""Of the file, in bytes; real ones have a few thousand."""

MAX_NODES = 20_000
"""Values in the file once all its aliases are written out: a few lines of aliases can stand for billions."""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"<<\Z"), ["<"])


def read_document(content: bytes) -> dict[str, Any]:
    """Read a YAML mapping.

    Args:
        content: The file, or its beginning if it is larger than :data:`MAX_SIZE`.

    Raises:
        Rejected: ``INVALID_COMPOSE_FILE``.
    """
    if len(content) > MAX_SIZE:
        raise invalid(f"is larger than {MAX_SIZE // 1024} KiB", "Leave in it what the bot needs.")
    try:
        loader = _Loader(content.decode("utf-8-sig"))
        node = loader.get_single_node()
        _Bounds().check(node)
        document: Any = loader.construct_document(node) if node is not None else None
    except UnicodeDecodeError:
        raise invalid("is not UTF-8 text") from None
    except yaml.MarkedYAMLError as error:
        where = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise invalid(f"is not valid YAML: {_shortened(error.problem or error.context)}{where}") from None
    except RecursionError:
        raise invalid("is nested too deeply") from None
    # Constructors of explicit tags raise what they like on values that do not fit.
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, ArithmeticError) as error:
        raise invalid(f"is not valid YAML: {_shortened(error)}") from None
    if not isinstance(document, dict):
        raise invalid("is no mapping with services in it")
    return document


def _shortened(problem: object) -> str:
    text = str(problem or "it cannot be read")
    return "".join(char if char.isprintable() else " " for char in text)[:200]


class _Bounds:
    """Checks a graph of nodes before anything is made of it."""

    def __init__(self) -> None:
        self._sizes: dict[int, int | None] = {}
        """By node; ``None`` while what is in it is being looked at."""

    def check(self, node: yaml.Node | None) -> int:
        """The number of values that a node stands for.

        Raises:
            Rejected: If there are too many, a node holds itself, or a key is there twice.
        """
        if node is None:
            return 0
        if id(node) in self._sizes:
            known = self._sizes[id(node)]
            if known is None:
                raise invalid("holds an alias to something that it is part of")
            return known
        self._sizes[id(node)] = None
        size = 1 + sum(self.check(child) for child in self._children(node))
        if size > MAX_NODES:
            raise invalid(f"stands for more than {MAX_NODES} values", "Use fewer aliases.")
        self._sizes[id(node)] = size
        return size

    def _children(self, node: yaml.Node) -> list[yaml.Node]:
        if isinstance(node, yaml.SequenceNode):
            return list(node.value)
        if not isinstance(node, yaml.MappingNode):
            return []
        keys = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise invalid("has a key that is no text")
            if key.value in keys:
                raise invalid(f"has the key {key.value[:80]!r} twice (line {key.start_mark.line + 1})")
            keys.add(key.value)
        return [value for _, value in node.value]
