#!/bin/bash
# metrics.sh PREFIX: the metrics as text, read by promtool and by the parsers of prometheus_client, which is installed into build/metrics-venv. What cannot be
# had is left out; the checks of tests/metrics/check.py remain. The library is installed in PREFIX.
set -uo pipefail
cd "$(dirname "$0")/.."
prefix=$(realpath "${1:-build/prefix}")
work=build/metrics-check
rm -rf $work
mkdir -p $work
eval "flags=($(PKG_CONFIG_PATH=$prefix/lib/pkgconfig pkg-config --cflags --libs capture_pipeline))"
# shellcheck disable=SC2154
${CC:-gcc} -std=gnu11 -O2 -g -Wall -Wextra -Werror tests/metrics/texts.c -o $work/texts "${flags[@]}" "-Wl,-rpath,$prefix/lib" || exit 1
(cd $work && timeout 120 ./texts) || exit 1

python=build/metrics-venv/bin/python
if ! [ -x $python ] || ! $python -c 'import prometheus_client' 2>/dev/null; then
    rm -rf build/metrics-venv
    { python3 -m venv build/metrics-venv && $python -m pip install --quiet prometheus_client; } >build/metrics-venv.log 2>&1 ||
        echo "metrics: prometheus_client cannot be installed (build/metrics-venv.log)"
fi
[ -x $python ] || python=python3

# Prometheus' promtool, if it is not installed: from Debian's package, which would also start a server if it was installed.
unpacked=build/promtool
if ! command -v promtool >/dev/null && ! [ -x $unpacked/usr/bin/promtool ] && command -v apt-get >/dev/null; then
    mkdir -p $unpacked
    (cd $unpacked && apt-get download prometheus && dpkg-deb -x prometheus_*.deb .) >build/promtool.log 2>&1 ||
        echo "metrics: promtool cannot be had (build/promtool.log)"
fi
PATH=$PATH:$PWD/$unpacked/usr/bin
$python tests/metrics/check.py $work docs/metrics.md
