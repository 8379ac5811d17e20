#!/bin/sh
# fill.sh TEMPLATE OUT VERSION PREFIX LIBDIR INCLUDEDIR NATIVE_LIBS: writes an installed text file from its template.
# Directories under the prefix are written relative to it, so that the installed tree can be moved.
set -eu

template=$1 out=$2 version=$3 prefix=$4 libdir=$5 includedir=$6 native=$7

# The compiler's list without what every C compiler links by itself, with or without -static-libgcc.
private=
for lib in $(cat "$native"); do
    case $lib in
    -lgcc_s | -lc) ;;
    *) private="$private $lib" ;;
    esac
done
private=${private# }

under() { case $1 in "$prefix"/*) echo "\${prefix}/${1#"$prefix"/}" ;; *) echo "$1" ;; esac; }

sed -e "s|@VERSION@|$version|g" \
    -e "s|@PREFIX@|$prefix|g" \
    -e "s|@LIBDIR@|$(under "$libdir")|g" \
    -e "s|@INCLUDEDIR@|$(under "$includedir")|g" \
    -e "s|@MAJOR@|${version%%.*}|g" \
    -e "s|@PRIVATE@|$private|g" \
    -e "s|@PRIVATE_LIST@|$(echo "$private" | sed 's/ /;/g')|g" \
    -e "s|@INCLUDE_FROM_LIBDIR@|$(realpath -ms --relative-to="$libdir" "$includedir")|g" \
    "$template" >"$out.new"
chmod 644 "$out.new"
mv "$out.new" "$out"
