# shellcheck shell=bash
# Sourced by every script here: strict mode, the repository's root as working folder, messages,
# steps that are skipped when nothing changed, and Debian packages.

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p .state
export PATH="$PATH:/usr/sbin:/sbin" # where Debian keeps dockerd and debootstrap; not in every user's PATH

# say TEXT: one line of progress.
say() { printf '==> %s\n' "$*" >&2; }

# fail SENTENCE: says what is wrong and what to do about it, and ends the script.
fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# can_install_packages: whether this is root on Debian.
can_install_packages() { [[ $EUID -eq 0 && -f /etc/debian_version ]] && command -v apt-get >/dev/null; }

# take_turns NAME: waits for another run of the same step, which a second terminal may have started.
# The lock lies on file descriptor 9: a process that outlives the script must close it.
take_turns() {
  exec 9>".state/$1.lock"
  flock 9
}

# content_key FILE…: one digest of the files' contents and of where the checkout lies, since environments
# hold absolute paths.
content_key() { { pwd && sha256sum -- "$@"; } | sha256sum | cut -d ' ' -f 1; }

# is_done STEP KEY: whether STEP has ended well for this KEY.
is_done() { [[ -f .state/$1.done && $(<".state/$1.done") == "$2" ]]; }
mark_done() { printf '%s\n' "$2" >".state/$1.done"; }

# run_logged LOG COMMAND…: runs the command with its output in .state/LOG.
run_logged() {
  local log=.state/$1
  shift
  "$@" </dev/null >"$log" 2>&1
}

# install_packages PACKAGE…: Debian packages, without what they merely recommend.
install_packages() {
  local install=(env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends
    -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@")
  say "Installing Debian packages: $*"
  run_logged apt.log "${install[@]}" && return
  # The package lists are missing or too old. A list that cannot be fetched need not be the one that counts.
  run_logged apt-update.log apt-get update -o DPkg::Lock::Timeout=300 || true
  run_logged apt.log "${install[@]}" ||
    fail "apt-get could not install $*: $(tail -n 1 .state/apt.log) (the whole log: .state/apt.log)"
}
