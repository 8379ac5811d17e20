# Sourced by the shell tests: runs checks, prints a line for each, prints the output of a check that fails, and counts.
# shellcheck shell=bash

passed=0
failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# check NAME COMMAND...: passes if the exit status of the command is 0.
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

# refused NAME COMMAND...: passes if the exit status of the command is not 0.
refused() {
    local name=$1
    shift
    check "$name" not "$@"
}

not() { ! "$@"; }

# same EXPECTED ACTUAL: succeeds if the texts are equal, or prints the difference.
same() { diff <(printf '%s\n' "$1") <(printf '%s\n' "$2"); }

# closing SUITE: prints the last line; its status is that of the whole test.
closing() {
    echo "$1: $passed passed, $failed failed"
    [ "$failed" = 0 ]
}
