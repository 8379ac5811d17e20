#!/bin/bash
# sanitize.sh address|thread|memcheck|all [PART...]: the C and C++ tests and the Rust tests under AddressSanitizer (with
# LeakSanitizer), under ThreadSanitizer, or under valgrind's memcheck. The library, its SQLite, the programs that use it
# and, for ThreadSanitizer, Rust's standard library are built with the sanitizer. A report of the sanitizer fails the test.
#
# PART: programs; rust, the tests of the library in Rust; members, those of the command and of alloc_trace's report; for address also beam,
# which runs all tests of the bindings with the NIF in a VM under AddressSanitizer (default: all of these). The part build only builds the
# library, for a later run of the programs. ONLY='*tokens*' limits the programs to those whose path matches, RUST_TESTS='--test ledger' the
# Rust tests to those named, ERLANG_TESTS='--module=vm_tests' and ELIXIR_TESTS=test/FILE those of the bindings; CHAOS_SECONDS and
# CAPTURE_STORM_SECONDS say how long processes are killed.
#
# As root on Debian it installs missing packages (clang-22 and its runtimes). ThreadSanitizer needs an instrumented standard
# library, and so a compiler with the sources of that library: Debian's, unpacked under build/, not installed.
set -uo pipefail
cd "$(dirname "$0")/.."
. tests/instrument.sh
rust_tests=${RUST_TESTS:-$(rust_tests)}

# The programs that cannot run under a sanitizer, with the reason. All others run.
without() { # without KIND: paths, one a line
    # Its own malloc takes the place of the sanitizer's.
    echo '*/failing_allocator.c'
    # It limits its address space, of which sanitizers take terabytes, and memcheck takes some memory for itself.
    echo '*/no_address_space.c'
    # It has three C libraries. Memory that the dynamic linker allocates in one of them is freed in another, of which the tools do not know.
    echo '*/two_namespaces.c'
    case $1 in
    # The storage's thread leaves the database's lock for moments only. Under valgrind these are so few that another program waits in vain for its ten
    # seconds.
    memcheck) echo '*/shares_the_database.c' ;;
    esac
}

without_members() { # names of tests
    # The memory of the command that they measure, or limit, is the sanitizer's as well.
    printf '%s\n' memory:: memory_does_not_grow_with_rows_times_columns
}

without_rust() { # without_rust KIND: names of tests
    case $1 in
    # It limits its address space, of which these sanitizers take terabytes.
    address | thread) echo without_memory_for_views_nothing_changes_and_no_event_is_lost ;;
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
    cp include/capture_pipeline.h include/capture_pipeline_fast.h include/capture_pipeline.hpp include/capture_pipeline_reader.hpp \
        "$prefix/include"
    cp "$CARGO_TARGET_DIR/$target/release/$so" "$prefix/lib/$so.$version"
    ln -sf "$so.$version" "$prefix/lib/$so.${version%%.*}"
    ln -sf "$so.${version%%.*}" "$prefix/lib/$so"
    packaging/fill.sh packaging/capture_pipeline.pc.in "$prefix/lib/pkgconfig/capture_pipeline.pc" \
        "$version" "$prefix" "$prefix/lib" "$prefix/include" /dev/null
}

# --- the parts ---------------------------------------------------------------------------------------------------------
build() { library "$1"; } # build KIND

programs() { # programs KIND
    local names without
    mapfile -t names < <(without "$1")
    leave_out --except "${names[@]}"
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
    local names without
    mapfile -t names < <(without_rust "$1")
    leave_out --skip "${names[@]}"
    # shellcheck disable=SC2086
    cargo_test "$1" $rust_tests -- "${without[@]}"
}

members() { # members KIND
    local names without
    mapfile -t names < <(without_members)
    leave_out --skip "${names[@]}"
    cargo_test "$1" --package capture_pipeline_cli --package alloc_trace_report -- "${without[@]}"
}

cargo_test() { # cargo_test KIND ARGUMENT...
    local kind=$1
    shift
    if [ "$kind" = memcheck ]; then
        # LeakSanitizer looks for leaks of the Rust tests; memcheck would count the memory that a forked child has of its parent.
        CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="valgrind -q --fair-sched=try --leak-check=no --error-exitcode=9" \
            "$cargo" test "${flags[@]}" --no-fail-fast "$@"
    else
        (unset CC CXX CFLAGS && "$cargo" test "${build[@]}" --no-fail-fast "$@")
    fi
}

# The bindings are copied to a directory of their own, because they build in place. The NIF contains the instrumented library.
# The VM is not instrumented, but its allocators are off, so that AddressSanitizer allocates every block. Leaks are not checked.
# The VM does not know how much memory it uses then, so the tests leave that comparison out.
beam() { # beam KIND
    local place=$PWD/build/$1/beam runtime
    [ "$1" = address ] || cannot "beam: under AddressSanitizer alone"
    packaging/check_tools.sh beam || return
    (unset CC CXX CFLAGS && "$cargo" rustc --lib --crate-type staticlib "${build[@]}") || return
    rm -rf "$place"
    mkdir -p "$place"
    tar -c --exclude=_build --exclude=priv bindings docs README.md | tar -x -C "$place" || return
    runtime=$(clang-22 --print-file-name=libclang_rt.asan-x86_64.so)
    [ -e "$runtime" ] || cannot "beam: clang-22 has no shared runtime"
    (
        export SANITIZE=$1 CFLAGS="-O1 -g" CAPTURE_PIPELINE_INCLUDE=$PWD/include
        export CAPTURE_PIPELINE_A=$CARGO_TARGET_DIR/$target/release/libcapture_pipeline.a
        export LC_ALL=${LC_ALL:-C.UTF-8} ELIXIR_ERL_OPTIONS="${ELIXIR_ERL_OPTIONS:-+fnu}" MIX_ENV=test
        # Programs that the tests start run under it too, and not all pass strict_string_checks.
        export ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=1 LD_PRELOAD=$runtime ERL_ZFLAGS="+Mea min"
        erl -noshell -eval 'try erlang:memory() of _ -> halt(1) catch error:notsup -> halt(0) end.' ||
            cannot "beam: the VM has its own allocators on"
        status=0
        # shellcheck disable=SC2086
        (cd "$place/bindings/erlang" && rebar3 eunit ${ERLANG_TESTS:-}) || status=1
        # shellcheck disable=SC2086
        (cd "$place/bindings/elixir" && mix test ${ELIXIR_TESTS:-}) || status=1
        exit $status
    )
}

kind=${1:-}
[ $# = 0 ] || shift
parts=${*:-programs rust members}
[ $# != 0 ] || [ "$kind" != address ] || parts+=" beam"
case $kind in
all)
    failed=()
    for kind in address thread memcheck; do
        "$0" $kind "$@" || failed+=("$kind")
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
