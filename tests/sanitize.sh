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
# shellcheck disable=SC2206
flags=(${CARGO_FLAGS:---locked})
cargo=${CARGO:-cargo}
target=x86_64-unknown-linux-gnu
host_env=X86_64_UNKNOWN_LINUX_GNU
rust_tests=${RUST_TESTS:---lib --test ledger --test sqlite}

cannot() {
    echo "sanitize.sh: $*" >&2
    exit 1
}

# What cannot run under a sanitizer, by name and with the reason. Nothing is left out otherwise.
without() { # without KIND: paths, one a line
    case $1 in
    # It forks while other threads are anywhere, inside ThreadSanitizer's own runtime too, whose locks then stay locked in
    # the child; and the child starts threads.
    thread) echo tests/c/fork_busy.c ;;
    esac
}

# --- tools -------------------------------------------------------------------------------------------------------------
# packages PACKAGE...: installs Debian packages.
packages() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || cannot "missing (Debian packages): $*"
    echo "installing: $*"
    local log
    log=$(mktemp)
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } >"$log" 2>&1 ||
        { tail -5 "$log" >&2 && cannot "apt-get could not install: $*"; }
    rm -f "$log"
}

need_clang() {
    if ! command -v clang-22 >/dev/null || ! command -v llvm-symbolizer-22 >/dev/null ||
        [ ! -e "$(clang-22 --print-file-name=libclang_rt.tsan-x86_64.a)" ]; then
        packages clang-22 llvm-22 libclang-rt-22-dev
    fi
}

# A compiler with the sources of its standard library, in build/rust-with-sources.
need_sources() {
    local place=$PWD/build/rust-with-sources work
    if [ ! -e "$place/done" ]; then
        command -v apt-get >/dev/null || cannot "ThreadSanitizer needs Debian's rustc-web and rust-web-src"
        echo "unpacking in build/rust-with-sources: rustc-web, libstd-rust-web, rust-web-src"
        rm -rf "$place"
        mkdir -p "$place"
        work=$(mktemp -d)
        chmod 755 "$work"
        (
            cd "$work" || exit 1
            version() { apt-cache show rustc-web 2>/dev/null | sed -n 's/^Version: \([0-9]*\.[0-9]*\).*/\1/p' | head -1; }
            [ -n "$(version)" ] && dpkg --compare-versions "$(version)" ge 1.88 || apt-get update || exit 1
            apt-get download rustc-web "libstd-rust-web-$(version)" libstd-rust-web-dev rust-web-src || exit 1
            for package in *.deb; do dpkg -x "$package" "$place" || exit 1; done
        ) >"$place/log" 2>&1 || { tail -3 "$place/log" >&2 && cannot "ThreadSanitizer: no compiler with sources"; }
        rm -rf "$work"
        ldconfig -p | grep -q libLLVM.so.22 || packages libllvm22
        touch "$place/done"
    fi
    export RUSTC=$place/usr/bin/rustc
    export LD_LIBRARY_PATH=$place/usr/lib/$(uname -m)-linux-gnu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    "$RUSTC" --version >/dev/null || cannot "ThreadSanitizer: the unpacked compiler does not run"
}

# --- the library, instrumented, installed in build/KIND/prefix ------------------------------------------------------------
instrument() { # instrument KIND
    local kind=$1
    need_clang
    [ "$kind" != thread ] || need_sources
    export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$PWD/target-$kind
    # The runtime is clang's, once in each program, for Rust, C and SQLite alike.
    export CARGO_TARGET_${host_env}_LINKER=clang-22
    export CARGO_TARGET_${host_env}_RUSTFLAGS="-Zsanitizer=$kind -Zexternal-clangrt -Clink-arg=-fsanitize=$kind -Cforce-frame-pointers=yes"
    export CC_x86_64_unknown_linux_gnu=clang-22
    export CFLAGS_x86_64_unknown_linux_gnu="-fsanitize=$kind -fno-omit-frame-pointer -g1"
    export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true
    build=("${flags[@]}" --target "$target" --release)
    [ "$kind" != thread ] || build+=(-Zbuild-std)
    export CC=clang-22 CXX=clang++-22
    export CFLAGS="-O1 -g -Wall -Wextra -pthread -fsanitize=$kind -fno-omit-frame-pointer"
    export ASAN_SYMBOLIZER_PATH TSAN_SYMBOLIZER_PATH
    ASAN_SYMBOLIZER_PATH=$(command -v llvm-symbolizer-22)
    TSAN_SYMBOLIZER_PATH=$ASAN_SYMBOLIZER_PATH
    export ASAN_OPTIONS=detect_stack_use_after_return=1:detect_leaks=1:strict_string_checks=1:handle_segv=1
    export TSAN_OPTIONS=external_symbolizer_path=$TSAN_SYMBOLIZER_PATH:halt_on_error=0:exitcode=66:history_size=4:die_after_fork=0
}

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
    local without=()
    while read -r path _; do [ -z "$path" ] || without+=(--except "$path"); done < <(without "$1")
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
        CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$valgrind" \
            "$cargo" test "${flags[@]}" --no-fail-fast $rust_tests
    else
        (unset CC CXX CFLAGS && "$cargo" test "${build[@]}" --no-fail-fast $rust_tests)
    fi
}

valgrind="valgrind -q --fair-sched=try --leak-check=full --errors-for-leak-kinds=definite --error-exitcode=9"
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
address | thread) instrument "$kind" ;;
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
