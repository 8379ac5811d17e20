# Sourced by the shell tests: runs checks, prints a line for each, keeps the output of those that fail, and counts.
# shellcheck shell=bash

passed=0
failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# check NAME COMMAND...: passes if the command answers 0.
check() {
    local name=$1
    shift
    if "$@" >"$work/.output" 2>&1; then
        passed=$((passed + 1))
        echo "ok      $name"
    else
        failed=$((failed + 1))
        echo "FAILED  $name"
        sed 's/^/        /' "$work/.output"
    fi
}

# refused NAME COMMAND...: passes if the command does not answer 0.
refused() {
    local name=$1
    shift
    check "$name" not "$@"
}

not() { ! "$@"; }

# same EXPECTED ACTUAL: two texts, or the difference.
same() { diff <(printf '%s\n' "$1") <(printf '%s\n' "$2"); }

# closing SUITE: the last line, and the status of the whole.
closing() {
    echo "$1: $passed passed, $failed failed"
    [ "$failed" = 0 ]
}
