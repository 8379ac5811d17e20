#!/bin/sh
# `make demo` runs this after the library is installed: builds alloc_trace and its report, traces a Python workload in several modes, beside
# other tools, and prints the results. Fails if a check fails.
#   PREFIX   where the library is installed (default: build/prefix in the repository)
#   OUT      where to build (default: build/alloc_trace in the repository)
#   DEMO     the folder for the traces (default: build/demo in the repository)
#   REPEATS  how many turns (default: 5)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
PREFIX=${PREFIX:-$top/build/prefix}
OUT=${OUT:-$top/build/alloc_trace}
DEMO=${DEMO:-$top/build/demo}
export PREFIX OUT DEMO

missing=
command -v cc >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
command -v pkg-config >/dev/null 2>&1 || missing="$missing pkg-config"
python3 -c 'import sqlite3, venv, sys; sys.exit(sys.version_info < (3, 9))' >/dev/null 2>&1 || missing="$missing python3"
if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "installing$missing"
        # shellcheck disable=SC2086
        { apt-get update && apt-get install -y --no-install-recommends $missing; } >/dev/null
    else
        echo "demo.sh: these packages are missing:$missing" >&2
        exit 1
    fi
fi

"$here/build.sh"
echo "building the report"
"$here/build_report.sh"
exec python3 "$here/scripts/demo.py"
