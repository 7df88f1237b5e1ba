#!/usr/bin/env bash
# Runs every test; pytest's summary of the main suite comes last. Options for both runs: PYTEST_ADDOPTS.
source "$(dirname "$0")/common.sh"
BASE_IMAGE=$(<.state/base-image)
export BASE_IMAGE
status=0
# More than there are cores: most of the time a test waits for the Engine. A file stays in one process, so that
# what its tests share is made once.
at_once=(--numprocesses 4 --dist loadfile)

scripts/services.sh
scripts/compose.sh

say "Tests of the orchestrator, in its environment"
# The tests' shared conftest.py belongs to the worker's environment.
.venv-orchestrator/bin/pytest --confcutdir tests/orchestrator tests/orchestrator || status=$?
say "Tests of everything else"
.venv/bin/pytest "${at_once[@]}" --ignore tests/orchestrator --ignore tests/faults tests || status=$?
exit "$status"
