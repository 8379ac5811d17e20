#!/bin/bash
# targets.sh aarch64|musl|all [PART...]: the library for the systems that this machine is not: built, installed and tested.
#
#   aarch64    Linux on aarch64 with glibc, by Debian's cross compiler, under QEMU's emulation of a process
#   musl       Linux on x86_64 with musl, by Debian's musl-gcc, as it is
#
# PART is what to run (default: all there are): library, the shared and the static library, installed in build/TARGET/prefix,
# their symbols, and a program linked with each; programs, the C and C++ tests; rust, the Rust tests. ONLY='*tokens*' limits
# the programs to those whose path matches, RUST_TESTS='--test ledger' the Rust tests to those named.
#
# It installs what it misses, as root on Debian. A standard library for the target is built from its sources, by a
# compiler that comes with them: Debian's, unpacked under build/, not installed.
#
# What this does not show: an emulator on x86_64 orders memory as x86_64 does, so of weak memory loom has the word; a compiled
# capture's speed; the BEAM there.
set -uo pipefail
cd "$(dirname "$0")/.."
. tests/instrument.sh
rust_tests=${RUST_TESTS:---lib --test ledger --test sqlite}

# What cannot run there, by name and with the reason. Nothing is left out otherwise.
without() { # without TARGET: paths of programs, one a line
    case $1 in
    # Under QEMU 7.2 a process grows by some 280 KiB with each thread that ever was, this library or not. The one watches its
    # resident memory; the other has threads come and go until all is done, and needs more than there is.
    aarch64) echo tests/c/many_threads.c && echo tests/c/fork_busy.c ;;
    # Debian has no C++ library for musl.
    musl) echo 'tests/cpp/*' ;;
    esac
}

without_rust() { # without_rust TARGET: names of tests
    case $1 in
    aarch64)
        # QEMU 7.2's madvise answers 0 to MADV_POPULATE_WRITE and does nothing.
        echo no_more_is_resident_than_a_step_beyond_what_is_written
        # Its counter moves by whole microseconds, and exactness of one is wanted.
        echo on_this_machine_many_threads_convert_alike_and_in_order
        # The child of a process with threads that starts one dies in QEMU ("qemu_plugin_vcpu_init_hook: assertion failed").
        echo children_forked_under_load_have_their_own_databases
        # It runs itself once more, and exec is this machine's, which does not know such programs.
        echo what_was_acknowledged_survives_a_kill
        ;;
    esac
}

# need COMMAND PACKAGE...: Debian packages are installed unless the command is there.
need() {
    command -v "$1" >/dev/null || packages "${@:2}"
}

# From here on cargo, make and $CC build for the target.
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

# What the emulator shows instead of this machine's own files: the target's libraries, and the clock that a kernel on aarch64 keeps its
# time by, so that the processor's counter stamps events as it does there.
emulated_root() { # emulated_root PLACE
    local clock=$1/sys/devices/system/clocksource/clocksource0
    mkdir -p "$clock"
    ln -sfn /usr/aarch64-linux-gnu/lib "$1/lib"
    echo arch_sys_counter >"$clock/current_clocksource"
}

# musl's own library does not unwind. The systems that live on it have libgcc_s or LLVM's libunwind made for it; Debian has neither.
# Its libunwind.a, made for glibc, wants one function that only glibc has.
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

# --- what runs ---------------------------------------------------------------------------------------------------------
library() { # library TARGET
    local log=build/$1/library.log status=0 kind
    mkdir -p "build/$1"
    # CC is for the programs; of the flags, cargo has its own above.
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

# A program linked in one of the ways that the README names works.
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
    # The kernel's own headers, behind the C library's: some tests include them, and musl has none.
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
    # As fast as what is shipped, with every assertion on.
    # shellcheck disable=SC2086
    (unset CC CXX && "$cargo" test "${build[@]}" --profile simulator --no-fail-fast $rust_tests -- "${without[@]}")
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
for part in ${*:-library programs rust}; do
    began=$SECONDS
    "$part" "$name" || status=1
    echo "targets.sh: $name, $part: $((SECONDS - began)) s"
done
exit $status
