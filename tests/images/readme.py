"""What the READMEs show, so that the tests run it and nothing else."""

import re
import shlex

from tests.images.docker_cli import REPOSITORY

READMES = ("README.md", "README.ru.md")


def blocks(readme: str, language: str) -> list[str]:
    """The code blocks of a language, in order."""
    text = (REPOSITORY / readme).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def docker_run(readme: str, name: str = "bot-runner-worker") -> list[str]:
    """A ``docker run`` command of the chapter on installing, by the container's name, as words."""
    commands = [block for block in blocks(readme, "sh") if block.startswith("docker run")]
    [words] = [
        words
        for words in (shlex.split(command.replace("\\\n", "")) for command in commands)
        if words[words.index("--name") + 1] == name
    ]
    return words


def plugin_dockerfile(readme: str) -> str:
    """The Dockerfile that adds a plugin."""
    [dockerfile] = blocks(readme, "dockerfile")
    return dockerfile
