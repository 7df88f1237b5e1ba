#!/usr/bin/env bash
# Removes what make put into this folder. The Engine, its images and the bots on it stay as they are.
source "$(dirname "$0")/common.sh"

rm -rf .venv .venv-docs .venv-orchestrator build dist .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
find . -name __pycache__ -type d -prune -exec rm -rf {} +
# A dockerd that was started here may still write its log.
find .state -mindepth 1 -maxdepth 1 ! -name 'dockerd.*' -exec rm -rf {} +
