#!/bin/bash
# sanitizers.sh PREFIX: programs of the C++ wrapper, built with a sanitizer as a user would, against the installed library, which is not
# instrumented. The sanitizers must report nothing. (`make sanitize` instruments the library as well, and runs all programs.)
set -uo pipefail
cd "$(dirname "$0")/../.."
. tests/check.sh
prefix=$(realpath "$1")
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
# pkg-config writes words for the shell.
eval "flags=(-std=c++17 -O1 -g -Wall -Wextra -Werror -pthread $(pkg-config --cflags capture_pipeline))"
eval "libraries=($(pkg-config --libs capture_pipeline))"
libraries+=("-Wl,-rpath,$prefix/lib")
export TSAN_OPTIONS=exitcode=66 ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1

# usable SANITIZER: whether this compiler has it and its programs run here. Sets `runner`, which turns off the randomization of addresses
# where an older ThreadSanitizer needs that.
usable() {
    echo 'int main() { return 0; }' >"$work/probe.cpp"
    g++ "-fsanitize=$1" "$work/probe.cpp" -o "$work/probe" >/dev/null 2>&1 || return 1
    for runner in "" "setarch $(uname -m) -R"; do
        # shellcheck disable=SC2086
        $runner "$work/probe" >/dev/null 2>&1 && return 0
    done
    return 1
}
build() { # build OUT SANITIZER SOURCES...
    local out=$1 sanitizer=$2
    shift 2
    g++ "${flags[@]}" "-fsanitize=$sanitizer" -fno-sanitize-recover=undefined "$@" -o "$out" "${libraries[@]}"
}
run() { # run PROGRAM: in a directory of its own
    mkdir -p "$work/place"
    # shellcheck disable=SC2086
    (cd "$work/place" && TMPDIR=$work/place timeout --kill-after=10 300 $runner "$1" </dev/null)
    local status=$?
    rm -rf "$work/place"
    return $status
}
# reports PROGRAM: ThreadSanitizer reports a race in one of five runs; it forgets old accesses, so one run may miss the race.
reports() {
    for _ in 1 2 3 4 5; do
        run "$1" >"$work/report" 2>&1
        grep 'WARNING: ThreadSanitizer: data race' "$work/report" && return
    done
    return 1
}

# A concurrent storage with a counter that its calls race for. The wrapper's annotations for ThreadSanitizer must not hide this race.
cat >"$work/race.cpp" <<'CPP'
#include <capture_pipeline.hpp>

#include <atomic>

namespace cp = capture_pipeline;

int main() {
    unsigned long racing = 0;
    std::atomic<int> inside{0};
    cp::Storage storage([&](const cp::Batch &) {
        // Both calls are inside before either goes on. Relaxed: this is no order between what follows.
        inside.fetch_add(1, std::memory_order_relaxed);
        for (long turns = 0; inside.load(std::memory_order_relaxed) < 2 && turns < 2000000000; ++turns)
            std::atomic_signal_fence(std::memory_order_seq_cst);
        racing += 1;
    });
    storage.concurrent();
    cp::Config config;
    config.writers = 2;
    config.batch_size = 1;
    cp::Pipeline pipeline(config, std::move(storage));
    pipeline.capture(1, 1u).ignore();
    pipeline.capture(1, 2u).ignore();
    return pipeline.close(std::chrono::seconds(60)) ? 0 : 1;
}
CPP

for sanitizer in address,undefined thread; do
    if ! usable $sanitizer; then
        echo "left out: -fsanitize=$sanitizer does not work with this g++ on this system"
        continue
    fi
    check "$sanitizer: the thread pool, built" build "$work/pool" $sanitizer tests/cpp/thread_pool/*.cpp
    check "$sanitizer: the thread pool, no report" run "$work/pool"
    for name in scope_ends pending exceptions; do
        check "$sanitizer: $name, built" build "$work/$name" $sanitizer "tests/cpp/$name.cpp"
        check "$sanitizer: $name, no report" run "$work/$name"
    done
    [ $sanitizer = thread ] || continue
    check "thread: a program with a race, built" build "$work/race" thread "$work/race.cpp"
    check "thread: its race is reported" reports "$work/race"
done

closing "C++ programs under sanitizers"
