#!/usr/bin/env bash
# Runs the tests of a tier, as independent stages side by side, and ends with a table of where the time went.
#   quick   lint and all tests without a Docker Engine
#   usual   the same and what shows each promise of the README once on real parts: `make test`
#   full    all the rest
# Options for every pytest: PYTEST_ADDOPTS. Limits of time in tests are multiplied by TEST_TIME_SCALE.
source "$(dirname "$0")/common.sh"

tier=${1:-usual}
logs=.state/test
rm -rf "$logs"
mkdir -p "$logs"
declare -A stages=() # process id → name
set -m               # a process group for each stage: Ctrl-C ends all of it

# give_up SIGNAL: hands the signal on to all that runs. After Ctrl-C, pytest removes what its tests have made.
give_up() {
  local pid
  trap '' INT TERM
  for pid in "${!stages[@]}"; do kill "-$1" -- "-$pid" 2>/dev/null || true; done
  wait
  fail "The tests were ended before their time."
}
trap 'give_up INT' INT
trap 'give_up TERM' TERM

# stage NAME COMMAND…: runs it in the background, with its output, its end and its seconds in .state/test/NAME.*
stage() {
  local name=$1
  shift
  {
    local begun=$SECONDS status=0
    "$@" >"$logs/$name.log" 2>&1 </dev/null || status=$?
    echo "$((SECONDS - begun)) $status" >"$logs/$name.end"
    exit "$status"
  } &
  stages[$!]=$name
}

# together: waits for all stages that run, and shows what each printed as soon as it ends.
status=0
together() {
  local pid code
  say "Running side by side: ${stages[*]} (logs: $logs)"
  while ((${#stages[@]})); do
    code=0
    wait -n -p pid || code=$?
    say "${stages[$pid]}: $( ((code)) && echo FAILED || echo passed) after $(cut -d ' ' -f 1 "$logs/${stages[$pid]}.end") s"
    cat "$logs/${stages[$pid]}.log"
    ((code == 0)) || status=1
    unset "stages[$pid]"
  done
}

# tests NAME PROCESSES MARKERS: pytest's tests that carry one of the markers, in the worker's environment.
# A file stays in one process, so that what its tests share is made once.
tests() {
  TEST_TIMES=$logs/$1.json .venv/bin/pytest --numprocesses "$2" --dist loadfile --no-loadscope-reorder -m "$3" \
    --ignore tests/orchestrator tests
}

# of_orchestrator NAME MARKERS: the same in the orchestrator's environment; its tests mostly wait.
# The tests' shared conftest.py belongs to the worker's environment.
of_orchestrator() {
  TEST_TIMES=$logs/$1.json .venv-orchestrator/bin/pytest --numprocesses 4 --dist worksteal -m "$2" \
    --confcutdir tests/orchestrator tests/orchestrator
}

if [[ $tier != quick ]]; then
  BASE_IMAGE=$(<.state/base-image)
  export BASE_IMAGE
fi
case $tier in
  quick | usual)
    stage lint scripts/lint.sh
    stage quick tests quick 2 quick
    stage orchestrator of_orchestrator orchestrator quick
    together
    if [[ $tier == usual ]]; then
      stage engine tests engine 3 engine
      together
    fi
    ;;
  full)
    stage orchestrator of_orchestrator orchestrator slow
    stage slow tests slow 3 "slow or compose or images"
    stage faults tests faults 2 faults
    together
    ;;
  *) fail "usage: scripts/test.sh quick|usual|full" ;;
esac
scripts/test_times.py "$logs"
exit "$status"
