#!/bin/sh
# Tests of alloc_trace: builds it against the installed library and runs real programs under it. Ends with
# "N passed, M failed".
#   PREFIX   where the library is installed (default: build/prefix in the repository)
#   an argument: only tests whose name contains it
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
PREFIX=${PREFIX:-$top/build/prefix}
OUT=${OUT:-$top/build/alloc_trace}
export PREFIX OUT

"$top/c_examples/alloc_trace/build.sh"

bin=$OUT/tests
mkdir -p "$bin"
CC=${CC:-cc}
for source in "$here"/programs/*.c; do
    name=$(basename "$source" .c)
    case $name in
        early | early_library) continue ;;
    esac
    # -fno-builtin: the compiler must leave every allocation in.
    $CC -O1 -g -fno-builtin -Wall -Wextra -pthread -o "$bin/$name" "$source"
done
$CC -O1 -g -fno-builtin -Wall -Wextra -fPIC -shared -o "$bin/libearly_library.so" "$here/programs/early_library.c"
$CC -O1 -g -fno-builtin -Wall -Wextra -o "$bin/early" "$here/programs/early.c" -L"$bin" -learly_library -Wl,-rpath,"$bin"

if ! command -v man >/dev/null 2>&1 && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    { apt-get update && apt-get install -y --no-install-recommends man-db; } >/dev/null 2>&1 || true
fi
exec python3 "$here/check.py" "$OUT" "$bin" "$@"
