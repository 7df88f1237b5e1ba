#!/usr/bin/env bash
# Installs the locked uv, which makes the environments, into .state/uv, and prints its path.
source "$(dirname "$0")/common.sh"
take_turns uv

key=$(content_key requirements/bootstrap.txt scripts/install-uv.sh)
uv=.state/uv/bin/uv

if ! { is_done uv "$key" && [[ -x $uv ]]; }; then
  python=$(scripts/find-python.sh)
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    can_install_packages || fail "$python lacks the module venv: install it (Debian: apt-get install python3-venv)."
    install_packages python3-venv
  fi
  say "Installing uv, locked in requirements/bootstrap.txt"
  {
    run_logged uv.log "$python" -m venv --clear .state/uv &&
      run_logged uv.log .state/uv/bin/python -m pip install --disable-pip-version-check --no-deps \
        --only-binary :all: --require-hashes --requirement requirements/bootstrap.txt
  } || fail "uv could not be installed: $(tail -n 1 .state/uv.log) (the whole log: .state/uv.log)"
  mark_done uv "$key"
fi
echo "$PWD/$uv"
