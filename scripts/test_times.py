#!/usr/bin/env python3
"""Shows where the time of a run of tests went, from what scripts/test.sh and tests/tiers.py have written.

usage: test_times.py FOLDER [--record FILE]
"""

import json
import sys
from collections import Counter, defaultdict
from pathlib import Path

SLOWEST = 10
WORTH_RECORDING = 2.0
"""Seconds from which it matters when a file is begun."""


def main(folder: Path, record: Path | None) -> None:
    """Print a table of the stages and tiers, and the slowest tests."""
    print(f"\n{'stage':<14}{'tier':<10}{'tests':>7}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    tests: dict[str, dict[str, object]] = {}
    for end in sorted(folder.glob("*.end"), key=lambda path: path.stat().st_mtime):
        seconds = end.read_text().split()[0]
        results = folder / f"{end.stem}.json"
        found = json.loads(results.read_text()) if results.exists() else {}
        tests |= found
        rows = Counter((test["tier"], test["outcome"]) for test in found.values())
        for tier in sorted({tier for tier, _ in rows}) or ["-"]:
            failed, skipped = rows[tier, "failed"], rows[tier, "skipped"]
            count = rows[tier, "passed"] + failed + skipped
            print(f"{end.stem:<14}{tier:<10}{count:>7}{failed:>8}{skipped:>9}{seconds:>9}")
    print(f"\nThe {SLOWEST} slowest tests, in seconds:")
    slowest = sorted(tests, key=lambda name: -float(str(tests[name]["seconds"])))
    for name in slowest[:SLOWEST]:
        print(f"{float(str(tests[name]['seconds'])):>8.1f}  {name}")
    if record:
        _record(tests, record)


def _record(tests: dict[str, dict[str, object]], target: Path) -> None:
    files: dict[str, float] = defaultdict(float)
    for name, test in tests.items():
        files[name.partition("::")[0]] += float(str(test["seconds"]))
    before = json.loads(target.read_text()) if target.exists() else {}
    seconds = {**before, **{name: round(each) for name, each in files.items()}}
    kept = {
        name: each
        for name, each in sorted(seconds.items())
        if each >= WORTH_RECORDING and Path(name).exists()
    }
    target.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    words = sys.argv[1:]
    main(Path(words[0]), Path(words[2]) if words[1:2] == ["--record"] else None)
