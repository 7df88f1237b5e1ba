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
    --no-emit-package bot-runner-worker --no-emit-package bot-runner-git --no-emit-package bot-runner-cli \
    --custom-compile-command "make lock" --output-file "$output" "$@" >/dev/null
}

# lock_part NAME WHOLE FILE…: locks into requirements/NAME.txt what the files ask for, in the very versions of
# requirements/WHOLE.txt: an image holds what was tested, without the tools of the tests.
lock_part() {
  local name=$1 whole=requirements/$2.txt
  shift 2
  lock "$name" --constraint "$whole" "$@"
}

lock bootstrap requirements/bootstrap.in
lock worker core/pyproject.toml libraries/*/pyproject.toml plugins/*/pyproject.toml cli/pyproject.toml \
  stack/pyproject.toml requirements/worker.in
lock orchestrator orchestrator/pyproject.toml requirements/orchestrator.in
lock_part image-build worker requirements/image-build.in
# The distributions that the Dockerfile installs: the other plugins are for who wants them.
lock_part worker-image worker core/pyproject.toml libraries/git/pyproject.toml \
  plugins/{simple,custom_git,custom_archive,image}/pyproject.toml
lock docs requirements/docs.in
lock_part orchestrator-image orchestrator orchestrator/pyproject.toml
