#!/usr/bin/env bash
# Makes the documentation's site in build/docs. A link that leads nowhere is an error.
source "$(dirname "$0")/common.sh"
take_turns docs

scripts/environment.sh docs
.venv-docs/bin/python scripts/docs_source.py build/docs-source
NO_COLOR=1 run_logged docs.log .venv-docs/bin/zensical build --strict --clean ||
  fail "The documentation cannot be made. $(sed '/^Traceback/,$d' .state/docs.log)"
say "The documentation is in build/docs/index.html"
