#!/bin/bash
# Tests of tests/steps.sh, on steps that do nothing: the order, what runs beside what, and what is said of a failure.
set -uo pipefail
cd "$(dirname "$0")/.."
. tests/check.sh

# declared: the steps of a run, as a script that gets `tests/steps.sh` and its own arguments.
cat >"$work/run" <<'SH'
#!/bin/bash
. "$1/tests/steps.sh"
shift
note() { printf 'echo %s begins >>%q; sleep 0.2; echo %s ends >>%q; ' "$1" "$NOTES" "$1" "$NOTES"; }
# The first step ends when the one beside it has begun, or after ten seconds.
step first lock=a -- bash -c "$(note first) for ((n = 0; n < 200; n++)); do ! grep -qx 'beside begins' \"$NOTES\" || break; sleep 0.05; done; \
    echo first is over >>\"$NOTES\"; echo '3 passed, 0 failed'"
step same_lock lock=a -- bash -c "$(note same_lock)"
step beside -- bash -c "$(note beside)"
step broken -- bash -c "$(note broken) echo FAILED because; exit ${BROKEN:-3}"
step needs_broken after=broken -- bash -c "$(note needs_broken)"
step quiet alone -- bash -c "$(note quiet)"
step last -- bash -c "$(note last)"
step slow -- sleep "${SLOW:-0}"
run_steps "$@"
SH
export NOTES=$work/notes STEP_LOGS=$work/logs
run() { # run [STEP...]: `status`, `said` and `notes` are of that run
    rm -f "$NOTES"
    said=$(bash "$work/run" "$PWD" "$@" 2>&1)
    status=$?
    notes=$(cat "$NOTES" 2>/dev/null)
}
line() { grep -n -m 1 -xF "$1" <<<"$notes" | cut -d: -f1; }
before() { [ "$(line "$1")" -lt "$(line "$2")" ]; }

run
check "a failed step fails the run" same 1 "$status"
check "the others still run" grep -qx "last ends" <<<"$notes"
check "two steps run at the same time" before "beside begins" "first is over"
check "steps with the same lock do not" before "first is over" "same_lock begins"
check "a step that stands alone begins after all that stand before it" before "broken ends" "quiet begins"
check "nothing begins while it runs" same "quiet ends" "$(grep -A1 -x 'quiet begins' <<<"$notes" | tail -1)"
refused "a step is not run if one that it needs has failed" grep -q needs_broken <<<"$notes"
check "it counts as failed" grep -q 'FAILED in .* s: broken needs_broken$' <<<"$said"
check "what failed stands at the end once more" same 2 "$(grep -c '^FAILED because' <<<"$said")"
check "a runner's closing line stands at the end" grep -qE '^first +3 passed, 0 failed$' <<<"$said"
check "a step's exit status is told" grep -q 'broken: FAILED (exit status 3)' <<<"$said"
run needs_broken same_lock
check "single steps: passed" same 0 "$status"
check "single steps: no others" same "needs_broken same_lock" "$(sed -n 's/ ends$//p' <<<"$notes" | LC_ALL=C sort | xargs)"
run no_such_step
check "a step that there is not" same 2 "$status"
check "is told by name" grep -q 'there is no step no_such_step' <<<"$said"
SLOW=20 STEP_LIMIT=1 run slow
check "a step that takes too long has failed" same 1 "$status"
check "and is told so" grep -q 'ended after 1 s' <<<"$said"
# A run whose step goes on until it is ended, beside which another one is tried.
SLOW=300.$$ bash "$work/run" "$PWD" slow >"$work/first" 2>&1 &
first=$!
# await CONDITION...: waits until it holds, at most ten seconds.
await() {
    local n
    for ((n = 0; n < 200; n++)); do ! "$@" 2>/dev/null || return 0; sleep 0.05; done
    return 1
}
check "a step has begun" await grep -q -- "--- slow: started" "$work/first"
# A command line in /proc has a NUL behind each argument.
sleeps() { cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' ' ' | grep -q "sleep 300\.$$ "; }
check "its command runs" await sleeps
run slow
check "a second run in the same folder" same 2 "$status"
check "is told why it does not begin" grep -q 'another run is at work' <<<"$said"
kill -HUP "$first"
wait "$first"
check "a run that its terminal leaves ends" same 130 $?
check "and says how far it has come" grep -q 'slow: interrupted' "$work/first"
sleeps_no_more() { ! sleeps; }
check "its step ends with it" await sleeps_no_more
BROKEN=0 run
check "if all pass, the run passes" same 0 "$status"

closing "steps"
