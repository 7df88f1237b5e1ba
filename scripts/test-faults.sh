#!/usr/bin/env bash
# Runs the fault suite: workers, Engines, the orchestrator and Redis are killed. Options for pytest: PYTEST_ADDOPTS.
source "$(dirname "$0")/common.sh"
BASE_IMAGE=$(<.state/base-image)
export BASE_IMAGE

scripts/services.sh

# Tools of the tests that make an Engine, a disk, a network or a clock of their own.
missing=()
for tool in ip:iproute2 iptables:iptables nsenter:util-linux mkfs.ext4:e2fsprogs faketime:faketime; do
  command -v "${tool%%:*}" >/dev/null || missing+=("${tool#*:}")
done
if ((${#missing[@]})); then
  can_install_packages || fail "These programs are missing: install the Debian packages ${missing[*]}, or their like."
  install_packages "${missing[@]}"
fi
((EUID == 0)) || fail "The fault suite makes an Engine in a network namespace of its own: run it as root."

# A file stays in one process, so that what its tests share is made once.
.venv/bin/pytest --numprocesses 2 --dist loadfile tests/faults
