"""Real kinds of projects as archives, inside the request and over HTTPS, started on the real Engine."""

import base64
import io
import tarfile
import zipfile

import pytest
from tests.corpus.conftest import SharedRunner
from tests.corpus.servers import GIT_PASSWORD, GIT_USER, Servers
from tests.plugins.bot_projects import GENERATED, PROJECTS, Project
from tests.plugins.starting import SETTINGS, started

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

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


@pytest.mark.parametrize("name", PROJECTS)
async def test_inside_the_request(name: str, shared_runner: SharedRunner) -> None:
    runner = await shared_runner(SETTINGS)
    result = await started(runner, name, archive=inline(archive_of(PROJECTS[name], folder="project-main/")))
    assert any("no Dockerfile" in note for note in result["notes"]) == (name in GENERATED)


@pytest.mark.usefixtures("host_names")
@pytest.mark.parametrize("name", PROJECTS)
async def test_over_https(name: str, shared_runner: SharedRunner, servers: Servers) -> None:
    runner = await shared_runner(SETTINGS)
    servers.file(f"{name}.tar.gz", archive_of(PROJECTS[name]))
    url = servers.https.url(f"/files/{name}.tar.gz", host="files.example")
    await started(runner, name, archive_url=url)


@pytest.mark.parametrize("form", FORMATS)
async def test_each_format_is_known_by_its_content(form: str, shared_runner: SharedRunner) -> None:
    runner = await shared_runner(SETTINGS)
    await started(runner, "bot", archive=inline(archive_of(PROJECTS["dockerfile-at-the-root"], form)))


async def test_a_folder_of_the_archive(shared_runner: SharedRunner) -> None:
    runner = await shared_runner(SETTINGS)
    project = {f"services/bot/{path}": data for path, data in PROJECTS["requirements"].items()}
    archive = archive_of({**project, "services/web/Dockerfile": "FROM x"}, folder="monorepo/")
    await started(runner, "bot", archive=inline(archive), archive_subdir="services/bot")


async def test_the_entrypoint_of_the_request(shared_runner: SharedRunner) -> None:
    runner = await shared_runner(SETTINGS)
    project = {"requirements.txt": "", "app/run.py": PROJECTS["dockerfile-at-the-root"]["bot.py"]}
    result = await started(runner, "bot", archive=inline(archive_of(project)), entrypoint="app/run.py")
    assert "app/run.py" in result["notes"][0]


async def test_a_redirect_to_an_open_address_is_followed_without_the_password(
    shared_runner: SharedRunner, servers: Servers
) -> None:
    runner = await shared_runner(SETTINGS)
    target = servers.file("redirected.tar.gz", archive_of(PROJECTS["requirements"]), secure=True)
    servers.https.headers.clear()
    url = servers.redirect(target).replace("//", f"//{GIT_USER}:{GIT_PASSWORD}@", 1)
    await started(runner, "bot", archive_url=url)
    assert "Authorization" not in servers.https.headers[-1]


async def test_a_password_for_the_archive(shared_runner: SharedRunner, servers: Servers) -> None:
    runner = await shared_runner(SETTINGS)
    servers.file("secret.tar.gz", archive_of(PROJECTS["requirements"]))
    url = servers.http.url("/private/secret.tar.gz")
    await started(runner, "bot", archive_url=url.replace("//", f"//{GIT_USER}:{GIT_PASSWORD}@"))


async def test_a_server_that_says_no_length(shared_runner: SharedRunner, servers: Servers) -> None:
    runner = await shared_runner(SETTINGS)
    servers.file("plain.tar.gz", archive_of(PROJECTS["requirements"]))
    await started(runner, "bot", archive_url=servers.http.url("/no-length/plain.tar.gz"))
