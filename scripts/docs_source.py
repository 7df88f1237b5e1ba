"""Lays out the documentation's sources in the folder that is named: the repository's texts at their places.

Links in the repository may lead to a folder, or to a file that is no text. On the site, the first lead to the
folder's README, and of the second only the name stays.
"""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
LEFT_OUT = {"build", "dist", "tests", "config"}
_LINK = re.compile(r"(!?)\[([^\[\]]+)\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def texts(folder: Path) -> Iterator[Path]:
    """The repository's texts and pictures."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name in LEFT_OUT:
            continue
        if path.is_dir():
            yield from texts(path)
        elif path.suffix in (".md", ".svg"):
            yield path


def for_the_site(markdown: str, folder: Path) -> str:
    """A page's text with its links as the site needs them.

    Args:
        markdown: The page's text.
        folder: Where the page is.
    """

    def link(found: re.Match[str]) -> str:
        image, shown, target, anchor = found.groups(default="")
        path = folder / target
        if path.is_dir():
            return f"[{shown}]({target}/README.md{anchor})"
        is_text = path.suffix in (".md", ".svg") or not path.exists()
        return found[0] if is_text or image else shown

    return _LINK.sub(link, markdown)


def main(target: Path) -> None:
    """Write all sources below ``target``."""
    shutil.rmtree(target, ignore_errors=True)
    for path in texts(REPOSITORY):
        copy = target / path.relative_to(REPOSITORY)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            copy.write_text(for_the_site(path.read_text(), path.parent))
        else:
            shutil.copyfile(path, copy)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
