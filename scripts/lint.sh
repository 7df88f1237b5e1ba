#!/usr/bin/env bash
# Checks the code without running it: style, formatting, types of every distribution, who imports whom.
source "$(dirname "$0")/common.sh"

status=0

# check COMMAND…: runs one check; the others run even if it fails.
check() { "$@" || status=1; }

say "ruff: style and formatting"
check .venv/bin/ruff check --quiet
check .venv/bin/ruff format --check
check .venv/bin/python scripts/lint_waits.py
say "mypy: types"
check .venv/bin/mypy core/src libraries/*/src plugins/*/src cli/src stack/src benchmarks docker scripts
check .venv-orchestrator/bin/mypy --cache-dir .mypy_cache/orchestrator orchestrator/src
say "import-linter: who imports whom"
check .venv/bin/lint-imports --no-logo
exit "$status"
