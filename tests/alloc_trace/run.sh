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
"$top/c_examples/alloc_trace/build_report.sh"

bin=$OUT/tests
mkdir -p "$bin"
CC=${CC:-cc}
for source in "$here"/programs/*.c; do
    name=$(basename "$source" .c)
    case $name in
        early | early_library | stacks | stack_library) continue ;;
    esac
    # -fno-builtin: the compiler must leave every allocation in.
    $CC -O1 -g -fno-builtin -Wall -Wextra -pthread -o "$bin/$name" "$source"
done
$CC -O1 -g -fno-builtin -Wall -Wextra -fPIC -shared -o "$bin/libearly_library.so" "$here/programs/early_library.c"
$CC -O1 -g -fno-builtin -Wall -Wextra -o "$bin/early" "$here/programs/early.c" -L"$bin" -learly_library -Wl,-rpath,"$bin"

for frames in omit-frame-pointer no-omit-frame-pointer; do
    $CC -O2 -g -fno-builtin -f$frames -Wall -Wextra -pthread -o "$bin/stacks-$frames" "$here/programs/stacks.c"
done
$CC -O2 -g -fno-builtin -fomit-frame-pointer -fPIC -shared -DFRAME=500 -o "$bin/libstack_a.so" "$here/programs/stack_library.c"
$CC -O2 -g -fno-builtin -fomit-frame-pointer -fPIC -shared -DFRAME=300 -o "$bin/libstack_b.so" "$here/programs/stack_library.c"

CXX=${CXX:-c++}
if command -v "$CXX" >/dev/null 2>&1; then
    for name in operators own_operators; do
        $CXX -std=c++17 -O1 -g -fno-builtin -Wall -Wextra -o "$bin/$name" "$here/programs/$name.cpp"
    done
    $CXX -std=c++17 -O1 -g -fPIC -shared -Wall -Wextra -o "$bin/libplug_in.so" "$here/programs/plug_in.cpp"
    $CXX -std=c++17 -O1 -g -fPIC -shared -Wall -Wextra -static-libstdc++ -static-libgcc -o "$bin/libplug_in_static.so" \
        "$here/programs/plug_in.cpp"
fi

# Allocators that some tests preload behind alloc_trace.
for package in libjemalloc2 libtcmalloc-minimal4 libmimalloc2.0; do
    if [ "$(id -u)" = 0 ] && command -v dpkg >/dev/null 2>&1 && ! dpkg -s "$package" >/dev/null 2>&1; then
        { apt-get install -y --no-install-recommends "$package" ||
            { apt-get update && apt-get install -y --no-install-recommends "$package"; }; } >/dev/null 2>&1 || true
    fi
done

if ! command -v man >/dev/null 2>&1 && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    { apt-get update && apt-get install -y --no-install-recommends man-db; } >/dev/null 2>&1 || true
fi
exec python3 "$here/check.py" "$OUT" "$bin" "$@"
