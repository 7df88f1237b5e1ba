#!/usr/bin/env bash
# Runs the suites that are named, by default all: orchestrator, faults, main. pytest's summary of the last comes last.
# Options for all runs: PYTEST_ADDOPTS.
source "$(dirname "$0")/common.sh"
BASE_IMAGE=$(<.state/base-image)
export BASE_IMAGE
status=0
# More than there are cores: most of the time a test waits for the Engine. A file stays in one process, so that
# what its tests share is made once.
at_once=(--numprocesses 3 --dist loadfile --no-loadscope-reorder)

scripts/services.sh
scripts/compose.sh

(($#)) || set -- orchestrator faults main
for suite in "$@"; do
  case $suite in
    orchestrator)
      say "Tests of the orchestrator, in its environment"
      # The tests' shared conftest.py belongs to the worker's environment.
      .venv-orchestrator/bin/pytest --confcutdir tests/orchestrator tests/orchestrator || status=$?
      ;;
    faults)
      say "The faults: what bots depend on is killed, hung, filled and moved"
      scripts/test-faults.sh || status=$?
      ;;
    main)
      say "Tests of everything else"
      .venv/bin/pytest "${at_once[@]}" --ignore tests/orchestrator --ignore tests/faults tests || status=$?
      ;;
    *) fail "There is no suite $suite: orchestrator, faults or main." ;;
  esac
done
exit "$status"
