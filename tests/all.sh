#!/bin/bash
# All checks; `make test` and .ci/run run this script. tests/steps.sh says how steps run side by side.
#
#   tests/all.sh [STEP...]    only these steps (names as declared here)
set -uo pipefail
cd "$(dirname "$0")/.."
. tests/steps.sh
# shellcheck disable=SC2206
flags=(${CARGO_FLAGS:---locked})
cargo=${CARGO:-cargo}
make=(${MAKE:-make} --no-print-directory)
prefix=build/prefix

# Steps that only compute run side by side. The long ones come first, so that both lanes end at about the same time.
# Cargo locks a folder while it builds in it: loom, the simulator, AddressSanitizer and the kill matrix have folders of their own, the release build is
# locked apart from the debug build. Steps with the same lock would only wait for each other.
step build lock=release -- "${make[@]}" build local
step build-cli lock=cli -- "${make[@]}" cli
step nats-build after=build lock=nats -- "${make[@]}" local-nats
step format -- "$cargo" fmt --all --check
step steps -- tests/steps_test.sh
step checks -- python3 tests/source/selftest.py
step links -- python3 tests/source/links.py
step lengths -- python3 tests/source/structure.py --lines 400 src cli/src storages/nats/src c_examples/alloc_trace/report/src bindings/erlang/c_src bindings/elixir/lib
step circles -- python3 tests/source/structure.py --circles src cli/src storages/nats/src c_examples/alloc_trace/report/src bindings/erlang/c_src c_examples/alloc_trace benches/native/harness
step msrv -- python3 tests/source/msrv.py
step mutations -- python3 tests/mutations/run.py --check
step clippy lock=debug -- "$cargo" clippy "${flags[@]}" --workspace --all-targets -- -D warnings
# The other two builds: without SQLite, and with the system's.
step clippy-without-sqlite lock=debug -- "$cargo" clippy "${flags[@]}" --no-default-features -- -D warnings
step clippy-system-sqlite lock=debug -- "$cargo" clippy "${flags[@]}" --no-default-features --features sqlite-system -- -D warnings
step cargo-build lock=debug -- "$cargo" test "${flags[@]}" --no-run
step cli lock=debug -- tests/cli.sh
step nats-unit lock=debug -- "$cargo" test "${flags[@]}" -p capture_pipeline_nats
step report lock=debug -- "$cargo" test "${flags[@]}" -p alloc_trace_report
step loom -- env RUSTFLAGS="${RUSTFLAGS:-} --cfg loom" CARGO_TARGET_DIR=target-loom \
    "$cargo" test --release "${flags[@]}" --no-default-features --test loom
step clippy-simulator lock=simulator -- env RUSTFLAGS="${RUSTFLAGS:-} --cfg simulator" CARGO_TARGET_DIR=target-simulator \
    "$cargo" clippy "${flags[@]}" --profile simulator --no-default-features --test simulator -- -D warnings
step simulator lock=simulator -- tests/simulate.sh
step address-build -- tests/address.sh build
step kill-build -- tests/kill_matrix.sh build
step miri -- tests/miri.sh
step header -- tests/header_compile.sh
step cpp-mistakes -- tests/cpp/must_not_compile.sh
step exports after=build -- tests/exports.sh $prefix/lib
# It builds again only what is not built yet: the release folder is locked meanwhile.
step install after=build after=build-cli lock=release -- tests/install.sh
step readme after=build -- tests/readme.sh $prefix
step metrics after=build -- tests/metrics.sh $prefix
step perfetto after=build after=cargo-build -- tests/perfetto.sh $prefix

# Steps that have deadlines, use both cores by themselves, or must find a race run alone.
step instructions after=build alone -- tests/instructions.sh
step cpp-sanitizers after=build alone -- tests/cpp/sanitizers.sh $prefix
step cargo after=cargo-build alone -- "$cargo" test "${flags[@]}" --no-fail-fast
step kill after=kill-build alone -- tests/kill_matrix.sh
step programs-c after=build alone -- tests/programs.sh --except 'tests/c/hosts/*' tests/c
step programs-hosts after=build alone -- tests/programs.sh tests/c/hosts
step programs-cpp after=build alone -- tests/programs.sh tests/cpp
step programs-examples after=build alone -- tests/programs.sh c_examples
step nats after=nats-build after=build-cli alone -- storages/nats/tests/run.sh
# A forked child of prefork.c does not free what the threads of its parent had on their stacks.
step valgrind after=build alone -- tests/programs.sh --valgrind --except '*/prefork.c' c_examples
step address after=address-build alone -- tests/address.sh run
step alloc_trace after=build after=build-cli alone -- tests/alloc_trace/run.sh
step erlang after=build alone -- tests/beam.sh erlang
step elixir after=build alone -- tests/beam.sh elixir
# A newer release beside the machine's own. `make targets-otp` runs all of both steps above on any release that Debian has.
step otp after=build alone -- env OTP_MAY_SKIP=1 OTP_SUITES=trixie OTP_STEPS='eunit exunit' tests/otp.sh 27

run_steps "$@"
