#!/bin/bash
# SQLite leaves /dev/null open on a free standard descriptor, for the rest of the process.
#
# Version: SQLite 3.54.1, as bundled by apsw 3.54.1.0 (PyPI). Run with Python 3.11 on Linux.
#
# Behaviour: a process whose descriptor 0 is closed opens a database. SQLite never keeps a database on a descriptor below 3, so that a stray
# write to stdout or stderr cannot damage it. It fills the free numbers with /dev/null and opens the file again. It does not close these
# descriptors when the connection is closed. A program that expects its next open() to return 0, or a read of its closed stdin to fail with
# EBADF, is wrong then: it reads the end of a file instead. The program may not even know that it uses SQLite (in a plug-in, for example).
#
# Output seen: `3.54.1 before: closed, open: /dev/null, closed again: /dev/null, read: 0 bytes, next descriptor: 3`
#
# Consequence: the SQLite that is compiled into this library moves its descriptors to 3 and above with F_DUPFD_CLOEXEC instead, and does
# not open the standard ones (src/storage/sqlite/files/descriptors.rs).
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --no-deps apsw==3.54.1.0
cd "$place"
cat >shown.py <<'PY'
import os
import apsw


def on_zero():
    try:
        return os.readlink("/proc/self/fd/0")
    except FileNotFoundError:
        return "closed"


os.close(0)
before = on_zero()
connection = apsw.Connection("some.db")
connection.execute("CREATE TABLE t(x)")
while_open = on_zero()
connection.close()
after = on_zero()
got = len(os.read(0, 1))
following = os.open("own.txt", os.O_CREAT | os.O_WRONLY)
print(
    f"{apsw.sqlite_lib_version()} before: {before}, open: {while_open}, closed again: {after}, "
    f"read: {got} bytes, next descriptor: {following}"
)
PY
seen=$("$place/venv/bin/python" shown.py)
echo "$seen"
expected="3.54.1 before: closed, open: /dev/null, closed again: /dev/null, read: 0 bytes, next descriptor: 3"
if [ "$seen" != "$expected" ]; then
    echo "changed: expected: $expected" >&2
    exit 1
fi
echo "as described"
