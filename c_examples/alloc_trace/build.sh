#!/bin/sh
# Builds alloc_trace.so and count_allocs.so against the installed library.
#   PREFIX  where it is installed (default: build/prefix in the repository)
#   OUT     where to build (default: build/alloc_trace in the repository)
#   CC, CFLAGS
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
PREFIX=${PREFIX:-$top/build/prefix}
OUT=${OUT:-$top/build/alloc_trace}
CC=${CC:-cc}
CFLAGS=${CFLAGS:--O2 -g}

for pc_dir in "$PREFIX"/lib/pkgconfig "$PREFIX"/lib/*/pkgconfig "$PREFIX"/lib64/pkgconfig; do
    if [ -f "$pc_dir/capture_pipeline.pc" ]; then PKG_CONFIG_PATH=$pc_dir${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}; fi
done
export PKG_CONFIG_PATH="${PKG_CONFIG_PATH:-}"
pkg-config --exists capture_pipeline || {
    echo "build.sh: pkg-config does not find capture_pipeline under $PREFIX; install it there first" >&2
    exit 1
}
include=$(pkg-config --cflags capture_pipeline)
archive=$(pkg-config --variable=libdir capture_pipeline)/libcapture_pipeline.a
# What the static library needs beside itself.
others=$(pkg-config --static --libs-only-l capture_pipeline | tr ' ' '\n' | grep -v '^-lcapture_pipeline$' | tr '\n' ' ')
mkdir -p "$OUT"

warnings="-std=gnu11 -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-function"
# no-builtin: the compiler must not turn our calls into calls of what we define.
# initial-exec: reaching a thread's words must not allocate.
code="-fPIC -fvisibility=hidden -fno-builtin -ftls-model=initial-exec -fno-omit-frame-pointer"
wrap=
for name in malloc calloc realloc reallocarray free posix_memalign aligned_alloc memalign open open64 atexit; do
    wrap="$wrap -Wl,--wrap=$name"
done
# The library inside is hidden: the version script exports the interposed functions alone.
# shellcheck disable=SC2086
$CC $CFLAGS $warnings $code $include -shared -o "$OUT/alloc_trace.so.new" \
    "$here"/interpose.c "$here"/next.c "$here"/capture.c "$here"/lifecycle.c "$here"/closer.c "$here"/ending.c \
    "$here"/ledger.c "$here"/own.c ${TRACE_STUB:-"$archive"} \
    -Wl,--version-script="$here/exports.map" -Wl,--exclude-libs,ALL $wrap \
    -Wl,-z,now -Wl,-z,relro -Wl,-z,nodelete -Wl,-z,defs -static-libgcc $others
mv "$OUT/alloc_trace.so.new" "$OUT/alloc_trace.so"
# shellcheck disable=SC2086
$CC $CFLAGS $warnings -fPIC -fvisibility=hidden -fno-builtin -ftls-model=initial-exec -shared -o "$OUT/count_allocs.so.new" \
    "$here"/count_allocs.c -Wl,-z,now -Wl,-z,nodelete
mv "$OUT/count_allocs.so.new" "$OUT/count_allocs.so"
