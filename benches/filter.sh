#!/bin/bash
# What an event costs that a filter leaves out: a rule on a field, beside a filter expression of LTTng-UST on the same field, in one process.
#
#   benches/filter.sh [PREFIX]     the library is installed in PREFIX (make local: build/prefix)
#
# It needs LTTng-UST and its tools, and babeltrace2, which counts the events that passed LTTng's filter.
set -euo pipefail
cd "$(dirname "$0")/.."
prefix=$(realpath "${1:-build/prefix}")
for tool in lttng lttng-sessiond babeltrace2; do
    command -v $tool >/dev/null || { echo "filter.sh: $tool is not installed" >&2; exit 2; }
done
work=$(mktemp -d)
session=filter-$$
finish() {
    lttng destroy "$session" >/dev/null 2>&1 || true
    [ -z "${daemon:-}" ] || kill "$daemon" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

gcc -std=gnu11 -O2 -Wall -Wextra benches/filter/filter.c -o "$work/filter" -Ibenches/native/contenders -I"$prefix/include" -L"$prefix/lib" \
    -lcapture_pipeline -llttng-ust -ldl -Wl,-rpath,"$prefix/lib"
if ! lttng --no-sessiond list >/dev/null 2>&1; then
    lttng-sessiond --no-kernel >"$work/daemon.log" 2>&1 &
    daemon=$!
    for _ in $(seq 100); do lttng --no-sessiond list >/dev/null 2>&1 && break; sleep 0.1; done
fi
{
    lttng create "$session" --output="$work/trace"
    lttng enable-channel -s "$session" --userspace --discard --subbuf-size=2M --num-subbuf=8 c
    lttng enable-event -s "$session" --userspace --channel=c bench:event --filter 'value > 1000000'
    lttng start "$session"
} >"$work/session.log"
"$work/filter" | tee "$work/result"
lttng stop "$session" >"$work/session.log"
passed=$(babeltrace2 "$work/trace" | grep -c 'bench:event')
[ "passed $passed" = "$(tail -1 "$work/result")" ] || { echo "filter.sh: $passed events passed LTTng's filter" >&2; exit 1; }
