#!/bin/bash
# run.sh [PATTERN]: the storage in NATS JetStream against real servers: Debian's (2.9, the older protocol) and the newest of PyPI. Both are unpacked into
# build/nats-servers, and only run on the loopback interface. The libraries are installed in build/prefix (make local-nats).
#
# Then chaos.py passes events from a program to the consumer's database through each server, while everything between fails, for CHAOS seconds (20). It
# needs the command (make cli).
#
# A server that cannot be had is named and left out, but one must be there.
set -uo pipefail
cd "$(dirname "$0")/../../.."
. tests/check.sh
pattern=${1:-*}
prefix=$PWD/build/prefix
servers=build/nats-servers
storages/nats/tests/servers.sh

# --- the installation ---------------------------------------------------------------------------------------------------
if [ "$pattern" = '*' ]; then
    export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
    so=$prefix/lib/libcapture_pipeline_nats.so
    a=$prefix/lib/libcapture_pipeline_nats.a
    listed=$(cat storages/nats/exports.txt)
    declared=$(sed -n 's/^int32_t \(pipeline_[a-z_]*\)(.*/\1/p' storages/nats/include/capture_pipeline_nats.h | LC_ALL=C sort)
    dynamic=$(readelf -dW "$so")
    check "the shared library exports the list" same "$listed" "$(nm -D --defined-only "$so" | awk '{ print $3 }' | LC_ALL=C sort)"
    check "the static library has no other global symbol" same "$listed" "$(nm -g --defined-only "$a" 2>/dev/null | awk 'NF == 3 { print $3 }' | LC_ALL=C sort)"
    check "the header declares the list" same "$listed" "$declared"
    for page in docs/nats.md CHANGELOG.md; do
        check "$page names every function" same "" "$(while read -r name; do grep -q "\`$name\`" $page || echo "$name"; done <storages/nats/exports.txt)"
    done
    check "SONAME" grep -q 'SONAME.*\[libcapture_pipeline_nats.so.0\]' <<<"$dynamic"
    check "it needs the program's libcapture_pipeline" grep -q 'NEEDED.*\[libcapture_pipeline.so.0\]' <<<"$dynamic"
    check "never unmapped (nodelete)" grep -q 'FLAGS_1.*NODELETE' <<<"$dynamic"
    refused "no run path" grep -E 'RPATH|RUNPATH' <<<"$dynamic"
    # Everything that it takes from the library is public.
    check "it calls public functions only" same "" \
        "$(nm -D --undefined-only "$so" | awk '$2 ~ /^pipeline_/ { print $2 }' | grep -vxFf packaging/exports.txt)"
    refused "no second copy of the library" grep -q pipeline_start <(nm "$so" 2>/dev/null)
    check "pkg-config: libraries" same "-L$prefix/lib -lcapture_pipeline_nats -lcapture_pipeline" "$(pkg-config --libs capture_pipeline_nats | xargs)"
    sed -n '/^ \*     #include/,/^ \*     }$/s/^ \*     \{0,1\}//p' storages/nats/include/capture_pipeline_nats.h | sed '1i #include <stdio.h>' >"$work/header.c"
    for standard in c89 c2x; do
        check "the header compiles, -std=$standard" gcc -std=$standard -pedantic -Wall -Wextra -Werror -fsyntax-only -I"$prefix/include" -x c - \
            <<<'#include <capture_pipeline_nats.h>
#include <capture_pipeline_nats.h>'
    done
    check "the header compiles, C++" g++ -std=c++98 -pedantic -Wall -Wextra -Werror -fsyntax-only -I"$prefix/include" -x c++ - \
        <<<'#include <capture_pipeline_nats.h>'
    eval "dynamic=($(pkg-config --cflags --libs capture_pipeline_nats) -Wl,-rpath,$prefix/lib)"
    eval "static=($(pkg-config --cflags capture_pipeline_nats) $(pkg-config --variable=static_libs capture_pipeline_nats))"
    # shellcheck disable=SC2154
    check "the header's program links dynamically" gcc -std=gnu11 -Wall -Werror "$work/header.c" -o "$work/dynamic" "${dynamic[@]}"
    # shellcheck disable=SC2154
    check "the header's program links statically" gcc -std=gnu11 -Wall -Werror "$work/header.c" -o "$work/static" "${static[@]}"
    refused "a static program needs neither library" grep -q capture_pipeline <<<"$(readelf -dW "$work/static")"
    core=$(pkg-config --variable=static_libs capture_pipeline)
    linking() { # linking NAME ARGUMENT FLAGS...: builds the program so, and runs it
        local name=$1 argument=$2
        shift 2
        mkdir -p "$work/$name"
        gcc -std=gnu11 -O1 -Wall -Werror -pthread storages/nats/tests/linking.c -o "$work/$name/linking" "$@" || return 1
        # (The run path of a program does not hold for what its libraries need.)
        (cd "$work/$name" && LD_LIBRARY_PATH=$prefix/lib timeout 120 ./linking $argument)
    }
    newest_there=$PWD/$servers/pypi/bin/nats-server
    [ -x "$newest_there" ] || newest_there=$PWD/$servers/debian/usr/sbin/nats-server
    export NATS_SERVER=$newest_there
    check "both libraries linked statically" linking static-both '' "${static[@]}"
    # shellcheck disable=SC2086
    check "the storage linked dynamically to a program with the static library" linking mixed '' -I"$prefix/include" \
        "-L$prefix/lib" -lcapture_pipeline_nats $core "-Wl,-rpath,$prefix/lib"
    # shellcheck disable=SC2086
    check "a copy of the library that the storage cannot see" linking two two -I"$prefix/include" -Wl,--exclude-libs,ALL \
        "-L$prefix/lib" -lcapture_pipeline_nats $core "-Wl,-rpath,$prefix/lib"
fi

# --- the programs, against each server ----------------------------------------------------------------------------------
if [ "$pattern" = '*' ] || [ "$pattern" = chaos ]; then
    eval "flags=($(PKG_CONFIG_PATH=$prefix/lib/pkgconfig pkg-config --cflags --libs capture_pipeline_nats) -Wl,-rpath,$prefix/lib)"
    # shellcheck disable=SC2154
    check "the program that captures builds" gcc -std=gnu11 -O2 -Wall -Wextra -Werror -pthread storages/nats/bench/capture.c -o "$work/capture" "${flags[@]}"
    check "the command is built (make cli)" test -x build/bin/capture-pipeline
fi
there=0
for server in $servers/debian/usr/sbin/nats-server $servers/pypi/bin/nats-server; do
    [ -x $server ] || continue
    there=$((there + 1))
    version=$($server --version)
    echo "--- $version"
    check "programs against $version" env NATS_SERVER="$PWD/$server" tests/programs.sh --out build --only "*/$pattern.c*" storages/nats/tests
    if [ "$pattern" = '*' ] || [ "$pattern" = chaos ]; then
        check "from the capture to the database, $version" env LD_LIBRARY_PATH="$prefix/lib" python3 storages/nats/tests/chaos.py "$PWD/$server" \
            "$work/capture" build/bin/capture-pipeline "${CHAOS:-20}"
    fi
done
check "a server is there" test $there -gt 0
closing "nats"
