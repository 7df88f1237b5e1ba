#!/usr/bin/env bash
# Installs what tests start or run for themselves: Redis, a container registry with passwords, Docker Compose, and the
# tools with which they make an Engine, a disk, a network or a clock of their own. Arguments: only these programs.
source "$(dirname "$0")/common.sh"
take_turns services

declare -A package_of=(
  [redis-server]=redis-server
  [docker-registry]=docker-registry [htpasswd]=apache2-utils
  [docker-compose]=docker-compose
  [ip]=iproute2 [iptables]=iptables [nsenter]=util-linux [mkfs.ext4]=e2fsprogs [faketime]=faketime
)

is_there() {
  case $1 in
    docker-compose) docker compose version >/dev/null 2>&1 || command -v "$1" >/dev/null ;; # a plugin, or a program
    *) command -v "$1" >/dev/null ;;
  esac
}

missing=()
(($#)) || set -- "${!package_of[@]}"
for program in "$@"; do
  is_there "$program" || missing+=("${package_of[$program]}")
done
((${#missing[@]})) || exit 0
can_install_packages || fail "Programs are missing: install the Debian packages ${missing[*]}, or their like."
install_packages "${missing[@]}"
