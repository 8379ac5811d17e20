#!/bin/bash
# exports.sh LIBDIR: the exported symbols are exactly those of packaging/exports.txt, which are exactly the functions of
# the header, in the shared library and in the static one alike; and the shared library's link-time properties.
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
check "the header declares the list" \
    same "$listed" "$(sed -n 's/^[a-z][a-z0-9_ ]*[ *]\(pipeline_[a-z0-9_]*\)(.*/\1/p' include/capture_pipeline.h | LC_ALL=C sort)"

# GNU libpipeline's names (1.5.7). pipeline_start is common to both by choice (see the README); no other may be.
gnu='command|command_args|command_argstr|command_argv|commands|commandv|connect|dump|free|get_command|get_infile'
gnu="$gnu|get_ncommands|get_outfile|get_pid|ignore_signals|install_post_fork|join|new|new_command_args|new_command_argv"
gnu="$gnu|new_commands|new_commandv|peek|peek_size|peek_skip|peekline|pump|read|readline|run|set_command|start|tostring"
gnu="$gnu|wait|wait_all|want_in|want_infile|want_out|want_outfile"
check "of GNU libpipeline's names, only pipeline_start is used" \
    same pipeline_start "$(grep -E "^(pipeline_($gnu)|pipecmd_.*)$" packaging/exports.txt)"
# The real one, where it is installed (man-db needs it), may know more names by now.
theirs=$(ldconfig -p 2>/dev/null | sed -n 's/.*libpipeline\.so\.1.* => //p' | head -1)
if [ -n "$theirs" ]; then
    check "the same, asked of $theirs" same pipeline_start \
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
needed=$(sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' <<<"$dynamic")
refused "needs the C library's parts and libgcc_s, nothing else" \
    grep -vE '^(lib(c|m|dl|rt|pthread|util|gcc_s)\.so\.[0-9]+|ld-linux.*|libc\.musl.*|libc\.so)$' <<<"$needed"

closing "exports"
