#!/bin/sh
# Installs Debian's Chromium for the browser tests, where it is missing and apt may be used.
set -eu
command -v chromium >/dev/null && exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "Installing Chromium for the browser tests ..."
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-liberation >/dev/null
else
    echo "Chromium is missing, so the browser tests are skipped. Install it (Debian, Ubuntu: apt install chromium)." >&2
fi
