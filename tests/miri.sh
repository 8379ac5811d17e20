#!/bin/bash
# Runs the unit tests of the modules that compute and do not call the system under Miri, which finds undefined behaviour that the
# compiler's output may hide: reads of memory that was never written, wrong aliasing, data races. Says so and passes where Miri is not
# installed (`rustup +nightly component add miri`).
#
#   tests/miri.sh [FILTER...]    instead of these modules: unit tests with such names
set -uo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
# shellcheck disable=SC2206
flags=(${CARGO_FLAGS:---locked})
modules=(event:: ledger:: batch:: config:: latency:: clock::timeline:: ring::record ring::copy ring::ring_buffer)
modules+=(storage::journal::gather storage::journal::blocks)
# Tokens need a page that the kernel wipes in a forked child (madvise), and one test reads the processor's counter: Miri has neither.
modules+=(--skip batch::token --skip on_this_machine)
[ $# = 0 ] || modules=("$@")

for toolchain in "" +nightly; do
    # shellcheck disable=SC2086
    if "$cargo" $toolchain miri --version >/dev/null 2>&1; then
        # Without SQLite and without the reserve of memory: both are calls into C. The tests wait by the real clock.
        export MIRIFLAGS="${MIRIFLAGS:--Zmiri-disable-isolation}" CARGO_TARGET_DIR=target-miri
        # shellcheck disable=SC2086
        exec "$cargo" $toolchain miri test "${flags[@]}" --no-default-features --lib -- "${modules[@]}"
    fi
done
echo "miri: skipped: Miri is not installed"
