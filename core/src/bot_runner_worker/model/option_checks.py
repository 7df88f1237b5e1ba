"""Whether a plugin's container options are what their types say, within bounds.

A plugin is Python: nothing keeps it from putting a number where a text belongs, or a gigabyte where a line
belongs. The Engine would refuse some of it in words of its own, and take some of it for something else.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.model.identity import LABEL_PREFIX
from bot_runner_worker.model.options import ContainerOptions, Device, Files, Mount
from bot_runner_worker.model.paths import MAX_FILES, checked_path

MAX_TEXT = 128 * 1024
"""Bytes of all texts of one kind together: an environment or a command line that is larger does not start."""

MAX_ITEMS = 1000

_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_USER = re.compile(r"[A-Za-z0-9_.-]{1,64}(:[A-Za-z0-9_.-]{1,64})?")
_CAPABILITY = re.compile(r"[A-Z][A-Z_]{1,40}")
_CLOSED_TARGETS = ("/dev", "/proc", "/sys")


def check_options(plugin: str, options: ContainerOptions, *, max_files_size: int) -> ContainerOptions:
    """Check one plugin's options.

    Args:
        plugin: The plugin's name.
        options: What it returned.
        max_files_size: Largest sum of the sizes of its files, in bytes.

    Returns:
        Plain options of the same content: nothing of the plugin's own is asked anything later.

    Raises:
        Rejected: ``OPTION_REFUSED`` if a label is the runner's own, ``PLUGIN_FAILED`` that names the option
            if its value cannot be one.
    """
    try:
        return _checked(plugin, options, max_files_size)
    except _WrongError as error:
        raise Rejected(
            Code.PLUGIN_FAILED,
            f"The plugin {plugin} asks for a wrong {error.option}: {error.reason}.",
            hint="This is a fault of the plugin, not of the request; report it to the operator.",
            details={"hook": "container_options", "option": error.option, "plugin": plugin},
        ) from None


class _WrongError(Exception):
    def __init__(self, option: str, reason: str) -> None:
        super().__init__(option, reason)
        self.option = option
        self.reason = reason


def _checked(plugin: str, options: ContainerOptions, max_files_size: int) -> ContainerOptions:
    labels = _texts("labels", options.labels)
    if own := [name for name in labels if name.lower().startswith(LABEL_PREFIX)]:
        raise Rejected(
            Code.OPTION_REFUSED,
            f"The plugin {plugin} tried to set the label {own[0][:100]}, which is the runner's own.",
            hint="This is a fault of the plugin; report it to the operator.",
            details={"plugin": plugin, "option": "labels"},
        )
    environment = _texts("environment", options.environment)
    if odd := [name for name in environment if not _ENVIRONMENT_NAME.fullmatch(name)]:
        raise _WrongError("environment", f"{odd[0][:80]!r} is no name of a variable")
    return ContainerOptions(
        entrypoint=_words("entrypoint", options.entrypoint),
        command=_words("command", options.command),
        environment=environment,
        working_dir=None if options.working_dir is None else _folder("working_dir", options.working_dir),
        user=_matching("user", options.user, _USER),
        files=_files(options.files, max_files_size),
        labels=labels,
        tmpfs=_tmpfs(options.tmpfs),
        devices=tuple(_device(each) for each in _several("devices", options.devices)),
        mounts=tuple(_mount(each) for each in _several("mounts", options.mounts)),
        capabilities=tuple(
            _matching("capabilities", each, _CAPABILITY) or ""
            for each in _several("capabilities", options.capabilities)
        ),
        gpus=_number("gpus", options.gpus, 0),
    )


def _several(option: str, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, (tuple, list)):
        raise _WrongError(option, f"{type(value).__name__} instead of a tuple")
    if len(value) > MAX_ITEMS:
        raise _WrongError(option, f"more than {MAX_ITEMS} items")
    return tuple(value)


def _text(option: str, value: Any) -> str:
    if type(value) is not str:
        raise _WrongError(option, f"{type(value).__name__} instead of text")
    if len(value) > MAX_TEXT:
        raise _WrongError(option, f"more than {MAX_TEXT} characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _WrongError(option, "not valid Unicode text") from None
    if "\0" in value:
        raise _WrongError(option, "a NUL character")
    return value


def _matching(option: str, value: Any, pattern: re.Pattern[str]) -> str | None:
    if value is not None and not pattern.fullmatch(_text(option, value)):
        raise _WrongError(option, f"{value[:80]!r} is none")
    return None if value is None else str(value)


def _number(option: str, value: Any, least: int) -> int:
    if type(value) is not int or value < least:
        raise _WrongError(option, f"not a whole number of {least} or more")
    return value


def _bounded(option: str, texts: Iterable[str]) -> None:
    if sum(len(text.encode()) for text in texts) > MAX_TEXT:
        raise _WrongError(option, f"more than {MAX_TEXT} bytes in all")


def _words(option: str, value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    words = tuple(_text(option, word) for word in _several(option, value))
    _bounded(option, words)
    return words


def _mapping(option: str, value: Any) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise _WrongError(option, f"{type(value).__name__} instead of a mapping")
    if len(value) > MAX_ITEMS:
        raise _WrongError(option, f"more than {MAX_ITEMS} items")
    return dict(value)


def _texts(option: str, value: Any) -> dict[str, str]:
    texts = {_text(option, name): _text(option, each) for name, each in _mapping(option, value).items()}
    _bounded(option, [*texts, *texts.values()])
    return texts


def _folder(option: str, value: Any) -> str:
    path = _text(option, value)
    if not path.startswith("/") or ".." in PurePosixPath(path).parts or not path.isprintable():
        raise _WrongError(option, f"{path[:80]!r} is not an absolute path")
    return path


def _target(option: str, value: Any) -> str:
    """Where something is put over what the container has there."""
    path = "/" + "/".join(part for part in _folder(option, value).split("/") if part not in ("", "."))
    if path == "/" or any(PurePosixPath(path).is_relative_to(closed) for closed in _CLOSED_TARGETS):
        raise _WrongError(option, f"{path[:80]!r} is the container's own")
    if ":" in path or "," in path:
        raise _WrongError(option, f"{path[:80]!r} holds a colon or comma")
    return path


def _tmpfs(value: Any) -> dict[str, int]:
    # The kernel takes a size of 0 for "unlimited".
    sizes = _mapping("tmpfs", value)
    return {_target("tmpfs", path): _number("tmpfs", size, 4096) for path, size in sizes.items()}


def _device(value: Any) -> Device:
    if not isinstance(value, Device):
        raise _WrongError("devices", f"{type(value).__name__} instead of a Device")
    paths = _folder("devices", value.path), _folder("devices", value.inside or value.path)
    if ":" in "".join(paths):
        raise _WrongError("devices", "a path holds a colon")
    return Device(*paths, writable=value.writable is not False)


def _mount(value: Any) -> Mount:
    if not isinstance(value, Mount):
        raise _WrongError("mounts", f"{type(value).__name__} instead of a Mount")
    source, target = _folder("mounts", value.source), _target("mounts", value.target)
    return Mount(source, target, writable=value.writable is not False)


def _files(value: Any, max_size: int) -> tuple[Files, ...]:
    sets = _several("files", value)
    checked = []
    count = size = 0
    for each in sets:
        if not isinstance(each, Files):
            raise _WrongError("files", f"{type(each).__name__} instead of Files")
        content = dict(each.content) if isinstance(each.content, Mapping) else None
        if content is None or not all(
            type(path) is str and isinstance(data, bytes) for path, data in content.items()
        ):
            raise _WrongError("files", "their content is not bytes by path")
        count += len(content)
        size += sum(map(len, content.values()))
        if count > MAX_FILES or size > max_size:
            raise _WrongError("files", f"more than {MAX_FILES} files or {max_size} bytes (MAX_CONTEXT_SIZE)")
        if any(checked_path(path) != path for path in content):
            raise _WrongError("files", "a path is not in its plainest form; use Files.of")
        checked.append(Files(_folder("files", each.root), content, _number("files", each.owner, 0)))
    return tuple(checked)
