#!/usr/bin/env bash
# Finds the image that bots are built on and writes its name to .state/base-image: BASE_IMAGE if the Engine
# has it or can pull it, otherwise an image built on this machine. Needs a running Engine (engine.sh).
source "$(dirname "$0")/common.sh"
take_turns base-image

default_image=python:3.12-slim
# With the host part "localhost", no Engine ever asks a public registry for an image of this name.
local_image=localhost/bot-runner-base:local
pull_limit=120 # seconds
wanted=${BASE_IMAGE:-$default_image}

has_image() { docker image inspect "$1" >/dev/null 2>&1; }

pull_image() {
  say "Pulling $1"
  run_logged pull.log timeout "$pull_limit" docker pull "$1"
}

# choose IMAGE: ends the script with IMAGE as the base image.
choose() {
  echo "$1" >.state/base-image
  exit
}

# build_local_image: builds the local image, unless the Engine has it and nothing that it is made of changed.
build_local_image() {
  local key built_from
  key=$(scripts/build-base-image.sh --key)
  built_from=$(docker image inspect --format '{{index .Config.Labels "io.avtomatika.bot-runner.base-key"}}' \
    "$local_image" 2>/dev/null || true)
  [[ $built_from == "$key" ]] || scripts/build-base-image.sh "$local_image"
}

if [[ $wanted != "$local_image" ]]; then
  has_image "$wanted" && choose "$wanted"
  # A local image from an earlier run says that pulling failed then; trying each time could take minutes.
  if [[ -n ${BASE_IMAGE:-} ]] || ! has_image "$local_image"; then
    pull_image "$wanted" && choose "$wanted"
    say "$wanted cannot be pulled (see .state/pull.log)"
  fi
  [[ -z ${BASE_IMAGE:-} ]] || fail "BASE_IMAGE=$BASE_IMAGE is not on the Engine and cannot be pulled: load it, or unset BASE_IMAGE."
fi
build_local_image
choose "$local_image"
