# shellcheck shell=bash
# Sourced after common.sh: uv as a function that trusts the certificates of this machine, as pip does, and
# never fetches an interpreter of its own.

if [[ -n ${SSL_CERT_FILE:-} || -f /etc/ssl/certs/ca-certificates.crt ]]; then
  export UV_SYSTEM_CERTS=1 # a company's proxy may sign with a certificate that only this machine knows
fi
export UV_PYTHON_DOWNLOADS=never
uv=$(scripts/install-uv.sh)

uv() { "$uv" --quiet --no-progress "$@"; }
