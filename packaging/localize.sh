#!/bin/sh
# localize.sh WHOLE.a EXPORTS OUT.a [--strip-debug]: makes the installed static library out of the one that rustc wrote.
#
# rustc's archive holds the Rust standard library and SQLite with all their symbols global, so a program with its own
# libsqlite3, or with another library written in Rust, could not link it. Here all that the exported functions need
# becomes one object, in which everything else is local.
set -eu

whole=$1 exports=$2 out=$3 strip=${4:-}
LD=${LD:-$(command -v ld.bfd || echo ld)}
OBJCOPY=${OBJCOPY:-objcopy}
AR=${AR:-ar}
NM=${NM:-nm}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

roots=
while read -r name; do roots="$roots -u $name"; done <"$exports"

# Groups are dissolved: a group of the same name in another object (DW.ref.rust_eh_personality, say) would otherwise make
# the final link throw one of the two away, and what is local here cannot be taken from there.
# shellcheck disable=SC2086
"$LD" -r --gc-sections --force-group-allocation $roots -o "$work/all.o" "$whole"

# Bitcode that the standard library carries is of no use to a C linker, and older LLVM plugins fail on it.
"$OBJCOPY" --keep-global-symbols="$exports" --remove-section=.llvmbc --remove-section=.llvmcmd $strip \
    "$work/all.o" "$work/capture_pipeline.o"

"$NM" -g --defined-only "$work/capture_pipeline.o" | awk '{ print $3 }' | LC_ALL=C sort >"$work/global"
if ! LC_ALL=C sort "$exports" | diff - "$work/global" >"$work/diff"; then
    echo "localize.sh: the global symbols are not those of $exports (<: missing, >: surplus):" >&2
    cat "$work/diff" >&2
    exit 1
fi

rm -f "$out"
"$AR" rcs "$out" "$work/capture_pipeline.o"
