#!/bin/bash
# run.sh [TARGET...]: fuzzes the C interface, guided by coverage: libFuzzer and AddressSanitizer around fuzz/TARGET.c and
# the library, which both are built for it here. TARGET: calls, structs (default: both, at the same time).
#
#   SECONDS_EACH=60   for so long
#   INPUT=FILE        instead runs that input once, to look at what a run found
#
# What it learns is kept in build/fuzz/TARGET.corpus, what fails in build/fuzz/TARGET-crash-... It installs what it misses,
# as root on Debian (clang-22 and its runtimes).
set -uo pipefail
cd "$(dirname "$0")/.."
. tests/instrument.sh
targets=${*:-calls structs}
seconds=${SECONDS_EACH:-60}
out=$PWD/build/fuzz
mkdir -p "$out"

instrument address target-fuzz -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares
# Leaks are looked for in the tests; here a thread of the library that is about to end would look like one.
export ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0:detect_stack_use_after_return=0
(unset CC CXX CFLAGS && "$cargo" rustc --lib --crate-type staticlib "${build[@]}" 2>&1 | tail -1) ||
    cannot "the library does not build"
for name in $targets; do
    clang-22 -std=gnu11 -O1 -g -Wall -Wextra -pthread -fsanitize=fuzzer,address -fno-omit-frame-pointer -Iinclude -Itests/c \
        "fuzz/$name.c" -o "$out/$name" "$CARGO_TARGET_DIR/$target/release/libcapture_pipeline.a" -lgcc_s -ldl -lm ||
        cannot "fuzz/$name.c does not build"
done

if [ -n "${INPUT:-}" ]; then
    for name in $targets; do "$out/$name" "$INPUT" || exit 1; done
    exit 0
fi

fuzz() { # fuzz TARGET
    local place
    mkdir -p "$out/$1.corpus"
    place=$(mktemp -d)
    (cd "$place" && "$out/$1" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=8192 -max_len=2048 -print_final_stats=1 \
        -artifact_prefix="$out/$1-" "$out/$1.corpus") >"$out/$1.log" 2>&1
    local status=$?
    rm -rf "$place"
    [ "$status" = 0 ] || tail -60 "$out/$1.log"
    echo "fuzz $1: $(sed -n 's/.*number_of_executed_units: *//p' "$out/$1.log") runs in $seconds s," \
        "$(grep -o 'cov: [0-9]* ft: [0-9]*' "$out/$1.log" | tail -1), $([ "$status" = 0 ] && echo nothing found || echo FAILED)"
    return "$status"
}

jobs=()
for name in $targets; do
    fuzz "$name" &
    jobs+=($!)
done
failed=0
for job in "${jobs[@]}"; do wait "$job" || failed=1; done
exit $failed
