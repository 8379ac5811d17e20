#!/bin/sh
# Builds the NIF by make, for rebar3 and mix, with the arguments of make. First it reports all missing tools, and how to install them.
set -u
cd "$(dirname "$0")" || exit 1

there() { command -v "$1" >/dev/null 2>&1; }

missing=
debian=
lacks() { # what it is, Debian's package
    missing="$missing
  - $1"
    debian="$debian $2"
}

there make || lacks "make" make
there "${CC:-cc}" || lacks "${CC:-cc}, a C compiler" gcc
if [ -z "${ERTS_INCLUDE:-}" ] && there "${ERL:-erl}"; then
    root=$("${ERL:-erl}" -noshell -eval 'io:put_chars([code:root_dir(), "\n", erlang:system_info(version)]), halt().')
    version=$(printf '%s' "$root" | tail -n 1)
    root=$(printf '%s' "$root" | head -n 1)
    ERTS_INCLUDE=$root/erts-$version/include
    [ -f "$ERTS_INCLUDE/erl_nif.h" ] || ERTS_INCLUDE=$root/usr/include
    export ERTS_INCLUDE
fi
[ -f "${ERTS_INCLUDE:-}/erl_nif.h" ] ||
    lacks "erl_nif.h, Erlang's header for C, in ${ERTS_INCLUDE:-no folder} (or set ERTS_INCLUDE to the folder that has it)" erlang-dev
if [ -z "${CAPTURE_PIPELINE_A:-}" ] && ! there "${CARGO:-cargo}"; then
    missing="$missing
  - ${CARGO:-cargo}: Rust, by rustup or by your system's packages"
fi
if [ -n "$missing" ]; then
    printf '%s\n' "capture_pipeline: the NIF cannot be built. These are missing:$missing" >&2
    [ -z "$debian" ] || printf '%s\n' "On Debian or Ubuntu: sudo apt-get install$debian" >&2
    exit 1
fi
exec make -s "$@"
