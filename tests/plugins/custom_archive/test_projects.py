"""Real kinds of projects as archives inside the request; test_download.py has what comes from a server."""

import base64
import io
import tarfile
import zipfile

import pytest
from tests.corpus.conftest import SharedMemoryRunner, SharedRunner
from tests.plugins.bot_projects import GENERATED, PROJECTS, Project
from tests.plugins.starting import SETTINGS, started, taken

FORMATS = ("tar", "tar.gz", "tar.bz2", "tar.xz", "zip")


def archive_of(project: Project, form: str = "tar.gz", folder: str = "") -> bytes:
    """An archive as ordinary programs make it."""
    output = io.BytesIO()
    content = {folder + path: _bytes(data) for path, data in project.items()}
    if form == "zip":
        with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as zipped:
            for path, data in content.items():
                zipped.writestr(path, data)
    else:
        with tarfile.open(fileobj=output, mode=f"w:{form[4:]}") as archive:
            for path, data in content.items():
                info = tarfile.TarInfo(path)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return output.getvalue()


def _bytes(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data


def inline(archive: bytes) -> str:
    """The archive as the request carries it."""
    return base64.b64encode(archive).decode()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "form"), list(zip(PROJECTS, FORMATS, strict=True)))
async def test_each_kind_of_project_in_each_format(name: str, form: str, shared_runner: SharedRunner) -> None:
    runner = await shared_runner(SETTINGS)
    archive = archive_of(PROJECTS[name], form, folder="project-main/")
    result = await started(runner, name, archive=inline(archive))
    assert any("no Dockerfile" in note for note in result["notes"]) == (name in GENERATED)


async def test_a_folder_of_the_archive(shared_memory_runner: SharedMemoryRunner) -> None:
    project = {f"services/bot/{path}": data for path, data in PROJECTS["requirements"].items()}
    archive = archive_of({**project, "services/web/Dockerfile": "FROM x"}, folder="monorepo/")
    result = await taken(shared_memory_runner({}), archive=inline(archive), archive_subdir="services/bot")
    assert any("no Dockerfile" in note for note in result["notes"])


async def test_the_entrypoint_of_the_request(shared_memory_runner: SharedMemoryRunner) -> None:
    archive = archive_of({"requirements.txt": "", "app/run.py": "", "bot.py": ""})
    result = await taken(shared_memory_runner({}), archive=inline(archive), entrypoint="app/run.py")
    assert "app/run.py" in result["notes"][0]
