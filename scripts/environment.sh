#!/usr/bin/env bash
# Makes one of the three environments: locked packages, checked by hash, and this repository's own
# distributions, editable. The worker SDK and the orchestrator cannot share one (their orjson versions differ).
source "$(dirname "$0")/common.sh"

case ${1:-} in
  worker) venv=.venv distributions=(core libraries/* plugins/* cli stack) ;;
  orchestrator) venv=.venv-orchestrator distributions=(orchestrator) ;;
  docs) venv=.venv-docs distributions=() ;;
  *) fail "usage: scripts/environment.sh worker|orchestrator|docs" ;;
esac
lock=requirements/$1.txt
take_turns "environment-$1"

key=$(content_key "$lock" "${distributions[@]/%//pyproject.toml}" requirements/bootstrap.txt scripts/environment.sh)
if is_done "environment-$1" "$key" && [[ -x $venv/bin/python ]]; then
  exit
fi

source scripts/use-uv.sh
say "Making $venv from $lock"
if ! [[ -x $venv/bin/python ]]; then
  uv venv --clear --python "$(scripts/find-python.sh)" "$venv"
fi
uv pip sync --python "$venv/bin/python" --require-hashes --only-binary :all: "$lock"
if ((${#distributions[@]})); then
  # The build backend comes from the lock as well: nothing is fetched here.
  uv pip install --python "$venv/bin/python" --offline --no-deps --no-build-isolation \
    "${distributions[@]/#/--editable=}"
fi
uv pip check --python "$venv/bin/python" >/dev/null 2>.state/check.log ||
  fail "$lock lacks something that a pyproject.toml asks for: run 'make lock' (see .state/check.log)."
mark_done "environment-$1" "$key"
