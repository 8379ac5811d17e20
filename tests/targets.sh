#!/bin/bash
# targets.sh aarch64|musl|all [PART...]: builds, installs and tests the library for systems other than this machine.
#
#   aarch64    Linux on aarch64 with glibc: Debian's cross compiler, run under QEMU's user-mode emulation
#   musl       Linux on x86_64 with musl: Debian's musl-gcc, run natively
#
# PART (default: all): library, which installs the shared and the static library in build/TARGET/prefix and checks their symbols and a
# program linked with each; programs, the C and C++ tests; rust, the Rust tests of the library; members, those of the command and of
# alloc_trace's report. ONLY='*tokens*' limits the programs to those whose path matches, RUST_TESTS='--test ledger' the Rust tests.
#
# As root on Debian it installs missing packages. The standard library for the target is built from its sources, by a compiler that
# comes with them: Debian's, unpacked under build/, not installed.
#
# Not covered: weak memory orderings, because an emulator on x86_64 orders memory as x86_64 does (loom covers them); the speed of a
# capture; the BEAM.
set -uo pipefail
cd "$(dirname "$0")/.."
. tests/instrument.sh
rust_tests=${RUST_TESTS:-$(rust_tests)}

# The programs that cannot run there, with the reason. All others run.
without() { # without TARGET: paths of programs, one a line
    # Hosts that take away memory, stacks or system calls depend on the C library and the kernel of this machine.
    echo 'tests/c/hosts/*'
    case $1 in
    # Under QEMU 7.2 a process grows by some 280 KiB with each thread that it ever starts, with or without this library. The first one
    # checks its resident memory; the second one starts so many threads that memory runs out.
    aarch64) echo '*/many_threads.c' && echo '*/fork_busy.c' ;;
    # Debian has no C++ library for musl, and musl has no link namespaces.
    musl) echo 'tests/cpp/*' && echo '*/two_namespaces.c' ;;
    esac
}

without_rust() { # without_rust TARGET: names of tests
    case $1 in
    aarch64)
        # In QEMU 7.2 madvise(MADV_POPULATE_WRITE) returns 0 and does nothing.
        echo no_more_is_resident_than_a_step_beyond_what_is_written
        # The emulated counter moves by whole microseconds, and the test expects an error below one.
        echo on_this_machine_many_threads_convert_alike_and_in_order
        # The child of a process with threads that starts one dies in QEMU ("qemu_plugin_vcpu_init_hook: assertion failed").
        echo children_forked_under_load_have_their_own_databases
        # QEMU ignores a limit on the address space.
        echo without_memory_for_views_nothing_changes_and_no_event_is_lost
        # It executes itself again, and the kernel of this machine cannot execute such programs.
        echo what_was_acknowledged_survives_a_kill
        ;;
    esac
}

# need COMMAND PACKAGE...: installs the Debian packages if the command is missing.
need() {
    command -v "$1" >/dev/null || packages "${@:2}"
}

