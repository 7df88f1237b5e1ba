#!/usr/bin/env bash
# Measures the runner's speed against doing the same by hand; options as of python -m benchmarks.
source "$(dirname "$0")/common.sh"
BASE_IMAGE=$(<.state/base-image)
BOT_RUNNER_ORCHESTRATOR_BIN=$PWD/.venv-orchestrator/bin/bot-runner-orchestrator
export BASE_IMAGE BOT_RUNNER_ORCHESTRATOR_BIN

scripts/services.sh
exec .venv/bin/python -m benchmarks "$@"
