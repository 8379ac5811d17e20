#!/bin/bash
# Everything that is checked, step by step, with the time that each took; what `make test` runs.
# It goes on after a step that fails, so that one run shows all, and ends with the closing lines of every runner.
#
#   tests/all.sh [STEP...]    only these steps (names as printed)
set -uo pipefail
cd "$(dirname "$0")/.."
# shellcheck disable=SC2206
flags=(${CARGO_FLAGS:---locked})
cargo=${CARGO:-cargo}
logs=build/test-logs
rm -rf "$logs"
mkdir -p "$logs"
closing=()
broken=()
began=$SECONDS
wanted=" $* "

# step NAME COMMAND...: prints what the command prints, and keeps it for the closing lines.
step() {
    local name=$1 start=$SECONDS status
    shift
    [ "$wanted" = "  " ] || [[ $wanted == *" $name "* ]] || return 0
    echo
    echo "=== $name: $*"
    "$@" 2>&1 | tee "$logs/$name.log"
    status=${PIPESTATUS[0]}
    if [ "$status" = 0 ]; then
        echo "=== $name: done in $((SECONDS - start)) s"
    else
        echo "=== $name: FAILED (answered $status) after $((SECONDS - start)) s"
        broken+=("$name")
    fi
    while IFS= read -r line; do closing+=("$name|$line"); done < <(
        grep -E '^test result: |: [0-9]+ passed, [0-9]+ failed$|^[0-9]+ passed, [0-9]+ failed$' "$logs/$name.log"
        # EUnit's and ExUnit's.
        sed 's/\x1b\[[0-9;]*m//g' "$logs/$name.log" | grep -E '^ *All [0-9]+ tests passed|^ *Failed: [0-9]+\.|^([0-9]+ doctests?, )?[0-9]+ tests?, [0-9]+ failures?'
    )
}

loom() { RUSTFLAGS="${RUSTFLAGS:-} --cfg loom" CARGO_TARGET_DIR=target-loom "$cargo" test --release "${flags[@]}" --no-default-features --test loom; }

step format "$cargo" fmt --check
step clippy "$cargo" clippy "${flags[@]}" --all-targets -- -D warnings
# The other two builds: without SQLite, and with the system's.
step clippy-without-sqlite "$cargo" clippy "${flags[@]}" --no-default-features -- -D warnings
step clippy-system-sqlite "$cargo" clippy "${flags[@]}" --no-default-features --features sqlite-system -- -D warnings
simulator_clippy() { RUSTFLAGS="${RUSTFLAGS:-} --cfg simulator" CARGO_TARGET_DIR=target-simulator "$cargo" clippy "${flags[@]}" --profile simulator --no-default-features --test simulator -- -D warnings; }
step clippy-simulator simulator_clippy
step cargo "$cargo" test "${flags[@]}" --no-fail-fast
if [ -e tests/loom.rs ]; then step loom loom; fi
step simulator tests/simulate.sh
step mutations python3 tests/mutations/run.py --check
step build "${MAKE:-make}" --no-print-directory build local
step header tests/header_compile.sh
step instructions tests/instructions.sh
step exports tests/exports.sh build/prefix/lib
step install tests/install.sh
step readme tests/readme.sh build/prefix
for directory in tests/c tests/cpp c_examples; do
    if compgen -G "$directory/*.c" >/dev/null || compgen -G "$directory/*.cpp" >/dev/null; then
        step "programs-${directory//\//-}" tests/programs.sh "$directory"
    fi
done
if compgen -G "c_examples/*.c" >/dev/null; then step valgrind tests/programs.sh --valgrind c_examples; fi
if [ -x tests/alloc_trace/run.sh ]; then step alloc_trace tests/alloc_trace/run.sh; fi
step erlang tests/beam.sh erlang
step elixir tests/beam.sh elixir

echo
echo "=== closing lines"
for line in "${closing[@]}"; do printf '%-20s %s\n' "${line%%|*}" "${line#*|}"; done
echo
if [ ${#broken[@]} -gt 0 ]; then
    # What failed once more, here at the end, where a long log is cut last.
    for name in "${broken[@]}"; do
        echo "=== $name, what failed:"
        # EUnit says *failed*, ExUnit a number and the test's name.
        sed 's/\x1b\[[0-9;]*m//g' "$logs/$name.log" | grep -E -A12 'FAILED|\*failed\*|^ +[0-9]+\) test |panicked at|^error' | cut -c1-1500 | head -60
    done
    echo
    echo "make test: FAILED in $((SECONDS - began)) s: ${broken[*]}"
    exit 1
fi
if [ $# -gt 0 ]; then echo "only $*: passed in $((SECONDS - began)) s"; else echo "make test: all passed in $((SECONDS - began)) s"; fi
