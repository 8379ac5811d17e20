#!/bin/sh
# check_paths.sh NAME=PATH...: prints an error for the first path that the files of an installation cannot contain, and nothing if
# all are fine. A space is allowed; characters that pkg-config, CMake or sed interpret are not.
set -eu
export LC_ALL=C

for given in "$@"; do
    name=${given%%=*}
    path=${given#*=}
    # Bytes of other alphabets are fine as well.
    bad=$(printf '%s' "$path" | tr '\n\t' '\001\001' | tr -d 'A-Za-z0-9_./ +,@:=~-' | tr -d '\200-\377' | cut -c1)
    if [ "$bad" = "$(printf '\001')" ]; then bad="'tab' or 'line end'"; fi
    if [ -n "$bad" ]; then
        echo "$name: '$path' has the character $bad, which the files of pkg-config and CMake cannot take; choose another path"
        exit 0
    fi
    case $name:$path in
    *:/* | PREFIX:) ;;
    *)
        echo "$name: '$path' is not absolute; give a path that begins with /"
        exit 0
        ;;
    esac
done
