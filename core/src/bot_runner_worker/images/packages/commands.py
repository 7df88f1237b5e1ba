"""The commands that install requirements."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from bot_runner_worker.images.context import BuildContext, BuildContextWriter
from bot_runner_worker.model.image import Image
from bot_runner_worker.settings import Settings

UV_VERSION = "0.13.9"

UV_FOLDER = "/opt/bot-runner-uv"
"""Where the volume with uv is mounted."""

CACHE_FOLDER = "/opt/bot-runner-cache"
"""Where the volume with the cache of wheels is mounted."""

PIP_INSTALL = (
    "python3 -m pip install --no-cache-dir --no-input --disable-pip-version-check --root-user-action=ignore"
)

WHEELS_ONLY = ("--only-binary", ":all:", "--link-mode", "copy", "--cache-dir", CACHE_FOLDER)
REFRESHED = (*WHEELS_ONLY, "--refresh")
WITH_BUILDS = ("--no-cache",)

_CACHE_CONTROL = '{ api = "max-age=600", files = "max-age=365000000, immutable" }'
"""How long uv caches pages and files of an operator's index, in seconds (RFC 9111): what PyPI says of itself.
Mirrors and private indexes often say nothing, and would be asked for each page of each package again."""

_CONFIG_FILE = "/dev/shm/uv.toml"  # noqa: S108 (in memory: no part of the image)

_UV = f"{UV_FOLDER}/ready/bin/uv"


def install(
    requirements: Sequence[str], how: Sequence[str], environment: Mapping[str, str]
) -> tuple[str, ...]:
    """The command that installs packages with uv, for the base image's own interpreter.

    Args:
        requirements: Checked ones, from the index only; they come after a ``--``.
        how: :data:`WHEELS_ONLY`, :data:`REFRESHED` or :data:`WITH_BUILDS`.
        environment: Proxies and package index, as arguments: variables of the container would stay in the
            image. What is missing is that of the base image's variables, or PyPI.
    """

    def uv(variables: Mapping[str, str], *config: str) -> tuple[str, ...]:
        return (
            *(f"{name}={value}" for name, value in variables.items()),
            # No bytecode: uv's compiler starts the interpreter with the packages' .pth files.
            *(_UV, "pip", "install", "--system", "--break-system-packages", "--no-compile-bytecode"),
            *(*config, "--no-progress", "--system-certs", *how, "--", *requirements),
        )

    # A file would win over --refresh, too.
    index = environment.get("UV_DEFAULT_INDEX")
    if index is None or how != WHEELS_ONLY:
        return ("env", *uv(environment, "--no-config"))
    others = {name: value for name, value in environment.items() if name != "UV_DEFAULT_INDEX"}
    config = f"[[index]]\nurl = {json.dumps(index)}\ndefault = true\ncache-control = {_CACHE_CONTROL}\n"
    return (
        *("sh", "-ec", f'printf %s "$1" > {_CONFIG_FILE}; shift; exec env "$@"', "install", config),
        # The variable would win over the file, and says nothing about caching.
        *("-u", "UV_DEFAULT_INDEX", *uv(others, "--config-file", _CONFIG_FILE)),
    )


def is_missing(output: str) -> bool:
    """Whether :func:`install` failed because there is no uv in the volume."""
    return _UV in output and "No such file or directory" in output


def fetch_uv(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The command that installs uv into its volume, completely or not at all, even if two run it at once."""
    script = (
        f"test -d {UV_FOLDER}/ready && exit; "
        f"part=$(mktemp -d {UV_FOLDER}/part.XXXXXX); "
        # Where there is no index at all, a start should not wait for long.
        "python3 -m pip --retries 1 --timeout 10 install --quiet --no-cache-dir --no-input "
        "--disable-pip-version-check --no-deps "
        f'--root-user-action=ignore --only-binary :all: --target "$part" uv=={UV_VERSION}; '
        f'chmod 755 "$part"; mv -T "$part" {UV_FOLDER}/ready || test -d {UV_FOLDER}/ready'
    )
    return ("env", *(f"{name}={value}" for name, value in environment.items()), "sh", "-ec", script)


def compile_bytecode() -> tuple[str, ...]:
    """The command that compiles the installed packages to bytecode.

    ``-S`` runs no ``.pth`` file, ``-I`` imports nothing from outside. Sources in an image never
    change, so the bytecode carries no time stamps to check (PEP 552).
    """
    script = (
        "import compileall, py_compile, sysconfig\n"
        "mode = py_compile.PycInvalidationMode.UNCHECKED_HASH\n"
        "for path in {sysconfig.get_path(each) for each in ('purelib', 'platlib')}:\n"
        "    compileall.compile_dir(path, quiet=2, workers=0, invalidation_mode=mode)\n"
    )
    return ("python3", "-I", "-S", "-c", script)


def measure_cache() -> tuple[str, ...]:
    """The command that prints how many KiB the cache of wheels takes."""
    return ("du", "-sk", CACHE_FOLDER)


@contextmanager
def pip_context(base: Image, requirements: Sequence[str], settings: Settings) -> Iterator[BuildContext]:
    """The build context that installs requirements with pip, where uv cannot be used."""
    with BuildContextWriter(max_size=settings.max_context_size) as writer:
        writer.add("requirements.txt", "\n".join(requirements) + "\n")
        lines = [f"FROM {base.id}", "COPY requirements.txt /requirements.txt"]
        lines.append(f"RUN {PIP_INSTALL} -r /requirements.txt")
        writer.add("Dockerfile", "\n".join(lines) + "\n")
        # Nothing in it belongs to one tenant.
        context = writer.finish(shared=True)
    try:
        yield context
    finally:
        context.close()
