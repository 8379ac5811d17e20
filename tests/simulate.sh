#!/bin/bash
# Builds and runs the simulator (tests/simulator): SEEDS seeds from FROM on, in JOBS processes side by side. SEED=n replays one
# (with TRACE=1 it tells what the storage is shown). SCENE=pool or SCENE=journal makes only runs with a storage that fails, or with a journal. Ends with 0 if no seed failed.
set -euo pipefail
cd "$(dirname "$0")/.."
seeds=${SEEDS:-5000} from=${FROM:-1} jobs=${JOBS:-2}
# shellcheck disable=SC2206
flags=(${CARGO_FLAGS:---locked})
export CARGO_TARGET_DIR=${SIMULATOR_TARGET_DIR:-target-simulator}
# cargo says: "Executable tests/simulator.rs (target-simulator/...)".
program=$(RUSTFLAGS="${RUSTFLAGS:-} --cfg simulator" "${CARGO:-cargo}" test --profile simulator "${flags[@]}" \
    --no-default-features --test simulator --no-run 2>&1 | tee /dev/stderr | sed -n 's/.*(\(.*simulator-[0-9a-f]*\)).*/\1/p')
[ -x "$program" ] || { echo "simulator: not built" >&2; exit 1; }
if [ -n "${SEED:-}" ]; then exec "$program"; fi
each=$(((seeds + jobs - 1) / jobs))
pids=()
for ((job = 0; job < jobs; job++)); do
    JOB=$job SEEDS=$each FROM=$((from + job * each)) "$program" &
    pids+=($!)
done
status=0
for pid in "${pids[@]}"; do wait "$pid" || status=1; done
exit $status
