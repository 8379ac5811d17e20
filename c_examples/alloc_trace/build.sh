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
case $PREFIX in
    *:*)
        echo "build.sh: PREFIX has a colon, which separates names in PKG_CONFIG_PATH: $PREFIX" >&2
        exit 1
        ;;
esac

for pc_dir in "$PREFIX"/lib/pkgconfig "$PREFIX"/lib/*/pkgconfig "$PREFIX"/lib64/pkgconfig; do
    if [ -f "$pc_dir/capture_pipeline.pc" ]; then PKG_CONFIG_PATH=$pc_dir${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}; fi
done
export PKG_CONFIG_PATH="${PKG_CONFIG_PATH:-}"
pkg-config --exists capture_pipeline || {
    echo "build.sh: pkg-config does not find capture_pipeline under $PREFIX; install it there first" >&2
    exit 1
}
# The path and not pkg-config's flags, because it may contain spaces.
include=-I$(pkg-config --variable=includedir capture_pipeline)
archive=$(pkg-config --variable=libdir capture_pipeline)/libcapture_pipeline.a
# The libraries that the static library needs.
others=$(pkg-config --static --libs-only-l capture_pipeline | tr ' ' '\n' | grep -v '^-lcapture_pipeline$' | tr '\n' ' ')
mkdir -p "$OUT"

warnings="-std=gnu11 -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-function"
# initial-exec: an access to this_thread must not allocate.
# Frame pointers: the interposed functions are where unwinding begins.
# Unwind tables: a C++ exception may pass through operator new.
code="-fPIC -fvisibility=hidden -ftls-model=initial-exec -fno-omit-frame-pointer -fasynchronous-unwind-tables"
wrap=
for name in malloc calloc realloc reallocarray free posix_memalign aligned_alloc memalign; do
    # no-builtin: the compiler must not replace our calls by calls of functions that we interpose.
    code="$code -fno-builtin-$name"
    wrap="$wrap -Wl,--wrap=$name"
done
for name in open open64 openat openat64 close realpath atexit; do
    wrap="$wrap -Wl,--wrap=$name"
done
# The version script exports the interposed functions only; the library inside stays hidden.
# From the lowest layer to the highest: each file uses only files before it.
set --
for name in platform calls this_thread settings files module arena real_operators real_functions libc_wrappers descriptors \
    ledger mapped cfi_bytes cfi_module cfi unwind events stacks producers trace_pipeline early last_thread helper lifecycle capture nested \
    interpose_malloc interpose_operators interpose_exit interpose_exec interpose_dlclose; do
    set -- "$@" "$here/$name.c"
done
# shellcheck disable=SC2086
$CC $CFLAGS $warnings $code "$include" -shared -o "$OUT/alloc_trace.so.new" \
    "$@" ${TRACE_STUB:-"$archive"} \
    -Wl,--version-script="$here/exports.map" -Wl,--exclude-libs,ALL $wrap \
    -Wl,-z,now -Wl,-z,relro -Wl,-z,nodelete -Wl,-z,defs -static-libgcc $others
mv "$OUT/alloc_trace.so.new" "$OUT/alloc_trace.so"
# shellcheck disable=SC2086
$CC $CFLAGS $warnings -fPIC -fvisibility=hidden -fno-builtin -ftls-model=initial-exec -shared -o "$OUT/count_allocs.so.new" \
    "$here"/count_allocs.c -Wl,-z,now -Wl,-z,nodelete
mv "$OUT/count_allocs.so.new" "$OUT/count_allocs.so"
