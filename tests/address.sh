#!/bin/bash
# The C and C++ tests under AddressSanitizer, as `make test` runs them. clang-22 instruments the library, SQLite and the
# programs (tests/sanitize.sh). Where it is not there and cannot be installed, the step says so and does nothing: with gcc's sanitizer,
# programs that fork hang.
#
#   tests/address.sh build    builds the library
#   tests/address.sh run      builds and runs the programs
set -uo pipefail
cd "$(dirname "$0")/.."
instrumented=build/address/instrumented

case ${1:-} in
build)
    mkdir -p build/address
    rm -f $instrumented
    if (. tests/instrument.sh && need_clang); then
        tests/sanitize.sh address build && touch $instrumented
    else
        echo "skipped: clang-22 is not installed and cannot be"
    fi
    ;;
run)
    if [ -e $instrumented ]; then exec tests/sanitize.sh address programs; fi
    echo "skipped: clang-22 is not installed and cannot be"
    ;;
*)
    echo "tests/address.sh build|run" >&2
    exit 2
    ;;
esac
