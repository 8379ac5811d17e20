#!/bin/bash
# How long a snapshot of 64 MiB takes beside threads that capture 1 GB/s each, and one of LTTng-UST in snapshot mode of the same MiB, in one process.
#
#   benches/snapshot.sh [PREFIX [DIR]]     the library is installed in PREFIX (make local: build/prefix); snapshots go to DIR (a temporary folder)
#
# MIB, THREADS and ROUNDS in the environment change the defaults: 64, 2 and 5. It needs LTTng-UST and its tools (liblttng-ust-dev, liblttng-ctl-dev, lttng-tools)
# and babeltrace2, which counts the events of LTTng's snapshot.
set -euo pipefail
cd "$(dirname "$0")/.."
prefix=$(realpath "${1:-build/prefix}")
for tool in lttng lttng-sessiond babeltrace2; do
    command -v $tool >/dev/null || { echo "snapshot.sh: $tool is not installed" >&2; exit 2; }
done
mib=${MIB:-64} threads=${THREADS:-2} rounds=${ROUNDS:-5}
work=$(mktemp -d)
dir=${2:-$work/ours}
session=snapshot-$$
finish() {
    lttng destroy "$session" >/dev/null 2>&1 || true
    [ -z "${daemon:-}" ] || kill "$daemon" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

gcc -std=gnu11 -O2 -Wall -Wextra benches/snapshot/snapshot.c -o "$work/snapshot" -Ibenches/native/contenders -I"$prefix/include" -L"$prefix/lib" \
    -lcapture_pipeline -llttng-ust -llttng-ctl -ldl -lpthread -Wl,-rpath,"$prefix/lib"
if ! lttng --no-sessiond list >/dev/null 2>&1; then
    lttng-sessiond --no-kernel >"$work/daemon.log" 2>&1 &
    daemon=$!
    for _ in $(seq 100); do lttng --no-sessiond list >/dev/null 2>&1 && break; sleep 0.1; done
fi
for ((round = 1; round <= rounds; round++)); do
    rm -rf "${work:?}/trace" "${work:?}/ours"
    {
        lttng create "$session" --snapshot --output="$work/trace"
        # A buffer for each processor; eight parts, of which the present one is not whole.
        lttng enable-channel -s "$session" --userspace --overwrite --subbuf-size=$((mib / $(nproc) / 8))M --num-subbuf=8 c
        lttng enable-event -s "$session" --userspace --channel=c bench:event
        lttng start "$session"
    } >"$work/session.log"
    "$work/snapshot" "$session" "$dir" "$threads" "$mib"
    lttng destroy "$session" >"$work/session.log"
    bytes=$(find "$work/trace" -type f -printf '%s\n' | awk '{ sum += $1 } END { printf "%.1f", sum / 1048576 }')
    echo "  lttng: $(babeltrace2 "$work/trace" 2>/dev/null | grep -c bench:event) events, $bytes MiB"
done
