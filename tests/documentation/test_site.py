"""The documentation's site is made with one command, from all texts, and needs no network to be read."""

import re
import subprocess

import pytest
from tests.wheelhouse import REPOSITORY

pytestmark = [pytest.mark.images, pytest.mark.usefixtures("site")]

SITE = REPOSITORY / "build" / "docs"


@pytest.fixture(scope="module")
def site() -> None:
    """The site, made anew; a link that leads nowhere fails it."""
    done = subprocess.run(["make", "docs"], cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


def test_every_text_of_the_repository_is_a_page() -> None:
    folders = ("docs", "core", "libraries", "plugins", "cli", "orchestrator", "stack", "examples")
    texts = [path for folder in folders for path in (REPOSITORY / folder).rglob("*.md")]
    assert len(texts) > 15
    for path in texts:
        page = path.relative_to(REPOSITORY).with_suffix(".html")
        page = page.with_name("index.html") if path.name == "README.md" else page
        assert (SITE / page).is_file(), page
        assert f'"{path.relative_to(REPOSITORY)}"' in (REPOSITORY / "zensical.toml").read_text(), path


def test_no_page_needs_another_server() -> None:
    loaded = re.compile(r"<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=\"?(https?:)?//[^>]*>")
    pages = list(SITE.rglob("*.html"))
    assert pages
    found = {tag[0] for page in pages for tag in loaded.finditer(page.read_text())}
    assert found == set()
    styles = "".join(path.read_text() for path in SITE.rglob("*.css"))
    assert not re.search(r"url\([\"']?https?:|@import", styles)


def test_the_picture_of_a_requests_life_is_on_its_page() -> None:
    page = (SITE / "docs" / "plugins" / "life-of-a-request.html").read_text()
    assert 'src="life-of-a-request.svg"' in page
    assert (SITE / "docs" / "plugins" / "life-of-a-request.svg").is_file()
