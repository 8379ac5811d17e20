# Sourced by tests/all.sh: runs the steps that it declares, up to two at the same time, and sums up.
#
#   step NAME [OPTION...] -- COMMAND...    declares a step
#   run_steps [NAME...]                    runs all steps, or those named; answers 0 if all passed
#
# Options of a step:
#   after=STEP     it needs what STEP made: it starts when STEP has passed, and counts as failed when STEP failed
#   lock=WORD      it does not run beside another step with the same word (the same folder of cargo's, say)
#   alone          nothing else runs meanwhile, and no later step starts before it. For tests that have deadlines or use both cores.
#
# Only one run at a time may use a folder of logs: a second one says so and ends with status 2. A run that is interrupted (INT, TERM, HUP) ends
# its steps.
#
# Steps start in the order in which they are declared. The output of a step goes to build/test-logs/NAME.log and is printed as a whole when
# the step ends, so that the outputs of two steps never mix. A step that fails does not stop the others: one run shows everything.
#
#   STEP_LIMIT=1500    a step that runs longer, in seconds, is ended and has failed
#   LANES=2            how many steps run at the same time
# shellcheck shell=bash

logs=${STEP_LOGS:-build/test-logs}
lanes=${LANES:-2}
limit=${STEP_LIMIT:-1500}
names=()
declare -A command=() needs=() lock=() alone=() state=() started=() name_of=()

step() {
    local name=$1
    shift
    names+=("$name")
    state[$name]=waiting
    while [ "$1" != -- ]; do
        case $1 in
        after=*) needs[$name]+=" ${1#after=}" ;;
        lock=*) lock[$name]=${1#lock=} ;;
        alone) alone[$name]=1 ;;
        *) echo "steps.sh: step $name has the unknown option $1" >&2 && exit 2 ;;
        esac
        shift
    done
    shift
    command[$name]=$(printf '%q ' "$@")
}

# can_start NAME: 0 yes, 1 not yet, 2 never (a step that it needs has failed).
can_start() {
    local other
    for other in ${needs[$1]:-}; do
        case ${state[$other]:-passed} in
        passed) ;;
        failed) return 2 ;;
        *) return 1 ;;
        esac
    done
    for other in "${name_of[@]}"; do
        [ -z "${lock[$1]:-}" ] || [ "${lock[$1]}" != "${lock[$other]:-}" ] || return 1
    done
}

start() {
    local name=$1 beside="${name_of[*]}"
    state[$name]=running
    started[$name]=$SECONDS
    echo "--- $name: started at $((SECONDS - began)) s${beside:+, beside $beside}"
    (
        # In seconds: elapsed, of the processor in user mode and in the kernel.
        TIMEFORMAT='%R %U %S'
        # The step does not inherit the lock of the run, because a process that it leaves behind would hold it.
        { time eval "timeout --kill-after=30 $limit ${command[$name]}" >"$logs/$name.log" 2>&1 </dev/null {run_lock}>&-; } 2>"$logs/$name.time"
    ) &
    name_of[$!]=$name
}

# ended NAME STATUS: prints what the step printed.
ended() {
    local name=$1 status=$2 cpu
    cpu=$(awk 'END { printf "%.0f", $2 + $3 }' "$logs/$name.time")
    echo
    echo "=== $name: ${command[$name]}"
    cat "$logs/$name.log"
    if [ "$status" = 0 ]; then
        state[$name]=passed
        echo "=== $name: done in $((SECONDS - started[$name])) s ($cpu s of processor time)"
    else
        state[$name]=failed
        [ "$status" != 124 ] || echo "ended after $limit s (STEP_LIMIT)" | tee -a "$logs/$name.log"
        echo "=== $name: FAILED (exit status $status) after $((SECONDS - started[$name])) s"
    fi
    echo
}

