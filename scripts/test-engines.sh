#!/usr/bin/env bash
# Runs what touches the Docker Engine on a newer one too; arguments, if any, are pytest's in place of the list below.
source "$(dirname "$0")/common.sh"
BASE_IMAGE=$(<.state/base-image)
export BASE_IMAGE BOT_RUNNER_ORCHESTRATOR_BIN=$PWD/.venv-orchestrator/bin/bot-runner-orchestrator

tests=(
  tests/core    # all that the worker does to an Engine, the firewall in a network of its own
  tests/plugins # each plugin's builds and images
  tests/corpus  # what an Engine makes of hostile images, Dockerfiles and registries
  # The worker as a process with the orchestrator, in all modes.
  tests/stack/test_whole_stack.py tests/stack/test_modes.py tests/stack/test_standby.py
)
# Left out: tests/cli and tests/orchestrator, which have no Engine; tests/images and the demo, which show how images
# are built and commands read, not what an Engine does; tests/faults, which brings an Engine of its own.

(($#)) || set -- -m "engine or slow" "${tests[@]}"
exec scripts/newer-engine.sh .venv/bin/pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder "$@"
