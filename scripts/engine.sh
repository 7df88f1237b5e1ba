#!/usr/bin/env bash
# Makes sure that a Docker Engine answers, at DOCKER_HOST or at Docker's usual socket.
# One that runs is used as it is. Where none runs, root on Debian gets Debian's own, installed and started.
source "$(dirname "$0")/common.sh"

socket=/var/run/docker.sock
address=${DOCKER_HOST:-unix://$socket}
start_limit=60 # seconds
log=.state/dockerd.log

engine_answers() { DOCKER_HOST=$address timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

install_engine() {
  local packages=(docker.io iptables ca-certificates)
  # Where the kernel has AppArmor on, no container starts without its parser.
  if grep -qs Y /sys/module/apparmor/parameters/enabled; then packages+=(apparmor); fi
  install_packages "${packages[@]}"
}

# start_dockerd: starts dockerd as a process of its own, which lives on when this script and its terminal end.
start_dockerd() {
  setsid nohup dockerd </dev/null >"$log" 2>&1 9>&- &
  echo $! >.state/dockerd.pid
}

start_engine() {
  if [[ -d /run/systemd/system ]]; then
    say "Starting the Docker Engine (systemctl start docker)"
    systemctl start docker || fail "systemd could not start Docker: see 'journalctl -u docker'."
  else
    say "Starting the Docker Engine (log: $log)"
    start_dockerd
  fi
}

# dockerd_ended: whether the dockerd that this script started is gone. systemd's is not ours to watch.
dockerd_ended() { [[ -f .state/dockerd.pid ]] && ! kill -0 "$(<.state/dockerd.pid)" 2>/dev/null; }

# dockerd_complaint: the line of its log that says why dockerd ended.
dockerd_complaint() { grep -E 'failed to start|level=(fatal|error)' "$log" | tail -n 1 || tail -n 1 "$log"; }

wait_for_engine() {
  local deadline=$((SECONDS + start_limit))
  until engine_answers; do
    if dockerd_ended; then
      fail "dockerd did not start: $(dockerd_complaint) (the whole log: $log)"
    fi
    if ((SECONDS >= deadline)); then
      fail "The Docker Engine did not answer within $start_limit s; its log: $log, or 'journalctl -u docker'."
    fi
    sleep 0.5
  done
}

engine_answers && exit
take_turns engine
engine_answers && exit # started by another run while this one waited

if [[ -n ${DOCKER_HOST:-} && $DOCKER_HOST != "unix://$socket" ]]; then
  fail "No Docker Engine answers at DOCKER_HOST=$DOCKER_HOST: start it, or unset DOCKER_HOST to use the one on this machine."
fi
if [[ -S $socket && ! -w $socket ]]; then
  fail "This user may not use the Docker Engine at $socket: add the user to the group docker, or run make as root."
fi
if ! can_install_packages; then
  fail "No Docker Engine is running: install Docker and start it (on Debian, make does both when run as root)."
fi
rm -f .state/dockerd.pid
command -v dockerd >/dev/null || install_engine
engine_answers || start_engine # systemd starts the service when the package is installed
wait_for_engine
say "The Docker Engine is ready"
