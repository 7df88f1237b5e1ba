"""What the READMEs show, so that the tests run it and nothing else."""

import re
import shlex

from tests.images.docker_cli import REPOSITORY

READMES = ("README.md", "README.ru.md")


def blocks(readme: str, language: str) -> list[str]:
    """The code blocks of a language, in order."""
    text = (REPOSITORY / readme).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def docker_run(readme: str) -> list[str]:
    """The ``docker run`` command of the chapter on installing, as words."""
    [command] = [block for block in blocks(readme, "sh") if block.startswith("docker run")]
    return shlex.split(command.replace("\\\n", ""))


def plugin_dockerfile(readme: str) -> str:
    """The Dockerfile that adds a plugin."""
    [dockerfile] = blocks(readme, "dockerfile")
    return dockerfile
