#!/bin/bash
# Builds and runs the kill matrix (tests/kill_matrix): processes with ring files are killed at each point of an event's way and at random moments, and what they have
# left is recovered. KILL_ROUNDS random rounds (default 150; 10000 in the long run) from KILL_SEED on. With `build` it only builds.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck disable=SC2206
flags=(${CARGO_FLAGS:---locked})
export CARGO_TARGET_DIR=${KILL_TARGET_DIR:-target-kill}
# cargo says: "Executable tests/kill_matrix/main.rs (target-kill/...)".
program=$(RUSTFLAGS="${RUSTFLAGS:-} --cfg kill_points" "${CARGO:-cargo}" test --profile simulator "${flags[@]}" \
    --test kill_matrix --no-run 2>&1 | tee /dev/stderr | sed -n 's/.*(\(.*kill_matrix-[0-9a-f]*\)).*/\1/p')
[ -x "$program" ] || { echo "kill matrix: not built" >&2; exit 1; }
[ "${1:-}" = build ] || exec "$program"
