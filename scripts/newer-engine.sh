#!/usr/bin/env bash
# newer-engine.sh COMMAND…: runs a command beside a newer Docker Engine than this machine's, in its network, with
#   DOCKER_HOST and PATH set to it. The Engine is the next Debian release's, downloaded and unpacked, never
#   installed; it uses this release's runc. Everything it makes is gone when the command has ended.
# The network is that of a container on the running Engine: it reaches out as containers do, and whatever the
# newer Engine and the command do to interfaces, routes and firewall rules stays inside.
source "$(dirname "$0")/common.sh"
(($#)) || fail "usage: scripts/newer-engine.sh COMMAND…"

release=${NEWER_RELEASE:-trixie}
packages=(docker.io docker-cli containerd)
# Engine 29 refuses clients that speak an older API, and this is how an older Engine does too.
export DOCKER_MIN_API_VERSION=1.44
start_limit=60 # seconds
stop_limit=60

store=.state/newer-engine
log=.state/newer-engine.log
name=bot-runner-newer-engine-$(pwd | cksum | cut -d ' ' -f 1)
# Not in .state: sockets cannot have long paths.
folder=${TMPDIR:-/tmp}/$name
socket=$folder/docker.sock
first=(docker --host "${DOCKER_HOST:-unix:///var/run/docker.sock}")

# debian_mirror: the address that apt has for this release's main packages.
debian_mirror() {
  apt-get indextargets --format '$(REPO_URI)' "Created-By: Packages" "Origin: Debian" "Label: Debian" \
    "Codename: $(. /etc/os-release && echo "$VERSION_CODENAME")" | head -n 1
}

# fetch: downloads and unpacks the packages with an apt that knows nothing of this machine's.
fetch() {
  local apt mirror package
  apt=$PWD/$store/apt
  mirror=$(debian_mirror)
  [[ -n $mirror ]] || fail "apt has no Debian mirror: see /etc/apt/sources.list."
  say "Downloading ${packages[*]} of Debian $release"
  rm -rf "$store"
  mkdir -p "$apt"/{lists/partial,archives/partial,none} "$store/root"
  touch "$apt/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $release main" >"$apt/sources.list"
  cat >"$apt/apt.conf" <<EOF
Dir::State "$apt";
Dir::State::status "$apt/status";
Dir::Cache "$apt";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "$apt/none";
Dir::Etc::preferences "$apt/none/preferences";
Dir::Etc::preferencesparts "$apt/none";
APT::Sandbox::User "root";
APT::Update::Post-Invoke-Success "";
Acquire::Retries "3";
EOF
  run_logged newer-engine-apt.log env APT_CONFIG="$apt/apt.conf" apt-get update ||
    fail "The package lists of $release cannot be fetched: see .state/newer-engine-apt.log."
  (cd "$store" && APT_CONFIG=$apt/apt.conf apt-get --quiet=2 download "${packages[@]}" >/dev/null) ||
    fail "The packages ${packages[*]} of $release cannot be downloaded."
  for package in "$store"/*.deb; do dpkg-deb --extract "$package" "$store/root"; done
  rm -rf "$store"/*.deb "$apt"
}

make_network() {
  "${first[@]}" network create --label "$name" "$name" >/dev/null
  "${first[@]}" run --detach --name "$name" --label "$name" --network "$name" --init \
    --sysctl net.ipv6.conf.all.disable_ipv6=0 "$(<.state/base-image)" sleep infinity >/dev/null
  network=/proc/$("${first[@]}" inspect --format '{{.State.Pid}}' "$name")/ns/net
}

engine_answers() { timeout 10 docker --host "unix://$socket" version >/dev/null 2>&1; }

start_engine() {
  local deadline=$((SECONDS + start_limit))
  mkdir -p "$folder"
  # Not `ip netns exec`, which hides the cgroups.
  setsid nsenter --net="$network" dockerd --host "unix://$socket" --group root \
    --data-root "$folder/data" --exec-root "$folder/exec" --pidfile "$folder/dockerd.pid" \
    --containerd-namespace "$name" --containerd-plugins-namespace "$name-plugins" \
    ${NEWER_ENGINE_OPTIONS:-} </dev/null >"$log" 2>&1 9>&- &
  dockerd=$!
  until engine_answers; do
    kill -0 "$dockerd" 2>/dev/null || fail "The newer Engine did not start: $(tail -n 1 "$log") (the whole log: $log)"
    ((SECONDS < deadline)) || fail "The newer Engine did not answer within $start_limit s: see $log."
    sleep 0.5
  done
}

# processes: those that have the folder in their command line: dockerd, its containerd, and their shims.
processes() {
  local pattern=${folder/bot-runner/[b]ot-runner} # does not find the one that looks
  { grep --files-with-matches --null-data --no-messages -- "$pattern" /proc/[0-9]*/cmdline || true; } | cut -d / -f 3
}

# stop_engine: ends the Engine with all that runs on it; also one that an earlier run left, which was killed.
stop_engine() {
  local deadline=$((SECONDS + stop_limit)) pid mount
  if [[ -f $folder/dockerd.pid ]]; then
    kill -TERM "$(<"$folder/dockerd.pid")" 2>/dev/null || true
  fi
  while [[ -n $(processes) ]] && ((SECONDS < deadline)); do sleep 0.5; done
  for pid in $(processes); do
    if grep --quiet --no-messages -- -shim "/proc/$pid/cmdline"; then
      kill -KILL $(cat "/proc/$pid/task/$pid/children" 2>/dev/null) 2>/dev/null || true
    fi
    kill -KILL "$pid" 2>/dev/null || true
  done
  while read -r _ mount _; do umount --lazy "$mount" 2>/dev/null || true; done < <(grep -F " $folder/" /proc/self/mounts | tac)
  rm -rf --one-file-system "$folder"
}

remove_network() {
  "${first[@]}" rm --force --volumes "$name" >/dev/null 2>&1 || true
  "${first[@]}" network rm "$name" >/dev/null 2>&1 || true
}

clean_up() {
  stop_engine
  remove_network
}

take_turns newer-engine
can_install_packages || fail "Only root on Debian can run a newer Engine this way."
key="$release ${packages[*]}"
if ! is_done newer-engine "$key"; then
  fetch
  mark_done newer-engine "$key"
fi
base=$(<.state/base-image)
clean_up # what a run left that was killed
trap clean_up EXIT
trap 'exit 130' INT TERM
make_network
PATH=$PWD/$store/root/usr/sbin:$PWD/$store/root/usr/bin:$PATH
start_engine
say "Docker Engine $(docker --host "unix://$socket" version --format '{{.Server.Version}}, API {{.Server.APIVersion}} ({{.Server.MinAPIVersion}} or later)')"
"${first[@]}" save "$base" | docker --host "unix://$socket" load --quiet >/dev/null
# In the background and waited for, so that a signal is heeded at once.
DOCKER_HOST=unix://$socket nsenter --net="$network" "$@" 9>&- &
command=$!
wait "$command" && status=0 || status=$?
exit "$status"
