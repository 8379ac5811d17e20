#!/bin/sh
# fill.sh TEMPLATE OUT VERSION PREFIX LIBDIR INCLUDEDIR NATIVE_LIBS: writes an installed text file from its template.
# Directories under the prefix are written relative to it, so that the installed tree can be moved.
set -eu

template=$1 out=$2 version=$3 prefix=$4 libdir=$5 includedir=$6 native=$7

# The compiler's list of libraries, without those that every C compiler links by itself.
private=
for lib in $(cat "$native"); do
    case $lib in
    -lgcc_s | -lc) ;;
    *) private="$private $lib" ;;
    esac
done
private=${private# }

under() { case $1 in "$prefix"/*) echo "\${prefix}/${1#"$prefix"/}" ;; *) echo "$1" ;; esac; }
# Escapes a path for the template: in a .pc file a space needs a backslash.
word() {
    case $template in
    *.pc.in) printf '%s\n' "$1" | sed 's/ /\\ /g' ;;
    *) printf '%s\n' "$1" ;;
    esac
}
# The same, escaped for the right side of a substitution of sed.
escaped() { word "$1" | sed 's/[\\&|]/\\&/g'; }

sed -e "s|@VERSION@|$version|g" \
    -e "s|@PREFIX@|$(escaped "$prefix")|g" \
    -e "s|@LIBDIR@|$(escaped "$(under "$libdir")")|g" \
    -e "s|@INCLUDEDIR@|$(escaped "$(under "$includedir")")|g" \
    -e "s|@MAJOR@|${version%%.*}|g" \
    -e "s|@PRIVATE@|$private|g" \
    -e "s|@PRIVATE_LIST@|$(echo "$private" | sed 's/ /;/g')|g" \
    -e "s|@INCLUDE_FROM_LIBDIR@|$(escaped "$(realpath -ms --relative-to="$libdir" "$includedir")")|g" \
    "$template" >"$out.new"
chmod 644 "$out.new"
mv "$out.new" "$out"