# Starts the steps that can start now, in their order.
start_steps() {
    local name earlier_waits=
    for name in "${names[@]}"; do
        [ "${state[$name]}" = waiting ] || continue
        can_start "$name"
        case $? in
        2)
            state[$name]=failed
            echo "--- $name: FAILED, not run: it needs${needs[$name]}" | tee "$logs/$name.log"
            continue
            ;;
        0)
            if [ -n "${alone[$name]:-}" ]; then
                [ -n "$earlier_waits" ] || [ ${#name_of[@]} -gt 0 ] || start "$name"
                return
            fi
            [ ${#name_of[@]} -ge "$lanes" ] || start "$name"
            ;;
        1) [ -z "${alone[$name]:-}" ] || return ;;
        esac
        [ "${state[$name]}" != waiting ] || earlier_waits=1
    done
}

# An interrupted run shows how far the steps had come that it ends.
interrupted() {
    local pid
    trap - INT TERM HUP
    for pid in "${!name_of[@]}"; do
        echo
        echo "=== ${name_of[$pid]}: interrupted; its output so far:"
        cat "$logs/${name_of[$pid]}.log"
        # The child is `timeout`, which passes the signal on to all that the step has started.
        # shellcheck disable=SC2046
        kill -TERM $(cat "/proc/$pid/task/$pid/children")
    done
    exit 130
}

# The lines with which the runners of tests end: cargo's, those of our own scripts, EUnit's and ExUnit's.
closing_lines() {
    local name
    echo "=== closing lines"
    for name in "${names[@]}"; do
        [ -e "$logs/$name.log" ] || continue
        sed 's/\x1b\[[0-9;]*m//g' "$logs/$name.log" | grep -E '^test result: |(^|: )[0-9]+ passed, [0-9]+ failed$|: skipped: |^ *All [0-9]+ tests passed|^ *Failed: [0-9]+\.|^([0-9]+ doctests?, )?[0-9]+ tests?, [0-9]+ failures?' |
            while IFS= read -r line; do printf '%-20s %s\n' "$name" "$line"; done
    done
    echo
}

run_steps() {
    local name pid status failed=()
    began=$SECONDS
    mkdir -p "${logs%/*}"
    exec {run_lock}>>"$logs.lock"
    flock -n "$run_lock" || { echo "another run is at work in this folder (it holds $logs.lock): wait for it, or end it" >&2 && return 2; }
    rm -rf "$logs"
    mkdir -p "$logs"
    for name in "$@"; do
        [ -n "${state[$name]:-}" ] || { echo "there is no step $name; the steps are: ${names[*]}" >&2 && return 2; }
    done
    # A step that is not asked for counts as passed: what it makes is there from an earlier run.
    if [ $# -gt 0 ]; then
        for name in "${names[@]}"; do [[ " $* " == *" $name "* ]] || state[$name]=passed; done
    fi
    trap interrupted INT TERM HUP
    while :; do
        start_steps
        [ ${#name_of[@]} -gt 0 ] || break
        wait -n -p pid "${!name_of[@]}"
        status=$?
        name=${name_of[$pid]}
        unset "name_of[$pid]"
        ended "$name" $status
    done
    trap - INT TERM HUP

    closing_lines
    for name in "${names[@]}"; do [ "${state[$name]}" = passed ] || failed+=("$name"); done
    if [ ${#failed[@]} -gt 0 ]; then
        # The failures once more, here at the end, because a long log is cut at its beginning.
        for name in "${failed[@]}"; do
            echo "=== $name, what failed:"
            [ -e "$logs/$name.log" ] || { echo "it never started: a step that it needs is declared behind it" && continue; }
            # EUnit says *failed*, ExUnit a number and the test's name.
            sed 's/\x1b\[[0-9;]*m//g' "$logs/$name.log" |
                grep -E -A12 'FAILED|\*failed\*|^ +[0-9]+\) test |panicked at|^error|ERROR: |ended after' | cut -c1-1500 | head -60
        done
        echo
        echo "make test: FAILED in $((SECONDS - began)) s: ${failed[*]}"
        return 1
    fi
    if [ $# -gt 0 ]; then echo "only $*: passed in $((SECONDS - began)) s"; else echo "make test: all passed in $((SECONDS - began)) s"; fi
}
