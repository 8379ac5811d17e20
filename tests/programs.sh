#!/bin/bash
# programs.sh [OPTION...] DIRECTORY...: builds every *.c and *.cpp in the directories and below against the installed library
# through pkg-config, runs each in an empty directory of its own, and says which passed (exit status 0 in time).
# A directory with a CMakeLists.txt or a build.sh is one program with a build of its own: it is passed over.
#
#   --valgrind       run under memcheck; an error or a definite leak fails
#   --runner COMMAND run under this command (an emulator); no options are added
#   --build-only     do not run
#   --out DIR        keep the programs here (default: build/programs)
#   --prefix DIR     where the library is installed (default: build/prefix)
#   --jobs N         that many at once (default: 2)
#   --timeout SEC    per program (default: 300, with valgrind 600)
#   --only PATTERN   only programs whose path matches the shell pattern
#   --except PATTERN not those whose path matches; may be given several times
#
# CC, CXX and CFLAGS in the environment replace gcc, g++ and -O2 -g with all warnings as errors.
# What a program needs beside the library stands in a comment of its first 40 lines, as in "Build flags: -lsqlite3". A program with
# "Needs: <HEADER>" there is left out, with a message, where the compiler does not find that header.
# A program finds in its environment: PIPELINE_PREFIX, where the library is installed; UNDER_VALGRIND, 1 there.
set -uo pipefail
cd "$(dirname "$0")/.."
self=$PWD/tests/programs.sh

# --- one program; what xargs runs --------------------------------------------------------------------------------------
report() { # report NAME RESULT [LOG]: one line, and the log if it failed; never mixed with another program's
    (
        flock 9
        printf '%-7s %s\n' "$2" "$1"
        [ $# -lt 3 ] || { [ "$(wc -l <"$3")" -le 60 ] && cat "$3" || { head -30 "$3"; echo ...; tail -30 "$3"; }; } | sed 's/^/        /'
    ) 9>"$STATE/lock"
    echo "$2" >>"$STATE/results"
}

one() {
    local source=$1 name out log status extra header
    local -a flags
    name=${source#./}
    # quickstart.c becomes quickstart, quickstart.cpp quickstart_cpp.
    out=${name%.c}
    out=$OUT/${out/%.cpp/_cpp}
    # An earlier version of the tests may have left a program where a folder is now.
    [ ! -f "${out%/*}" ] || rm -f "${out%/*}"
    mkdir -p "${out%/*}"
    log=$STATE/${name//\//.}.log
    extra=$(head -40 "$source" | sed -n 's/.*Build flags: *\([^*]*\).*/\1/p')
    header=$(head -40 "$source" | sed -n 's/.*Needs: *\(<[^>]*>\).*/\1/p')
    if [ -n "$header" ] && ! echo "#include $header" | ${CC:-gcc} -E -x c - >/dev/null 2>&1; then
        report "$name: there is no $header" left-out
        return
    fi
    # pkg-config writes words for the shell, with a backslash before a space in a path.
    eval "flags=($(pkg-config --cflags --libs capture_pipeline) -Wl,-rpath,$(pkg-config --variable=libdir capture_pipeline))"
    # shellcheck disable=SC2086,SC2154
    case $source in
    *.c) ${CC:-gcc} -std=gnu11 $CFLAGS "$source" -o "$out" "${flags[@]}" $extra ;;
    *.cpp) ${CXX:-g++} -std=gnu++17 $CFLAGS "$source" -o "$out" "${flags[@]}" $extra ;;
    esac >"$log" 2>&1 || {
        report "$name: does not build" FAILED "$log"
        return
    }
    if [ "$BUILD_ONLY" = 1 ]; then
        report "$out" built
        return
    fi
    local place=$STATE/${name//\//.}.d
    mkdir "$place"
    local start=$SECONDS
    # shellcheck disable=SC2086
    (cd "$place" && TMPDIR=$place exec timeout --kill-after=10 "$LIMIT" $RUNNER "$out") \
        </dev/null >"$log" 2>&1
    status=$?
    local took="$((SECONDS - start)) s"
    case $status in
    0) report "$name ($took)" ok ;;
    124 | 137) report "$name: still running after $LIMIT s" FAILED "$log" ;;
    *) report "$name: exit status $status after $took" FAILED "$log" ;;
    esac
    rm -rf "$place"
}

if [ "${1:-}" = --one ]; then
    one "$2"
    exit 0
fi

# --- all of them -------------------------------------------------------------------------------------------------------
BUILD_ONLY=0
OUT=build/programs
prefix=build/prefix
jobs=2
LIMIT=
RUNNER=
UNDER_VALGRIND=0
only='*'
except=()
title=programs
while [ $# -gt 0 ]; do
    case $1 in
    --valgrind)
        RUNNER="valgrind -q --fair-sched=try --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite --error-exitcode=9"
        UNDER_VALGRIND=1
        title="programs under valgrind"
        ;;
    --runner) RUNNER=$2 && shift ;;
    --build-only) BUILD_ONLY=1 ;;
    --out) OUT=$2 && shift ;;
    --prefix) prefix=$2 && shift ;;
    --jobs) jobs=$2 && shift ;;
    --timeout) LIMIT=$2 && shift ;;
    --only) only=$2 && shift ;;
    --except) except+=(! -path "$2") && shift ;;
    -*)
        echo "programs.sh: unknown option $1" >&2
        exit 2
        ;;
    *) break ;;
    esac
    shift
done

LIMIT=${LIMIT:-$([ -n "$RUNNER" ] && echo 600 || echo 300)}
PIPELINE_PREFIX=$(realpath "$prefix")
PKG_CONFIG_PATH=$PIPELINE_PREFIX/lib/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
# --as-needed: a program that names nothing of the library is not linked with it, so that it can dlopen it.
CFLAGS="${CFLAGS:--O2 -g -Wall -Wextra -Werror -pthread} -Wl,--as-needed"
mkdir -p "$OUT"
OUT=$(realpath "$OUT")
STATE=$(mktemp -d)
trap 'rm -rf "$STATE"' EXIT
export STATE OUT BUILD_ONLY LIMIT RUNNER CFLAGS PIPELINE_PREFIX PKG_CONFIG_PATH UNDER_VALGRIND
touch "$STATE/results"

if ! pkg-config --exists capture_pipeline; then
    echo "programs.sh: the library is not installed in $prefix (make local)" >&2
    exit 2
fi

for own in $(find "$@" -mindepth 2 \( -name CMakeLists.txt -o -name build.sh \) -printf '%h\n'); do except+=(! -path "$own/*"); done
find "$@" \( -name '*.c' -o -name '*.cpp' \) -path "$only" "${except[@]}" -print0 | LC_ALL=C sort -z >"$STATE/sources"
count=$(tr -cd '\0' <"$STATE/sources" | wc -c)
xargs -0 -r -n 1 -P "$jobs" "$self" --one <"$STATE/sources"

failed=$(grep -c FAILED "$STATE/results")
left_out=$(grep -c left-out "$STATE/results")
done=$(wc -l <"$STATE/results")
# A program without a result is one whose run broke off: that must not pass unseen.
echo "$title in $*: $((done - failed - left_out)) passed, $((failed + count - done)) failed$([ "$left_out" = 0 ] || echo ", $left_out left out")"
[ "$failed" = 0 ] && [ "$done" = "$count" ]
