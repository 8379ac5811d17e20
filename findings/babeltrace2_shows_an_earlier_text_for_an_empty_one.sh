#!/bin/bash
# babeltrace 2.0.4 shows the text of an earlier event where a text field of a CTF 1.8 event is empty.
#
# Version: babeltrace 2.0.4 (Debian 12, babeltrace2 2.0.4-1+b6). Debian's packages are unpacked into a temporary folder.
#
# Behaviour: a stream has 200 events with a number and a text; the text of every seventh is empty. The first two empty texts are shown as such. From the 17th
# event on, an empty text is shown as the text of an event before: what was last in the object that the reader uses again. It is so for null-terminated
# strings, and for sequences of characters whose length field says 0, where the two shown values contradict each other. Nothing is said on the
# standard error, and the exit status is 0.
#
# Output seen: `string: 29 empty texts, 2 shown empty, event 31 shows text1` and `sequence: 29 empty texts, 2 shown empty, event 31 shows text1`
#
# Consequence: a producer that wants its empty texts to be read back writes something else for them. Our export writes U+200B.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
apt-get download babeltrace2=2.0.4-1+b6 libbabeltrace2-0=2.0.4-1+b6 >/dev/null
for package in *.deb; do dpkg-deb -x "$package" unpacked; done
library=$(dirname "$(find unpacked -name 'libbabeltrace2.so.*' | head -n 1)")
export LD_LIBRARY_PATH="$place/$library"
plugins=$(dirname "$(find unpacked -name 'babeltrace-plugin-ctf.so' | head -n 1)")
export BABELTRACE_PLUGIN_PATH="$place/$plugins" LIBBABELTRACE2_PLUGIN_PROVIDER_DIR="$place/$plugins"

cat >make.py <<'PYTHON'
"""Writes a trace into the directory `trace`, whose texts are of the type that is named."""
import os
import struct
import sys

kind = sys.argv[1]
field = {"string": "string { encoding = UTF8; } text;", "sequence": "u32 text_length; letter text[text_length];"}[kind]
os.makedirs("trace", exist_ok=True)
with open("trace/metadata", "w", encoding="utf-8") as metadata:
    metadata.write(f"""/* CTF 1.8 */
typealias integer {{ size = 8; align = 8; signed = false; encoding = UTF8; }} := letter;
typealias integer {{ size = 32; align = 8; signed = false; }} := u32;
trace {{ major = 1; minor = 8; byte_order = le; packet.header := struct {{ u32 magic; u32 stream_id; }}; }};
stream {{ id = 0; event.header := struct {{ u32 id; }}; }};
event {{ name = "said"; id = 0; stream_id = 0; fields := struct {{ u32 number; {field} }}; }};
""")
data = struct.pack("<II", 0xC1FC1FC1, 0)
for number in range(200):
    text = b"" if number % 7 == 3 else b"text%d" % number
    data += struct.pack("<II", 0, number)
    data += text + b"\0" if kind == "string" else struct.pack("<I", len(text)) + text
with open("trace/events", "wb") as events:
    events.write(data)
PYTHON

seen=
for kind in string sequence; do
    python3 make.py $kind
    unpacked/usr/bin/babeltrace2 trace >shown
    seen+=$(awk -v kind=$kind '
        { match($0, /number = [0-9]+/); number = substr($0, RSTART + 9, RLENGTH - 9) + 0
          match($0, / text = "[^"]*"/); text = substr($0, RSTART + 9, RLENGTH - 10) }
        number % 7 == 3 { all++; if (text == "") empty++; if (number == 31) at31 = text }
        END { printf "%s: %d empty texts, %d shown empty, event 31 shows %s", kind, all, empty, at31 }' shown)$'\n'
done
printf '%s' "$seen"
expected="string: 29 empty texts, 2 shown empty, event 31 shows text1
sequence: 29 empty texts, 2 shown empty, event 31 shows text1
"
if [ "$seen" != "$expected" ]; then
    echo "changed: expected: $expected" >&2
    exit 1
fi
echo "as described"
