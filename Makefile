# Each target does its own set-up; what is in place already costs next to nothing. The work is in scripts/.

SHELL := bash
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
export PYTHON UPGRADE

stack := BASE_IMAGE="$$(cat .state/base-image)" \
	BOT_RUNNER_ORCHESTRATOR_BIN="$(CURDIR)/.venv-orchestrator/bin/bot-runner-orchestrator" \
	.venv/bin/python -m bot_runner_stack

.PHONY: help
help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

.PHONY: demo
demo: setup ## deploy an example bot through the real orchestrator, talk to it, remove it
	@$(stack) demo

.PHONY: up
up: setup ## run the orchestrator and a worker in the foreground (Ctrl-C ends them; bots stay)
	@$(stack) up

.PHONY: stack
stack: setup ## try compose.yaml: bring it up, deploy bots, restart each service, take it down
	@scripts/services.sh docker-compose
	@$(stack) compose $(STACK_OPTIONS)

.PHONY: test
test: setup services ## run the checks and the usual tests on real parts: does everything work? (options for pytest: PYTEST_ADDOPTS)
	@scripts/test.sh usual

.PHONY: test-quick
test-quick: environments ## run the checks and the tests that need no Docker Engine
	@scripts/services.sh redis-server
	@scripts/test.sh quick

.PHONY: test-full
test-full: setup services ## run all other tests: every fault, attack, image and documented command (as root)
	@scripts/test.sh full

.PHONY: test-engines
test-engines: setup services ## run the tests that touch the Engine on a newer one too (Docker 26.1, as root)
	@scripts/test-engines.sh

.PHONY: test-times
test-times: ## record which test files take long, after a run: the next one begins with them
	@scripts/test_times.py .state/test --record tests/durations.json

.PHONY: bench
bench: setup ## measure the speed against doing it by hand, on a quiet machine (options: BENCH_OPTIONS)
	@scripts/bench.sh $(BENCH_OPTIONS)

.PHONY: bench-quick
bench-quick: setup ## the most important of it, in less than two minutes
	@scripts/bench.sh --quick $(BENCH_OPTIONS)

.PHONY: lint
lint: environments ## check style, types and imports
	@scripts/lint.sh

.PHONY: docs
docs: ## write the documentation's site to build/docs
	@scripts/docs.sh

.PHONY: reference
reference: environments ## write docs/plugins/reference.md anew, from the docstrings
	@.venv/bin/python scripts/hook_reference.py

.PHONY: setup
setup: environments engine ## make the environments, see to a Docker Engine and a base image

.PHONY: lock
lock: ## write requirements/*.txt anew (UPGRADE=1: with the newest versions)
	@scripts/lock.sh

.PHONY: clean
clean: ## remove environments and caches from this folder (the Docker Engine and its images stay)
	@scripts/clean.sh

.PHONY: environments
environments:
	@scripts/environment.sh worker
	@scripts/environment.sh orchestrator

.PHONY: engine
engine:
	@scripts/engine.sh
	@scripts/base-image.sh

.PHONY: services
services:
	@scripts/services.sh
