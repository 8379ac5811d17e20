#!/bin/bash
# sanitize.sh address|thread|memcheck|all [PART...]: the C and C++ tests and the Rust tests under AddressSanitizer (with
# LeakSanitizer), under ThreadSanitizer, or under valgrind's memcheck. The library, SQLite in it, the programs that use it
# and, for ThreadSanitizer, Rust's standard library are built with the sanitizer; what it finds fails the test.
#
# PART is what to run: programs, rust (default: both). ONLY='*tokens*' limits the programs to those whose path matches,
# RUST_TESTS='--test ledger' the Rust tests to those named.
#
# It installs what it misses, as root on Debian (clang-22 and its runtimes). ThreadSanitizer needs a standard library
# built with it, so a compiler that comes with its sources: Debian's, unpacked under build/, not installed.
set -uo pipefail
cd "$(dirname "$0")/.."
. tests/instrument.sh
rust_tests=${RUST_TESTS:---lib --test ledger --test sqlite}

# What cannot run under a sanitizer, by name and with the reason. Nothing is left out otherwise.
without() { # without KIND: paths, one a line
    case $1 in
    # It forks while other threads are anywhere, inside ThreadSanitizer's own runtime too, whose locks then stay locked in
    # the child; and the child starts threads.
    thread) echo tests/c/fork_busy.c ;;
    esac
}

# --- the library, instrumented, installed in build/KIND/prefix ------------------------------------------------------------
library() { # library KIND
    local prefix=$PWD/build/$1/prefix so=libcapture_pipeline.so version
    # CC and CFLAGS are for the programs; the build script of SQLite has its own above.
    (
        unset CC CXX CFLAGS
        "$cargo" rustc --lib --crate-type cdylib "${build[@]}"
    ) || return
    version=$(sed -n '/^\[package\]/,/^\[/s/^version *= *"\(.*\)"/\1/p' Cargo.toml)
    mkdir -p "$prefix/lib/pkgconfig" "$prefix/include"
    cp include/capture_pipeline.h include/capture_pipeline.hpp "$prefix/include"
    cp "$CARGO_TARGET_DIR/$target/release/$so" "$prefix/lib/$so.$version"
    ln -sf "$so.$version" "$prefix/lib/$so.${version%%.*}"
    ln -sf "$so.${version%%.*}" "$prefix/lib/$so"
    packaging/fill.sh packaging/capture_pipeline.pc.in "$prefix/lib/pkgconfig/capture_pipeline.pc" \
        "$version" "$prefix" "$prefix/lib" "$prefix/include" /dev/null
}

# --- what runs ---------------------------------------------------------------------------------------------------------
programs() { # programs KIND
    local without=() path
    while read -r path; do
        echo "left out: $path (tests/sanitize.sh says why)"
        without+=(--except "$path")
    done < <(without "$1")
    if [ "$1" = memcheck ]; then
        "${MAKE:-make}" --no-print-directory local || return
        tests/programs.sh --valgrind --only "${ONLY:-*}" "${without[@]}" tests/c tests/cpp
    else
        library "$1" || return
        tests/programs.sh --prefix "build/$1/prefix" --out "build/$1/programs" --timeout 600 --only "${ONLY:-*}" \
            "${without[@]}" tests/c tests/cpp
    fi
}

rust() { # rust KIND
    # shellcheck disable=SC2086
    if [ "$1" = memcheck ]; then
        # Leaks of the Rust tests are LeakSanitizer's; memcheck would count what a forked child leaves of its parent.
        CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="valgrind -q --fair-sched=try --leak-check=no --error-exitcode=9" \
            "$cargo" test "${flags[@]}" --no-fail-fast $rust_tests
    else
        (unset CC CXX CFLAGS && "$cargo" test "${build[@]}" --no-fail-fast $rust_tests)
    fi
}

kind=${1:-}
[ $# = 0 ] || shift
parts=${*:-programs rust}
case $kind in
all)
    failed=()
    for kind in address thread memcheck; do
        # shellcheck disable=SC2086
        "$0" $kind $parts || failed+=("$kind")
    done
    [ ${#failed[@]} = 0 ] || cannot "failed: ${failed[*]}"
    exit 0
    ;;
address | thread) instrument "$kind" "target-$kind" ;;
memcheck) ;;
*) cannot "address, thread, memcheck or all" ;;
esac

status=0
for part in $parts; do
    began=$SECONDS
    "$part" "$kind" || status=1
    echo "sanitize.sh: $kind, $part: $((SECONDS - began)) s"
done
exit $status
