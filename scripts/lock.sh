#!/usr/bin/env bash
# Writes the lock files requirements/*.txt: exact versions with hashes, for every platform, naming no index.
# Versions already locked stay as they are unless UPGRADE is set.
source "$(dirname "$0")/common.sh"
source scripts/use-uv.sh

# lock NAME FILE…: locks what the files ask for into requirements/NAME.txt.
lock() {
  local output=requirements/$1.txt
  shift
  say "Locking $output"
  # The distributions of this repository need one another; only what comes from the index is locked.
  uv pip compile --universal --python-version 3.11 --generate-hashes ${UPGRADE:+--upgrade} \
    --no-emit-package bot-runner-worker --no-emit-package bot-runner-cli \
    --custom-compile-command "make lock" --output-file "$output" "$@" >/dev/null
}

lock bootstrap requirements/bootstrap.in
lock worker core/pyproject.toml plugins/*/pyproject.toml cli/pyproject.toml stack/pyproject.toml requirements/worker.in
lock orchestrator orchestrator/pyproject.toml requirements/orchestrator.in
