#!/bin/sh
# What `make demo` runs, once the library is installed: builds alloc_trace, traces a Python workload with it in both modes,
# and prints what it found. Fails if anything does not add up.
#   PREFIX   where the library is installed (default: build/prefix in the repository)
#   OUT      where to build (default: build/alloc_trace in the repository)
#   DEMO     where databases go (default: build/demo in the repository)
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
python3 -c 'import sqlite3, sys; sys.exit(sys.version_info < (3, 9))' >/dev/null 2>&1 || missing="$missing python3"
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
exec python3 "$here/report/demo.py"
