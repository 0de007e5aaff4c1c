#!/bin/sh
# Installs redis-server with whatever package manager there is.
set -eu
root=
[ "$(id -u)" = 0 ] || root=sudo
if command -v apt-get >/dev/null; then
  $root apt-get update -qq
  $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server
elif command -v dnf >/dev/null; then
  $root dnf install -y redis
elif command -v apk >/dev/null; then
  $root apk add redis
elif command -v brew >/dev/null; then
  brew install redis
else
  echo "No known package manager: install redis-server 7 or newer, or name one in HOLDFAST_TEST_SERVER." >&2
  exit 1
fi
command -v redis-server >/dev/null
