#!/bin/bash
# Counts the instructions of a capture, and of a writer's claim by the event, with callgrind and compares them with the committed counts,
# tests/instructions/counts.txt: more than one instruction an event above them fails. That guards against a slower capture; time is
# too noisy for that.
#
# Counts depend on the compilers, the C library and the processor (its memcpy), so where those differ from what gave the committed
# ones, the difference is said, and nothing fails.
#
#   tests/instructions.sh [--accept]    with --accept: the counts of this run become the committed ones
set -euo pipefail
cd "$(dirname "$0")/.."
committed=tests/instructions/counts.txt
prefix=${PREFIX:-build/prefix}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

[ -e "$prefix/lib/libcapture_pipeline.so" ] || { echo "instructions.sh: the library is not installed in $prefix (make local)" >&2; exit 2; }
features=$(grep -m 1 -oE '\b(avx2|erms)\b' /proc/cpuinfo | sort -u | tr '\n' ' ' || true)
tools="$(rustc --version); gcc $(gcc -dumpfullversion); $(getconf GNU_LIBC_VERSION 2>/dev/null || echo 'another C library'); $(valgrind --version); $(uname -m) ${features% }"

gcc -std=gnu11 -O2 -g -Wall -Wextra -Werror tests/instructions/captures.c -o "$work/captures" -I"$prefix/include" -L"$prefix/lib" \
    -lcapture_pipeline -Wl,-rpath,"$(realpath "$prefix/lib")"
(
    cd "$work"
    LD_BIND_NOW=1 valgrind -q --tool=callgrind --collect-atstart=no --toggle-collect='counted_*' \
        --toggle-collect='*::claim_batch' --callgrind-out-file=out ./captures
)

# One dump for each way: its name, and what it comes to an event.
for dump in "$work"/out.*; do
    name=$(sed -n 's/^desc: Trigger: Client Request: //p' "$dump")
    total=$(sed -n 's/^\(totals\|summary\): //p' "$dump" | head -1)
    # All that was captured in nine ways, and before each to warm up, is claimed.
    case $name in claimed*) events=$((9 * (160 + 1600))) ;; *) events=1600 ;; esac
    [ -z "$name" ] || printf '%s: %s\n' "$name" "$(awk "BEGIN { printf \"%.1f\", $total / $events }")"
done | LC_ALL=C sort >"$work/counts"
[ "$(wc -l <"$work/counts")" = 10 ] && ! grep -q ': 0\.0$' "$work/counts" || {
    echo "instructions.sh: callgrind has not counted every way:"; cat "$work/counts"; exit 1; } >&2

if [ "${1:-}" = --accept ]; then
    { echo "# Instructions of a capture of 64 bytes, and of its claim; tests/instructions.sh --accept writes them."; echo "tools: $tools"; cat "$work/counts"; } >"$committed"
    cat "$committed"
    exit 0
fi

same=1
if [ "$(sed -n 's/^tools: //p' "$committed")" != "$tools" ]; then
    same=0
    echo "the committed counts are of: $(sed -n 's/^tools: //p' "$committed")"
    echo "here there are:              $tools"
fi
failed=0 passed=0
while IFS= read -r line; do
    name=${line%: *} count=${line##*: }
    before=$(sed -n "s/^$name: //p" "$committed")
    verdict=$(awk -v now="$count" -v before="${before:-0}" 'BEGIN { print (now > before + 1 ? "more" : (now < before - 1 ? "fewer" : "as committed")) }')
    echo "$name: $count instructions, committed ${before:-none}: $verdict"
    if [ "$verdict" = more ] && [ $same = 1 ]; then failed=$((failed + 1)); else passed=$((passed + 1)); fi
done <"$work/counts"

# The figures are read on the reader's own time: the captures that go on meanwhile take no instruction more.
alone=$(sed -n 's/^pipeline_producer_capture: //p' "$work/counts")
read=$(sed -n 's/^pipeline_producer_capture, figures read: //p' "$work/counts")
if [ "$alone" = "$read" ]; then
    passed=$((passed + 1))
else
    echo "a capture takes $alone instructions, and $read when the figures are read between captures"
    failed=$((failed + 1))
fi
if [ $same = 0 ]; then echo "the tools differ, so counts are not compared"; fi
if [ $failed -gt 0 ]; then echo "if that is meant: tests/instructions.sh --accept"; fi
echo "instructions: $passed passed, $failed failed"
[ $failed = 0 ]
