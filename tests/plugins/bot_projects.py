"""Small counterparts of the kinds of bot projects that people publish; each says ``ready`` and waits."""

import io
import zipfile

from tests.conftest import BASE_IMAGE

Project = dict[str, str | bytes]

_BOT = "import time\nprint('ready', flush=True)\nwhile True:\n    time.sleep(1)\n"


def _wheel(name: str, module: str, source: str) -> bytes:
    """A wheel of one module, so that nothing needs a package index."""
    output = io.BytesIO()
    info = f"{name}-1.0.dist-info"
    files = {
        f"{module}.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(output, "w") as wheel:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(zipfile.ZipInfo(path), text)
    return output.getvalue()


def _dockerfile_at_the_root() -> Project:
    return {
        "Dockerfile": f"FROM {BASE_IMAGE}\nWORKDIR /srv\nCOPY bot.py .\nUSER 1000\n"
        'CMD ["python3", "-u", "bot.py"]\n',
        "bot.py": _BOT,
        "notes.txt": "not needed",
        ".dockerignore": "notes.txt\n",
    }


def _dockerfile_in_a_subfolder() -> Project:
    return {
        "README.md": "# bot\n",
        "bot/Dockerfile": f'FROM {BASE_IMAGE}\nCOPY . /srv\nCMD ["python3", "-u", "/srv/main.py"]\n',
        "bot/main.py": _BOT,
    }


def _requirements() -> Project:
    # It writes beside its code, as bots with a small database do.
    bot = "import greeting\nopen('bot.db', 'w').close()\n" + _BOT.replace("'ready'", "greeting.WORD")
    return {
        "requirements.txt": "# of our own\n./vendor/greeting-1.0-py3-none-any.whl\n",
        "vendor/greeting-1.0-py3-none-any.whl": _wheel("greeting", "greeting", "WORD = 'ready'\n"),
        "bot.py": bot,
    }


def _pyproject() -> Project:
    backend = (
        "import pathlib\n"
        "def build_wheel(folder, config_settings=None, metadata_directory=None):\n"
        "    name = 'polite_bot-1.0-py3-none-any.whl'\n"
        "    pathlib.Path(folder, name).write_bytes(pathlib.Path('build/the.whl').read_bytes())\n"
        "    return name\n"
    )
    return {
        "pyproject.toml": '[project]\nname = "polite-bot"\nversion = "1.0"\ndependencies = []\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["build"]\n',
        "build/backend.py": backend,
        "build/the.whl": _wheel("polite_bot", "politeness", _BOT),
        "src/polite_bot/__init__.py": "",
        "src/polite_bot/__main__.py": "from . import words\nimport politeness\n",
        "src/polite_bot/words.py": "",
    }


def _multi_stage() -> Project:
    return {
        "Dockerfile": f"FROM {BASE_IMAGE} AS builder\nCOPY bot.py /build/\n"
        "RUN python3 -m compileall -q -b /build && rm /build/bot.py\n"
        f"FROM {BASE_IMAGE}\nCOPY --from=builder /build /srv\n"
        'CMD ["python3", "-u", "/srv/bot.pyc"]\n',
        "bot.py": _BOT,
    }


PROJECTS = {
    "dockerfile-at-the-root": _dockerfile_at_the_root(),
    "dockerfile-in-a-subfolder": _dockerfile_in_a_subfolder(),
    "requirements": _requirements(),
    "pyproject": _pyproject(),
    "multi-stage": _multi_stage(),
}
GENERATED = ("requirements", "pyproject")
"""Those that bring no Dockerfile."""
