#!/bin/sh
# Installs what `make test-all` needs beside the locks, where it is missing and apt may be used (as root on Debian or
# Ubuntu): Chromium for the browser tests, Postgres and Redis for the cluster's, Ceph and Swift as real S3-compatible
# stores. No server of them is left running.
set -eu

missing=""
command -v chromium >/dev/null || missing="$missing chromium fonts-liberation"
command -v redis-server >/dev/null || missing="$missing redis-server"
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing="$missing postgresql"
command -v radosgw >/dev/null || missing="$missing ceph-mon ceph-osd radosgw ceph-common"
command -v swift-proxy-server >/dev/null ||
    missing="$missing swift-proxy swift-account swift-container swift-object python3-swift memcached"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "Tests that need one of these are skipped, or fail in CI; install them (as root: apt install$missing)." >&2
    exit 0
fi
echo "Installing$missing ..."
# Debian's packages start their servers at once unless this file forbids it; the tests start their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
apt-get update -qq
# shellcheck disable=SC2086 # a list of packages
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
