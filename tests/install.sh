#!/bin/bash
# Installs into temporary directories and links the installed library in every way that the README names.
set -uo pipefail
cd "$(dirname "$0")/.."
. tests/check.sh
# A prefix of the test's own: nothing of the caller's may reach the programs below.
unset LD_LIBRARY_PATH PKG_CONFIG_PATH PKG_CONFIG_LIBDIR CMAKE_PREFIX_PATH DESTDIR PREFIX LIBDIR INCLUDEDIR
version=$(sed -n '/^\[package\]/,/^\[/s/^version *= *"\(.*\)"/\1/p' Cargo.toml)
major=${version%%.*}
make() { command make --no-print-directory -s "$@"; }
program=tests/install/program.c
expected="stored 1000 of 1000"

# runs COMMAND...: the command prints the line that a working program prints.
runs() { same "$expected" "$(timeout 60 "$@" 2>&1)"; }
# libraries FILE: what the loader must find for it.
libraries() { readelf -dW "$1" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p'; }

# --- a staged install, as a distribution's package makes it -----------------------------------------------------------
stage=$work/stage
layout=(DESTDIR="$stage" PREFIX=/opt/cp LIBDIR=/opt/cp/lib/some-arch INCLUDEDIR=/opt/cp/include/cp)
check "staged install" make install "${layout[@]}"
cp=$stage/opt/cp
hpp=
[ -e include/capture_pipeline.hpp ] && hpp=include/cp/capture_pipeline.hpp
check "these files and no others" same "$(printf '%s\n' include/cp/capture_pipeline.h $hpp include/cp/capture_pipeline_fast.h \
    lib/some-arch/cmake/capture_pipeline/capture_pipelineConfig.cmake \
    lib/some-arch/cmake/capture_pipeline/capture_pipelineConfigVersion.cmake \
    lib/some-arch/libcapture_pipeline.a lib/some-arch/libcapture_pipeline.so \
    lib/some-arch/libcapture_pipeline.so."$major" lib/some-arch/libcapture_pipeline.so."$version" \
    lib/some-arch/pkgconfig/capture_pipeline.pc | LC_ALL=C sort)" \
    "$(cd "$cp" && find . \( -type f -o -type l \) | sed 's|^\./||' | LC_ALL=C sort)"
check "nothing outside the prefix" same "$cp" "$(find "$stage" -mindepth 2 -maxdepth 2)"
check "link .so.$major" same "libcapture_pipeline.so.$version" "$(readlink "$cp/lib/some-arch/libcapture_pipeline.so.$major")"
check "link .so" same "libcapture_pipeline.so.$major" "$(readlink "$cp/lib/some-arch/libcapture_pipeline.so")"
refused "the stage is not written into any file" grep -rlF "$stage" "$cp"
refused "this directory is not written into any text" \
    grep -rlF "$PWD" "$cp/include" "$cp/lib/some-arch/pkgconfig" "$cp/lib/some-arch/cmake"

export PKG_CONFIG_LIBDIR=$cp/lib/some-arch/pkgconfig
check "pkg-config: version" same "$version" "$(pkg-config --modversion capture_pipeline)"
check "pkg-config: compiler flags" same "-I/opt/cp/include/cp" "$(pkg-config --cflags capture_pipeline | xargs)"
check "pkg-config: libraries" same "-L/opt/cp/lib/some-arch -lcapture_pipeline" "$(pkg-config --libs capture_pipeline | xargs)"
check "pkg-config: validates" pkg-config --validate capture_pipeline
refused "pkg-config: libgcc_s is left to the compiler" grep -e gcc "$PKG_CONFIG_LIBDIR/capture_pipeline.pc"
unset PKG_CONFIG_LIBDIR

check "uninstall" make uninstall "${layout[@]}"
check "uninstall leaves no file" same "" "$(find "$stage" -type f -o -type l)"

# --- an install below a prefix, then moved elsewhere -------------------------------------------------------------------
first=$work/first
prefix=$work/moved
check "install below a prefix" make install PREFIX="$first"
mv "$first" "$prefix"
pc() { PKG_CONFIG_LIBDIR=$prefix/lib/pkgconfig pkg-config --define-prefix "$@" capture_pipeline; }
check "pkg-config follows a moved tree" same "-I$prefix/include -L$prefix/lib -lcapture_pipeline" "$(pc --cflags --libs | xargs)"

cc="gcc -std=c99 -Wall -Wextra -Werror -O1"
build() { # build OUT FLAGS...: in the order that a user would write
    local out=$1
    shift
    # shellcheck disable=SC2086
    $cc "$program" -o "$out" "$@"
}

# shellcheck disable=SC2046
{
    check "link: shared" build "$work/shared" $(pc --cflags --libs)
    check "link: static library, shared C library" build "$work/static" $(pc --cflags) $(pc --variable=static_libs)
    check "link: the same with -static-libgcc" build "$work/static-gcc" $(pc --cflags) -static-libgcc $(pc --variable=static_libs)
    check "link: fully static" build "$work/full" -static $(pc --static --cflags --libs) -Wl,--no-warnings
    check "link: fully static, position-independent" build "$work/pie" -static-pie $(pc --static --cflags --libs) -Wl,--no-warnings
    check "link: shared, with the flags for static linking" build "$work/both" $(pc --static --cflags --libs)
    check "link: shared, beside the system's SQLite" build "$work/shared-sqlite" -DSYSTEM_SQLITE $(pc --cflags --libs) -lsqlite3
    check "link: static, beside the system's SQLite" \
        build "$work/static-sqlite" -DSYSTEM_SQLITE $(pc --cflags) -lsqlite3 $(pc --variable=static_libs) -lsqlite3
}
export LD_LIBRARY_PATH=$prefix/lib
check "run: shared" runs "$work/shared"
check "run: shared, with the flags for static linking" runs "$work/both"
check "run: shared, beside the system's SQLite" runs "$work/shared-sqlite" "$work/shared.db"
check "the program asks for libcapture_pipeline.so.$major" grep -Fx "libcapture_pipeline.so.$major" <(libraries "$work/shared")
unset LD_LIBRARY_PATH
check "run: static" runs "$work/static"
check "run: static, with -static-libgcc" runs "$work/static-gcc"
check "run: fully static" runs "$work/full"
check "run: fully static, position-independent" runs "$work/pie"
check "run: static, beside the system's SQLite" runs "$work/static-sqlite" "$work/static.db"
refused "a static program does not ask for the shared library" grep capture_pipeline <(libraries "$work/static")
refused "with -static-libgcc it does not ask for libgcc_s" grep libgcc_s <(libraries "$work/static-gcc")
check "a fully static program asks for nothing" same "" "$(libraries "$work/full")"
refused "a program that links it statically does not export it" grep pipeline_ <(nm -D --defined-only "$work/static")

# --- unwinding: a storage's call that ends its thread unwinds through the library's frames ---------------------------------
unwinds() { # unwinds FLAGS...
    $cc tests/install/ends_thread.c -o "$work/unwinds" -pthread "$@" && runs "$work/unwinds"
}
# shellcheck disable=SC2046
{
    check "unwinding: shared" unwinds $(pc --cflags --libs) -Wl,-rpath,"$prefix/lib"
    check "unwinding: static" unwinds $(pc --cflags) $(pc --variable=static_libs)
    check "unwinding: static, with -static-libgcc" unwinds $(pc --cflags) -static-libgcc $(pc --variable=static_libs)
    check "unwinding: fully static" unwinds -static $(pc --static --cflags --libs) -Wl,--no-warnings
}

# --- beside another library written in Rust -----------------------------------------------------------------------------
check "another Rust library" rustc --edition 2024 -O --crate-type staticlib -C panic=unwind -o "$work/libother.a" tests/install/other.rs
# shellcheck disable=SC2046
check "link: static, with another Rust library" build "$work/two" -DOTHER_RUST $(pc --cflags) $(pc --variable=static_libs) \
    "$work/libother.a" -lpthread -ldl -lm
check "run: static, with another Rust library" runs "$work/two"
# The same treatment as ours, so that a panic is raised and caught in an object that has gone through it.
echo other_rust_catches_its_own_panic >"$work/other.txt"
check "localize another library" packaging/localize.sh "$work/libother.a" "$work/other.txt" "$work/liblocal.a" --strip-debug
# shellcheck disable=SC2046
check "link: two localized Rust libraries" build "$work/two-local" -DOTHER_RUST $(pc --cflags) $(pc --variable=static_libs) \
    "$work/liblocal.a" -lpthread -ldl -lm
check "run: two localized Rust libraries, one catches a panic" runs "$work/two-local"
# shellcheck disable=SC2046
check "link: the same, fully static" build "$work/two-full" -static -DOTHER_RUST $(pc --cflags --static --libs) \
    "$work/liblocal.a" -Wl,--no-warnings
check "run: the same, fully static" runs "$work/two-full"

# --- hidden in another shared library, as a plug-in or a preload library has it -----------------------------------------
cat >"$work/plugin.c" <<'C'
#define main program_main
#include "program.c"
int plugin_run(void);
int plugin_run(void) { return program_main(0, NULL); }
C
cat >"$work/host.c" <<'C'
#include <dlfcn.h>
#include <stdio.h>
int main(int argc, char **argv) {
    int i;
    for (i = 1; i < argc; i++) {
        void *plugin = dlopen(argv[i], RTLD_NOW | RTLD_LOCAL);
        int (*run)(void);
        if (plugin == NULL) return fprintf(stderr, "%s\n", dlerror()), 1;
        *(void **)&run = dlsym(plugin, "plugin_run");
        if (run == NULL || run() != 0) return 1;
    }
    return 0;
}
C
echo '{ global: plugin_run; local: *; };' >"$work/plugin.map"
plugin() { # plugin OUT FLAGS...
    local out=$1
    shift
    # shellcheck disable=SC2046
    $cc -fPIC -shared -Itests/install "$work/plugin.c" -o "$out" "$@" $(pc --cflags) $(pc --variable=static_libs)
}
check "link: into a shared library, by a version script" plugin "$work/a.so" -Wl,--version-script="$work/plugin.map"
check "link: into a shared library, by --exclude-libs" plugin "$work/b.so" -Wl,--exclude-libs,ALL
check "with a version script it exports only its own" same plugin_run "$(nm -D --defined-only "$work/a.so" | awk '{ print $3 }')"
refused "with --exclude-libs it exports nothing of ours" grep pipeline_ <(nm -D --defined-only "$work/b.so")
check "a program that loads it" gcc -o "$work/host" "$work/host.c" -ldl
check "run: two hidden copies in one process" same "$(printf '%s\n%s' "$expected" "$expected")" "$("$work/host" "$work/a.so" "$work/b.so" 2>&1)"

# --- CMake ----------------------------------------------------------------------------------------------------------------
check "cmake: configure" cmake -S tests/install/cmake -B "$work/cmake" -DCMAKE_PREFIX_PATH="$prefix"
check "cmake: build" cmake --build "$work/cmake"
check "run: cmake, shared" runs "$work/cmake/shared"
check "run: cmake, static" runs "$work/cmake/static"
refused "cmake's static target links no shared copy" grep capture_pipeline <(libraries "$work/cmake/static")

# --- sizes: debug information or a second copy of everything must not slip into what is installed --------------------------
megabytes() { echo $(($(stat -c %s "$1") / 1000000)); }
check "the shared library is below 8 MB" [ "$(megabytes "$prefix/lib/libcapture_pipeline.so.$version")" -lt 8 ]
check "the static library is below 16 MB" [ "$(megabytes "$prefix/lib/libcapture_pipeline.a")" -lt 16 ]

closing "install"
