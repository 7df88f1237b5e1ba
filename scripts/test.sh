#!/usr/bin/env bash
# Runs every test; pytest's summary of the main suite comes last. Options for both runs: PYTEST_ADDOPTS.
source "$(dirname "$0")/common.sh"
BASE_IMAGE=$(<.state/base-image)
export BASE_IMAGE
status=0

scripts/services.sh

say "Tests of the orchestrator, in its environment"
# The tests' shared conftest.py belongs to the worker's environment.
.venv-orchestrator/bin/pytest --confcutdir tests/orchestrator tests/orchestrator || status=$?
say "Tests of everything else"
.venv/bin/pytest --ignore tests/orchestrator tests || status=$?
exit "$status"
