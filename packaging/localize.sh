#!/bin/sh
# localize.sh WHOLE.a EXPORTS OUT.a [--strip-debug]: makes an installed static library from the one that rustc wrote.
#
# In rustc's archive all symbols of the Rust standard library and of SQLite are global, so a program with its own libsqlite3, or with
# another library written in Rust, could not link it. This script links everything that the exported functions need into one object, in
# which all other symbols are local.
set -eu

whole=$1 exports=$2 out=$3 strip=${4:-}
LD=${LD:-$(command -v ld.bfd || echo ld)}
OBJCOPY=${OBJCOPY:-objcopy}
AR=${AR:-ar}
NM=${NM:-nm}

object=${out##*/lib}
object=${object%.a}.o
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

roots=
while read -r name; do roots="$roots -u $name"; done <"$exports"

# Section groups are dissolved. If another object has a group of the same name (DW.ref.rust_eh_personality, say), the final link would
# discard one of the two, and a local symbol cannot be taken from the other.
# shellcheck disable=SC2086
"$LD" -r --gc-sections --force-group-allocation $roots -o "$work/all.o" "$whole"

# The bitcode of the standard library is of no use to a C linker, and older LLVM plugins fail on it.
"$OBJCOPY" --keep-global-symbols="$exports" --remove-section=.llvmbc --remove-section=.llvmcmd $strip \
    "$work/all.o" "$work/$object"

"$NM" -g --defined-only "$work/$object" | awk '{ print $3 }' | LC_ALL=C sort >"$work/global"
if ! LC_ALL=C sort "$exports" | diff - "$work/global" >"$work/diff"; then
    echo "localize.sh: the global symbols are not those of $exports (<: missing, >: surplus):" >&2
    cat "$work/diff" >&2
    exit 1
fi

rm -f "$out"
"$AR" rcs "$out" "$work/$object"
