#!/bin/sh
# Sees to it that what the tests and the demonstration need is there: as root on Debian it installs what is missing,
# otherwise it names exactly what is missing, and fails.
set -eu

have() { command -v "$1" >/dev/null 2>&1; }

packages=
# want COMMAND PACKAGE: the Debian package is needed unless the command is there.
want() { have "$1" || packages="$packages $2"; }

want gcc gcc
want g++ g++
want ld binutils
want pkg-config pkg-config
want cmake cmake
want valgrind valgrind
want sqlite3 sqlite3
want man man-db
want python3 python3
# A program that links the system's SQLite beside the library is one of the tests.
if ! have gcc || ! echo '#include <sqlite3.h>' | gcc -E -x c - >/dev/null 2>&1; then
    packages="$packages libsqlite3-dev"
fi
if ! have gcc || ! echo '#include <stdio.h>' | gcc -E -x c - >/dev/null 2>&1; then
    packages="$packages libc6-dev"
fi
packages=${packages# }

if [ -n "$packages" ]; then
    if [ "$(id -u)" = 0 ] && have apt-get; then
        echo "installing: $packages"
        log=$(mktemp)
        # shellcheck disable=SC2086
        if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages; } \
            >"$log" 2>&1; then
            cat "$log"
            rm -f "$log"
            echo "check-tools: apt-get could not install: $packages" >&2
            exit 1
        fi
        rm -f "$log"
    else
        echo "check-tools: missing (Debian packages): $packages" >&2
        echo "check-tools: as root: apt-get install --no-install-recommends $packages" >&2
        exit 1
    fi
fi

if ! have cargo; then
    echo "check-tools: missing: cargo and rustc, 1.88 or newer (https://rustup.rs)" >&2
    exit 1
fi
components=
cargo fmt --version >/dev/null 2>&1 || components="$components rustfmt"
cargo clippy --version >/dev/null 2>&1 || components="$components clippy"
if [ -n "$components" ]; then
    if have rustup; then
        # shellcheck disable=SC2086
        rustup component add $components
    else
        echo "check-tools: missing (parts of the Rust toolchain):$components" >&2
        exit 1
    fi
fi
echo "tools: all there"
