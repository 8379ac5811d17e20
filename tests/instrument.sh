# Sourced by the scripts that build the library with a sanitizer or for another system. It installs clang-22 with its runtimes, or a
# compiler with the sources of its standard library, and sets the variables for cargo; `build` are the arguments of cargo.
# shellcheck shell=bash

# shellcheck disable=SC2206
flags=(${CARGO_FLAGS:---locked})
cargo=${CARGO:-cargo}
target=x86_64-unknown-linux-gnu
host_env=X86_64_UNKNOWN_LINUX_GNU

cannot() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# packages PACKAGE...: installs Debian packages.
packages() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || cannot "missing (Debian packages): $*"
    echo "installing: $*"
    local log
    log=$(mktemp)
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } >"$log" 2>&1 ||
        { tail -5 "$log" >&2 && cannot "apt-get could not install: $*"; }
    rm -f "$log"
}

# leave_out OPTION NAME...: sets `without` to the arguments that leave these names out, and prints the names.
leave_out() {
    local option=$1 name
    without=()
    for name in "${@:2}"; do
        echo "left out: $name ($0 says why)"
        without+=("$option" "$name")
    done
}

# The files of Rust tests that test the library as it is built here: all of tests/*.rs but these.
#   loom, simulator: they have builds of their own (--cfg)
#   header, sqlite_build: they compare generated files, and options of a build
rust_tests() {
    local file name
    printf -- '--lib'
    for file in tests/*.rs; do
        name=$(basename "$file" .rs)
        case $name in
        loom | simulator | header | sqlite_build) ;;
        *) printf -- ' --test %s' "$name" ;;
        esac
    done
}

# unpack PLACE PACKAGE...: unpacks Debian packages into PLACE, without installing them.
unpack() {
    local place=$1 work status
    shift
    work=$(mktemp -d)
    chmod 755 "$work"
    (
        cd "$work" || exit 1
        apt-get download "$@" || { apt-get update && apt-get download "$@"; } || exit 1
        for package in *.deb; do dpkg -x "$package" "$place" || exit 1; done
    )
    status=$?
    rm -rf "$work"
    return $status
}

need_clang() {
    if ! command -v clang-22 >/dev/null || ! command -v llvm-symbolizer-22 >/dev/null ||
        [ ! -e "$(clang-22 --print-file-name=libclang_rt.tsan-x86_64.a)" ]; then
        packages clang-22 llvm-22 libclang-rt-22-dev
    fi
}

# A compiler with the sources of its standard library, in build/rust-with-sources.
need_sources() {
    local place=$PWD/build/rust-with-sources
    if [ ! -e "$place/done" ]; then
        command -v apt-get >/dev/null || cannot "needs Debian's rustc-web and rust-web-src"
        echo "unpacking in build/rust-with-sources: rustc-web, libstd-rust-web, rust-web-src"
        rm -rf "$place"
        mkdir -p "$place"
        (
            version() { apt-cache show rustc-web 2>/dev/null | sed -n 's/^Version: \([0-9]*\.[0-9]*\).*/\1/p' | head -1; }
            [ -n "$(version)" ] && dpkg --compare-versions "$(version)" ge 1.89 || apt-get update || exit 1
            unpack "$place" rustc-web "libstd-rust-web-$(version)" libstd-rust-web-dev rust-web-src
        ) >"$place/log" 2>&1 || { tail -3 "$place/log" >&2 && cannot "no compiler with sources"; }
        ldconfig -p | grep -q libLLVM.so.22 || packages libllvm22
        touch "$place/done"
    fi
    export RUSTC=$place/usr/bin/rustc
    export LD_LIBRARY_PATH=$place/usr/lib/$(uname -m)-linux-gnu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    "$RUSTC" --version >/dev/null || cannot "the unpacked compiler does not run"
}

# instrument KIND TARGET_DIR [RUSTFLAG...]: from now on cargo and $CC build with the sanitizer `address` or `thread`.
instrument() {
    local kind=$1 place=$2
    shift 2
    need_clang
    [ "$kind" != thread ] || need_sources
    export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$PWD/$place
    # Rust, C and SQLite share clang's runtime, which is linked into each program once.
    export CARGO_TARGET_${host_env}_LINKER=clang-22
    export CARGO_TARGET_${host_env}_RUSTFLAGS="-Zsanitizer=$kind -Zexternal-clangrt -Clink-arg=-fsanitize=$kind -Cforce-frame-pointers=yes $*"
    export CC_x86_64_unknown_linux_gnu=clang-22
    export CFLAGS_x86_64_unknown_linux_gnu="-fsanitize=$kind -fno-omit-frame-pointer -g1"
    export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true
    build=("${flags[@]}" --target "$target" --release)
    [ "$kind" != thread ] || build+=(-Zbuild-std)
    export CC=clang-22 CXX=clang++-22
    export CFLAGS="-O1 -g -Wall -Wextra -pthread -fsanitize=$kind -fno-omit-frame-pointer"
    export ASAN_SYMBOLIZER_PATH TSAN_SYMBOLIZER_PATH
    ASAN_SYMBOLIZER_PATH=$(command -v llvm-symbolizer-22)
    TSAN_SYMBOLIZER_PATH=$ASAN_SYMBOLIZER_PATH
    export ASAN_OPTIONS=detect_stack_use_after_return=1:detect_leaks=1:strict_string_checks=1:handle_segv=1
    # SQLite stores its process id at each opening without a lock: two threads write the same number.
    echo 'race:^unixOpen$' >"$place.suppressions"
    export TSAN_OPTIONS=suppressions=$PWD/$place.suppressions:external_symbolizer_path=$TSAN_SYMBOLIZER_PATH:halt_on_error=0:exitcode=66:history_size=4:die_after_fork=0
}
