#!/bin/bash
# exports.sh LIBDIR: the exported symbols are exactly those of packaging/exports.txt, which are exactly the functions of
# the headers, in the shared library and in the static one alike; and the shared library's link-time properties.
set -uo pipefail
cd "$(dirname "$0")/.."
. tests/check.sh
export LC_ALL=C
libdir=$1
so=$libdir/libcapture_pipeline.so
a=$libdir/libcapture_pipeline.a
version=$(sed -n '/^\[package\]/,/^\[/s/^version *= *"\(.*\)"/\1/p' Cargo.toml)

listed=$(cat packaging/exports.txt)
check "the list is sorted, without duplicates" same "$(LC_ALL=C sort -u packaging/exports.txt)" "$listed"
check "the shared library exports the list" \
    same "$listed" "$("${NM:-nm}" -D --defined-only "$so" | awk '{ print $3 }' | LC_ALL=C sort)"
check "the static library has no other global symbol" \
    same "$listed" "$("${NM:-nm}" -g --defined-only "$a" 2>/dev/null | awk 'NF == 3 { print $3 }' | LC_ALL=C sort)"
check "the headers declare the list" \
    same "$listed" "$(sed -n 's/^[a-z][a-z0-9_ ]*[ *]\(pipeline_[a-z0-9_]*\)(.*/\1/p' include/capture_pipeline.h include/capture_pipeline_fast.h | LC_ALL=C sort)"

# The names of GNU libpipeline (1.5.7). Both libraries have a pipeline_start (see the README); no other name may be in both.
gnu='command|command_args|command_argstr|command_argv|commands|commandv|connect|dump|free|get_command|get_infile'
gnu="$gnu|get_ncommands|get_outfile|get_pid|ignore_signals|install_post_fork|join|new|new_command_args|new_command_argv"
gnu="$gnu|new_commands|new_commandv|peek|peek_size|peek_skip|peekline|pump|read|readline|run|set_command|start|tostring"
gnu="$gnu|wait|wait_all|want_in|want_infile|want_out|want_outfile"
check "of GNU libpipeline's names, only pipeline_start is used" \
    same pipeline_start "$(grep -E "^(pipeline_($gnu)|pipecmd_.*)$" packaging/exports.txt)"
# An installed libpipeline (man-db depends on it) may have more names than that list.
theirs=$(ldconfig -p 2>/dev/null | sed -n 's/.*libpipeline\.so\.1.* => //p' | head -1)
if [ -n "$theirs" ]; then
    check "the same, by the symbols of $theirs" same pipeline_start \
        "$(nm -D --defined-only "$theirs" | awk '{ sub(/@.*/, "", $3); print $3 }' | LC_ALL=C sort | comm -12 packaging/exports.txt -)"
fi

for page in docs/abi.md CHANGELOG.md; do
    check "$page names every function" \
        same "" "$(while read -r name; do grep -q "\`$name\`" $page || echo "$name"; done <packaging/exports.txt)"
done

dynamic=$(readelf -dW "$so")
check "SONAME" grep -q "SONAME.*\[libcapture_pipeline.so.${version%%.*}\]" <<<"$dynamic"
check "never unmapped (nodelete)" grep -q 'FLAGS_1.*NODELETE' <<<"$dynamic"
refused "no run path" grep -E 'RPATH|RUNPATH' <<<"$dynamic"
refused "no text relocations" grep TEXTREL <<<"$dynamic"
refused "no executable stack" grep -E 'GNU_STACK.*E ' <<<"$(readelf -lW "$so")"
check "relocations are read-only" grep -q GNU_RELRO <<<"$(readelf -lW "$so")"
check "symbols are bound at the start" grep -qE 'BIND_NOW|FLAGS_1.*NOW' <<<"$dynamic"
needed=$(sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' <<<"$dynamic")
refused "needs the C library's parts and libgcc_s, nothing else" \
    grep -vE '^(lib(c|m|dl|rt|pthread|util|gcc_s)\.so\.[0-9]+|ld-linux.*|libc\.musl.*|libc\.so)$' <<<"$needed"

# The libraries contain no path of the build machine: the checkout, the home, cargo's and the compiler's directories.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
for file in "$so" "$a"; do
    strings -a "$file" >"$work/strings"
    for path in "$PWD" "$cargo_home" "$(rustc --print sysroot)" /.cargo/ /.rustup/; do
        refused "${file##*/} does not name $path" grep -F "$path" "$work/strings"
    done
done

# The options with which SQLite was compiled, by its strings for PRAGMA compile_options (tests/sqlite_build.rs asks SQLite itself).
strings -a "$so" >"$work/strings"
if grep -qF THREADSAFE=1 "$work/strings"; then
    for option in OMIT_LOAD_EXTENSION DQS=0; do check "SQLite: $option" grep -qxF $option "$work/strings"; done
    check "SQLite: its functions have stack protectors" grep -q __stack_chk_fail <<<"$("${NM:-nm}" -D --undefined-only "$so")"
    case $(readelf -V "$so") in *GLIBC*) check "SQLite: its copies are checked" grep -q __memcpy_chk <<<"$("${NM:-nm}" -D --undefined-only "$so")" ;; esac
    refused "SQLite: no extensions" grep -E '^(ENABLE_(FTS|RTREE|LOAD_EXTENSION|DBSTAT|STAT4)|SOUNDEX)' "$work/strings"
fi

closing "exports"
