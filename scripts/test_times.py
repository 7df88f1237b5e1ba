#!/usr/bin/env python3
"""Shows where the time of a run of tests went, from what scripts/test.sh and tests/tiers.py have written.

usage: test_times.py FOLDER [--record FILE]
"""

import json
import sys
from collections import Counter, defaultdict
from pathlib import Path

SLOWEST = 10
WORTH_RECORDING = 2
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
    recorded: dict[str, dict[str, float]] = json.loads(target.read_text()) if target.exists() else {}
    files: dict[tuple[str, str], float] = defaultdict(float)
    for name, test in tests.items():
        files[str(test["tier"]), name.partition("::")[0]] += float(str(test["seconds"]))
    for tier in {tier for tier, _ in files}:
        of_tier = {file: round(seconds) for (each, file), seconds in files.items() if each == tier}
        recorded[tier] = {file: of_tier[file] for file in sorted(of_tier) if of_tier[file] >= WORTH_RECORDING}
    target.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    words = sys.argv[1:]
    main(Path(words[0]), Path(words[2]) if words[1:2] == ["--record"] else None)
