#!/bin/sh
# Checks for the tools that the tests and the demonstration need. As root on Debian it installs missing packages; otherwise it names them
# and fails.
#
#   check_tools.sh [beam|bench]    with `beam`: also the tools for Erlang and Elixir; with `bench`: also the peers of the benchmark,
#                                  each of which may be missing
set -eu

have() { command -v "$1" >/dev/null 2>&1; }

packages=
# Packages that tests do without, with a message.
wish=
# want COMMAND PACKAGE: adds the Debian package to the list if the command is missing.
want() { have "$1" || packages="$packages $2"; }

want gcc gcc
want g++ g++
want ld binutils
want pkg-config pkg-config
want cmake cmake
want valgrind valgrind
want sqlite3 sqlite3
want man man-db
want openssl openssl
want python3 python3
# It runs the programs that read timelines.
have node || wish="$wish nodejs"
# It shows the page of capture-pipeline serve.
if ! have chromium && ! have chromium-browser && ! have google-chrome; then
    wish="$wish chromium"
fi
# It reads traces in CTF. (It belongs to Debian's own Python.)
if ! /usr/bin/python3 -c 'import bt2' 2>/dev/null; then
    wish="$wish python3-bt2"
fi
# One example stores in Kafka.
if ! have gcc || ! echo '#include <librdkafka/rdkafka.h>' | gcc -E -x c - >/dev/null 2>&1; then
    wish="$wish librdkafka-dev"
fi
# One test links the system's SQLite beside the library.
if ! have gcc || ! echo '#include <sqlite3.h>' | gcc -E -x c - >/dev/null 2>&1; then
    packages="$packages libsqlite3-dev"
fi
if ! have gcc || ! echo '#include <stdio.h>' | gcc -E -x c - >/dev/null 2>&1; then
    packages="$packages libc6-dev"
fi
if [ "${1:-}" = beam ]; then
    # Including the parts of OTP that only the tests need.
    want erl "erlang-nox erlang-dialyzer erlang-eunit erlang-edoc"
    want rebar3 rebar3
    want elixir elixir
    # An installed Erlang may lack the header of native functions and those parts.
    if ! have erl || ! erl -noshell -eval 'Root = code:root_dir() ++ "/erts-" ++ erlang:system_info(version),
            halt(case filelib:is_regular(Root ++ "/include/erl_nif.h") of true -> 0; false -> 1 end).'; then
        packages="$packages erlang-dev"
    fi
    if have erl && ! erl -noshell -eval 'Known = [code:lib_dir(A) || A <- [dialyzer, eunit, edoc]],
            halt(length([E || {error, E} <- Known])).'; then
        packages="$packages erlang-dialyzer erlang-eunit erlang-edoc"
    fi
fi
packages=${packages# }

# The peers are installed one by one, so that one that fails does not prevent the others.
if [ "${1:-}" = bench ] && have dpkg-query; then
    updated=
    for peer in libconcurrentqueue-dev libtbb-dev libspdlog-dev liblttng-ust-dev liblttng-ctl-dev lttng-tools babeltrace2 librdkafka-dev; do
        if dpkg-query -W -f '${Status}' "$peer" 2>/dev/null | grep -q ' installed'; then continue; fi
        if [ "$(id -u)" = 0 ] && have apt-get; then
            if [ -z "$updated" ]; then apt-get update >/dev/null 2>&1 || true; fi
            updated=yes
            echo "installing: $peer"
            if DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$peer" >/dev/null 2>&1; then continue; fi
        fi
        echo "check-tools: not installed: $peer; the benchmark leaves out what needs it"
    done
fi

if [ -n "$wish" ] && [ "$(id -u)" = 0 ] && have apt-get; then apt-get update >/dev/null 2>&1 || true; fi
for package in $wish; do
    if [ "$(id -u)" = 0 ] && have apt-get; then
        echo "installing: $package"
        if DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$package" >/dev/null 2>&1; then continue; fi
    fi
    echo "check-tools: not installed: $package; the tests leave out what needs it"
done

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
    echo "check-tools: missing: cargo and rustc, 1.89 or newer (https://rustup.rs)" >&2
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
