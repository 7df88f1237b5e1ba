#!/usr/bin/env bash
# build-base-image.sh IMAGE: builds a small Debian image with Python and pip, of the release that this machine
#   runs and from the mirror that its apt uses. It trusts what this machine trusts, so that pip in containers
#   and builds reaches the package index from behind a company's proxy as well.
# build-base-image.sh --key: prints a digest of what the image is made of.
source "$(dirname "$0")/common.sh"

ca_bundle=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
[[ -f $ca_bundle ]] || ca_bundle=/dev/null
image_ca_bundle=/etc/ssl/certs/ca-certificates.crt
key=$(cat scripts/build-base-image.sh "$ca_bundle" | sha256sum | cut -d " " -f 1)

if [[ ${1:-} == --key ]]; then
  echo "$key"
  exit
fi
image=${1:?usage: scripts/build-base-image.sh IMAGE}
can_install_packages || fail "No base image: only root on Debian can build one here; load one into the Engine and set BASE_IMAGE to its name."

# debian_mirror RELEASE: the address that apt has for the release's main packages.
debian_mirror() {
  apt-get indextargets --format '$(REPO_URI)' "Created-By: Packages" "Origin: Debian" "Label: Debian" "Codename: $1" |
    head -n 1
}

# make_root FOLDER: a minimal Debian tree with Python.
make_root() {
  local release mirror
  release=$(. /etc/os-release && echo "$VERSION_CODENAME")
  mirror=$(debian_mirror "$release")
  if [[ -z $mirror ]]; then
    run_logged apt-update.log apt-get update || true # the lists were never fetched
    mirror=$(debian_mirror "$release")
  fi
  [[ -n $mirror ]] || fail "apt has no Debian mirror for $release: see /etc/apt/sources.list and .state/apt-update.log."
  # A mount namespace of its own takes the mounts that debootstrap makes with it, however it ends.
  run_logged debootstrap.log unshare --mount debootstrap --variant=minbase \
    --include=ca-certificates,python3,python3-pip "$release" "$1" "$mirror" ||
    fail "debootstrap failed: $(tail -n 1 .state/debootstrap.log) (the whole log: .state/debootstrap.log)"
}

# adapt_root FOLDER: makes pip and Python behave as in the usual Python images, and drops what bots do not need.
adapt_root() {
  ln -s python3 "$1/usr/bin/python"
  rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED
  if [[ -s $ca_bundle ]]; then
    cat "$ca_bundle" >"$1$image_ca_bundle"
  fi
  rm -rf "$1"/var/cache/* "$1"/var/log/* "$1"/var/lib/apt/lists/* "$1"/usr/share/{man,info,locale}/*
  find "$1/usr/share/doc" -type f ! -name copyright -delete
  rm -f "$1"/etc/{hostname,resolv.conf} # debootstrap copies this machine's
}

# import_root FOLDER: makes the image out of the tree.
import_root() {
  tar --create --numeric-owner --directory "$1" . |
    docker import \
      --change "LABEL io.avtomatika.bot-runner.base-key=$key" \
      --change "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
      --change "ENV LANG=C.UTF-8" \
      --change "ENV SSL_CERT_FILE=$image_ca_bundle" \
      --change "ENV PIP_CERT=$image_ca_bundle" \
      --change "ENV REQUESTS_CA_BUNDLE=$image_ca_bundle" \
      --change 'CMD ["python3"]' \
      - "$image" >/dev/null
}

command -v debootstrap >/dev/null || install_packages debootstrap
say "Building the base image $image with debootstrap (about a minute, once)"
root=$(mktemp --directory .state/base-image.XXXXXX)
trap 'rm -rf --one-file-system "$root"' EXIT
make_root "$root"
adapt_root "$root"
import_root "$root"
