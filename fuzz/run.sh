#!/bin/bash
# run.sh [TARGET...]: fuzzes the C interface with libFuzzer, which is guided by coverage, and AddressSanitizer. fuzz/TARGET.c and the
# library are built for that; fuzz/where.rs, fuzz/rules.rs and fuzz/rings.rs call the library's Rust functions. TARGET: calls, structs, reader,
# messages, where, rules, rings (default: all, at the same time).
#
#   SECONDS_EACH=60   the time for each target
#   INPUT=FILE        runs this input once instead, to reproduce a failure
#
# The corpus is kept in build/fuzz/TARGET.corpus, inputs that fail in build/fuzz/TARGET-crash-... As root on Debian it installs missing
# packages (clang-22 and its runtimes).
set -uo pipefail
cd "$(dirname "$0")/.."
. tests/instrument.sh
targets=${*:-calls structs reader messages where rules rings}
seconds=${SECONDS_EACH:-60}
out=$PWD/build/fuzz
mkdir -p "$out"

instrument address target-fuzz -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares
# The tests look for leaks. Here a thread of the library that is about to end would look like a leak.
export ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0:detect_stack_use_after_return=0
(unset CC CXX CFLAGS && "$cargo" rustc --lib --crate-type staticlib "${build[@]}" 2>&1 | tail -1) ||
    cannot "the library does not build"
for name in $targets; do
    if [ -e "fuzz/$name.rs" ]; then
        (unset CC CXX CFLAGS && "$cargo" rustc --example "fuzz_$name" "${build[@]}" 2>&1 | tail -1) || cannot "fuzz/$name.rs does not build"
        clang-22 -fsanitize=fuzzer,address "$CARGO_TARGET_DIR/$target/release/examples/libfuzz_$name.a" -o "$out/$name" -lgcc_s -ldl -lm ||
            cannot "fuzz/$name.rs cannot be linked"
        continue
    fi
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
    # In memory, because the reader's inputs are files: a disk would be the limit.
    place=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d)
    (cd "$place" && "$out/$1" -max_total_time="$seconds" -timeout=600 -rss_limit_mb=8192 -max_len=2048 -print_final_stats=1 -print_funcs=0 \
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
