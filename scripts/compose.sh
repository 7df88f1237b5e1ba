#!/usr/bin/env bash
# Makes sure that Docker Compose is there: version 2 (`docker compose`), or `docker-compose`, which root on Debian
# gets installed.
source "$(dirname "$0")/common.sh"

has_compose() { docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null; }

has_compose && exit
take_turns compose
has_compose && exit # installed by another run while this one waited
can_install_packages || fail "Docker Compose is missing: install the plugin 'docker compose', or the Debian package docker-compose."
install_packages docker-compose
