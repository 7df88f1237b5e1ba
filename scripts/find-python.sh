#!/usr/bin/env bash
# Prints the path of a Python interpreter that can run the project: $PYTHON, or the first one found in PATH.
source "$(dirname "$0")/common.sh"

path_if_new_enough='import sys; sys.version_info >= (3, 11) and print(sys.executable)'

for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
  path=$("$candidate" -c "$path_if_new_enough" 2>/dev/null || true)
  if [[ -n $path ]]; then
    echo "$path"
    exit
  fi
done
fail "Python 3.11 or newer is needed: install it, or name it as in 'make PYTHON=/path/to/python3 …'."