# From now on cargo, make and $CC build for the target.
prepare() { # prepare TARGET
    local features=panic-unwind,backtrace name
    runner=()
    case $1 in
    aarch64)
        target=aarch64-unknown-linux-gnu
        tools=aarch64-linux-gnu-
        need ${tools}gcc gcc-aarch64-linux-gnu libc6-dev-arm64-cross
        need ${tools}g++ g++-aarch64-linux-gnu
        need qemu-aarch64 qemu-user
        emulated_root "$PWD/build/$1/root"
        runner=(qemu-aarch64 -L "$PWD/build/$1/root")
        export CC=${tools}gcc CXX=${tools}g++
        # Under QEMU 7.2 the child of a process with threads that starts one dies in the emulator ("qemu_plugin_vcpu_init_hook:
        # assertion failed"), and the counter moves by whole microseconds, so that no clock is exact to one.
        export THREADS_IN_CHILDREN=0 CLOCK_TOLERANCE_NS=5000
        ;;
    musl)
        target=x86_64-unknown-linux-musl
        tools=
        need musl-gcc musl-tools
        need_unwinder "$PWD/build/$1/unwinder"
        features+=,llvm-libunwind
        # Without the first, rustc makes no shared libraries for musl; the second: with the C library that is installed.
        export CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_RUSTFLAGS="-Ctarget-feature=-crt-static -Clink-self-contained=no -Lnative=$PWD/build/$1/unwinder"
        export CC=musl-gcc CXX=false
        ;;
    *) cannot "aarch64, musl or all" ;;
    esac
    need_sources
    prefix=$PWD/build/$1/prefix
    name=${target//-/_}
    export "CC_$name=$CC" "CARGO_TARGET_${name^^}_LINKER=$CC"
    [ ${#runner[@]} = 0 ] || export "CARGO_TARGET_${name^^}_RUNNER=${runner[*]}"
    export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target-$1} CARGO_BUILD_TARGET=$target
    build=("${flags[@]}" -Zbuild-std "-Zbuild-std-features=$features")
}

# The files that the emulator shows in place of this machine's: the target's libraries, and the name of the clock source of a kernel on
# aarch64, so that the processor's counter stamps events.
emulated_root() { # emulated_root PLACE
    local clock=$1/sys/devices/system/clocksource/clocksource0
    mkdir -p "$clock"
    ln -sfn /usr/aarch64-linux-gnu/lib "$1/lib"
    echo arch_sys_counter >"$clock/current_clocksource"
}

# musl has no unwinder. Distributions with musl build libgcc_s or LLVM's libunwind for it; Debian has neither. Debian's libunwind.a, built
# for glibc, needs one function that only glibc has.
need_unwinder() { # need_unwinder PLACE
    [ ! -e "$1/libunwind.a" ] || return 0
    command -v apt-get >/dev/null || cannot "musl: needs Debian's libunwind-22-dev"
    rm -rf "$1"
    mkdir -p "$1"
    unpack "$1/package" libunwind-22-dev >"$1/log" 2>&1 || { tail -3 "$1/log" >&2 && cannot "musl: no libunwind"; }
    cat >"$1/checked.c" <<'END'
#include <stdarg.h>
#include <stdio.h>

int __fprintf_chk(FILE *file, int flag, const char *format, ...)
{
    va_list list;
    int written;
    (void)flag;
    va_start(list, format);
    written = vfprintf(file, format, list);
    va_end(list);
    return written;
}
END
    musl-gcc -O2 -fPIC -fvisibility=hidden -c "$1/checked.c" -o "$1/checked.o" &&
        cp "$1/package/usr/lib/llvm-22/lib/libunwind.a" "$1/whole.a" && ar r "$1/whole.a" "$1/checked.o" &&
        mv "$1/whole.a" "$1/libunwind.a" || cannot "musl: no libunwind"
}

# --- the parts ---------------------------------------------------------------------------------------------------------
library() { # library TARGET
    local log=build/$1/library.log status=0 kind
    mkdir -p "build/$1"
    # CC and CFLAGS are for the programs; cargo has its own above.
    (
        unset CC CXX
        export LD=${tools}ld.bfd OBJCOPY=${tools}objcopy AR=${tools}ar NM=${tools}nm
        "${MAKE:-make}" --no-print-directory local BUILD="build/$1" CARGO="$cargo" CARGO_FLAGS="${build[*]}" \
            STRIP="${tools}strip --strip-debug"
    ) 2>&1 | tee "$log" || return
    ! grep -q '^warning' "$log" "build/$1/local.log" || { grep -A4 '^warning' "$log" "build/$1/local.log" && status=1; }
    NM=${tools}nm tests/exports.sh "build/$1/prefix/lib" || status=1
    for kind in shared static wholly-static; do
        linked $kind "$1" || { echo "FAILED: a program linked $kind" && status=1; }
    done
    return $status
}

# Builds and runs a program that is linked in one of the ways of the README.
linked() { # linked KIND TARGET
    local way program=build/$2/linked-$1
    export PKG_CONFIG_LIBDIR=$prefix/lib/pkgconfig
    case $1 in
    shared) way="$(pkg-config --libs capture_pipeline) -Wl,-rpath,$prefix/lib" ;;
    static) way=$(pkg-config --variable=static_libs capture_pipeline) ;;
    wholly-static) way="-static $(pkg-config --static --libs capture_pipeline)" ;;
    esac
    [ "$2" != musl ] || way+=" -L$PWD/build/musl/unwinder"
    # shellcheck disable=SC2046,SC2086
    $CC -O2 -Wall -Wextra -Werror -pthread $(pkg-config --cflags capture_pipeline) tests/install/program.c -o "$program" $way &&
        [ "$(timeout 60 "${runner[@]}" "$program" 2>&1)" = "stored 1000 of 1000" ] && echo "a program linked $1 works"
}

programs() { # programs TARGET
    local names without
    mapfile -t names < <(without "$1")
    leave_out --except "${names[@]}"
    # Some tests include the kernel's headers, which musl does not have. They come after the C library's own.
    if [ "$1" = musl ]; then
        mkdir -p build/musl/kernel
        ln -sfn /usr/include/linux /usr/include/asm-generic "/usr/include/$(uname -m)-linux-gnu/asm" build/musl/kernel
        export CFLAGS="-O2 -g -Wall -Wextra -Werror -pthread -idirafter $PWD/build/musl/kernel"
    fi
    tests/programs.sh --prefix "$prefix" --out "build/$1/programs" --timeout 600 --runner "${runner[*]}" --only "${ONLY:-*}" \
        "${without[@]}" tests/c tests/cpp
}

rust() { # rust TARGET
    local names without
    mapfile -t names < <(without_rust "$1")
    leave_out --skip "${names[@]}"
    # Optimized like the release, with every assertion on.
    # shellcheck disable=SC2086
    (unset CC CXX && "$cargo" test "${build[@]}" --profile simulator --no-fail-fast $rust_tests -- "${without[@]}")
}

members() { # members TARGET
    # The tests that run the command itself cannot run where the kernel of this machine does not execute it.
    local which=()
    [ "$1" != aarch64 ] || which=(--bins)
    (unset CC CXX && "$cargo" test "${build[@]}" --profile simulator --no-fail-fast --package capture_pipeline_cli \
        --package alloc_trace_report "${which[@]}")
}

name=${1:-}
[ $# = 0 ] || shift
if [ "$name" = all ]; then
    failed=()
    for name in aarch64 musl; do
        "$0" $name "$@" || failed+=("$name")
    done
    [ ${#failed[@]} = 0 ] || cannot "failed: ${failed[*]}"
    exit 0
fi
prepare "$name"
status=0
for part in ${*:-library programs rust members}; do
    began=$SECONDS
    "$part" "$name" || status=1
    echo "targets.sh: $name, $part: $((SECONDS - began)) s"
done
exit $status
