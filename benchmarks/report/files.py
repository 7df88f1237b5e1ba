"""The files of a run."""

import json
from pathlib import Path

from benchmarks.report.bars import bars
from benchmarks.report.lines import lines
from benchmarks.report.markdown import markdown
from benchmarks.results import Results

FOLDER = Path("build/bench")


def write(results: Results, folder: Path = FOLDER) -> list[Path]:
    """Write ``results.json``, ``results.md``, ``speed.svg`` and ``growth.svg``; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "results.json": json.dumps(results.to_dict(), indent=2, ensure_ascii=False) + "\n",
        "results.md": markdown(results),
        "speed.svg": bars(results.rows),
    }
    if results.curves:
        contents["growth.svg"] = lines(results.curves)
    for name, content in contents.items():
        (folder / name).write_text(content, encoding="utf-8")
    return [folder / name for name in contents]
