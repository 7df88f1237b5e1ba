#!/usr/bin/env bash
# Installs the servers that some tests start for themselves: Redis, and a container registry with passwords.
source "$(dirname "$0")/common.sh"
take_turns services

declare -A package_of=([redis-server]=redis-server [docker-registry]=docker-registry [htpasswd]=apache2-utils)
missing=()
for command in "${!package_of[@]}"; do
  command -v "$command" >/dev/null || missing+=("${package_of[$command]}")
done
((${#missing[@]})) || exit 0
can_install_packages || fail "These programs are missing: install the Debian packages ${missing[*]}, or their like."
install_packages "${missing[@]}"
