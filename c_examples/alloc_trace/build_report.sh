#!/bin/sh
# Builds alloc_trace_report with cargo.
#   OUT          where to put it (default: build/alloc_trace in the repository)
#   CARGO, CARGO_FLAGS
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
OUT=${OUT:-$top/build/alloc_trace}
CARGO=${CARGO:-cargo}
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
cd "$top"
# shellcheck disable=SC2086
packaging/compile.sh $CARGO build ${CARGO_FLAGS:---locked} --quiet --profile cli -p alloc_trace_report
cp "${CARGO_TARGET_DIR:-target}/cli/alloc_trace_report" "$OUT/alloc_trace_report.new"
mv "$OUT/alloc_trace_report.new" "$OUT/alloc_trace_report"
