#!/bin/bash
# Installs into temporary directories, and links the installed library in every way that the README names.
set -uo pipefail
cd "$(dirname "$0")/.."
. tests/check.sh
# The programs below must use the test's own prefix only.
unset LD_LIBRARY_PATH PKG_CONFIG_PATH PKG_CONFIG_LIBDIR CMAKE_PREFIX_PATH DESTDIR PREFIX LIBDIR INCLUDEDIR
version=$(sed -n '/^\[package\]/,/^\[/s/^version *= *"\(.*\)"/\1/p' Cargo.toml)
major=${version%%.*}
make() { command make --no-print-directory -s "$@"; }
program=tests/install/program.c
expected="stored 1000 of 1000"

# runs COMMAND...: succeeds if the command prints the expected line.
runs() { same "$expected" "$(timeout 60 "$@" 2>&1)"; }
# libraries FILE: the libraries that the loader must find for it.
libraries() { readelf -dW "$1" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p'; }

# --- a staged install, as a distribution's package makes it -----------------------------------------------------------
stage=$work/stage
layout=(DESTDIR="$stage" PREFIX=/opt/cp LIBDIR=/opt/cp/lib/some-arch INCLUDEDIR=/opt/cp/include/cp)
check "staged install" make install "${layout[@]}"
cp=$stage/opt/cp
hpp=
[ -e include/capture_pipeline.hpp ] && hpp=include/cp/capture_pipeline.hpp
reader=include/cp/capture_pipeline_reader.hpp
pages=$(for name in '' -cat -completions -consume -export -ls -mcp -metrics -recover -serve -snapshot -stat -tail -top -verify; do echo "share/man/man1/capture-pipeline$name.1"; done)
# shellcheck disable=SC2086
check "these files and no others" same "$(printf '%s\n' bin/capture-pipeline $pages share/bash-completion/completions/capture-pipeline \
    share/zsh/site-functions/_capture-pipeline share/fish/vendor_completions.d/capture-pipeline.fish include/cp/capture_pipeline.h $hpp include/cp/capture_pipeline_fast.h $reader \
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

# The command and its pages.
check "the command runs" same "capture-pipeline $version" "$("$cp/bin/capture-pipeline" --version)"
check "a manual page is shown" grep -q "capture-pipeline verify" <<<"$(MANPATH=$cp/share/man man -P cat capture-pipeline-verify 2>&1 | col -b)"
# shellcheck disable=SC2016
completed=$(bash -c '. "$1"; function=$(complete -p capture-pipeline | sed "s/.*-F \([^ ]*\).*/\1/")
    COMP_WORDS=(capture-pipeline ver) COMP_CWORD=1; "$function" capture-pipeline ver capture-pipeline; echo "${COMPREPLY[*]}"' - \
    "$cp/share/bash-completion/completions/capture-pipeline")
check "bash completes its commands" same verify "$completed"
refused "the command does not name this directory, cargo's or the compiler's" grep -F -e "$PWD" -e "${CARGO_HOME:-$HOME/.cargo}" \
    -e "$(rustc --print sysroot)" <(strings -a "$cp/bin/capture-pipeline")
refused "the command needs no library of ours, nor SQLite or Zstandard" grep -E 'capture_pipeline|sqlite|zstd' <(libraries "$cp/bin/capture-pipeline")
check "the library alone" make install-lib "${layout[@]/stage/alone}"
check "the library alone has no command" same "" "$(find "$work/alone" -name '*capture-pipeline*')"
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

# --- unwinding: a callback that ends its thread unwinds through the library's frames ---------------------------------
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
# The other library is localized as well, so that a panic is raised and caught in a localized object.
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

# --- linked into another shared library and hidden there, as in a plug-in or a preload library -----------------------------------------
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

check "cmake: a program of several files, with a thread pool" \
    cmake -S tests/cpp/thread_pool -B "$work/thread_pool" -DCMAKE_PREFIX_PATH="$prefix"
check "cmake: build" cmake --build "$work/thread_pool"
check "run: the thread pool" same "1000 tasks, 5 notes" "$(timeout 60 "$work/thread_pool/thread_pool" 2>&1)"

# --- paths with spaces --------------------------------------------------------------------------------------------------------
spaces=$work/with
mkdir "$spaces"
stage="$spaces/my stage"
check "spaces: staged install" make install DESTDIR="$stage" PREFIX="/opt/my cp"
check "spaces: nothing outside the prefix" same "$stage/opt/my cp" "$(find "$spaces" -mindepth 3 -maxdepth 3)"
# The words of pkg-config, as a shell reads them: -I "/opt/my cp/include".
flags_of() { PKG_CONFIG_LIBDIR=$1/lib/pkgconfig pkg-config "${@:2}" capture_pipeline; }
check "spaces: pkg-config's words" same "-I/opt/my cp/include|-L/opt/my cp/lib|-lcapture_pipeline" \
    "$(eval "words=($(flags_of "$stage/opt/my cp" --cflags --libs))" && IFS='|' && echo "${words[*]}")"
built_and_run() { # built_and_run PREFIX FLAGS-OF-PKG-CONFIG...: each asked for by itself
    local prefix=$1 flag words=
    shift
    for flag in "$@"; do words="$words $(flags_of "$prefix" --define-prefix "$flag")"; done
    eval "set -- $words"
    # shellcheck disable=SC2086
    $cc "$program" -o "$spaces/my program" "$@" && LD_LIBRARY_PATH=$prefix/lib runs "$spaces/my program"
}
check "spaces: link and run, shared, from the stage" built_and_run "$stage/opt/my cp" --cflags --libs
check "spaces: uninstall" make uninstall DESTDIR="$stage" PREFIX="/opt/my cp"
check "spaces: uninstall leaves no file" same "" "$(find "$stage" -type f -o -type l)"
direct="$spaces/my prefix"
check "spaces: install below a prefix" make install PREFIX="$direct"
check "spaces: link and run, shared" built_and_run "$direct" --cflags --libs
check "spaces: link and run, static" built_and_run "$direct" --cflags --variable=static_libs
check "spaces: cmake, configure" cmake -S tests/install/cmake -B "$spaces/my build" -DCMAKE_PREFIX_PATH="$direct"
check "spaces: cmake, build" cmake --build "$spaces/my build"
check "spaces: run: cmake, shared" runs "$spaces/my build/shared"
check "spaces: run: cmake, static" runs "$spaces/my build/static"

# A checkout in such a folder. The built files are copied with their times, so that nothing is built again.
copy="$spaces/a check out"
mkdir "$copy"
copied() {
    tar -c Makefile Cargo.toml Cargo.lock build.rs src cli include packaging tests c_examples \
        build/lib build/bin build/share build/whole.a build/flags build/native-static-libs | tar -x -C "$copy"
}
check "a checkout in a folder with a space" copied
# Without the folders of cargo, which other steps of the tests create at the same time.
around() { find "$spaces" "$PWD" -mindepth 1 -maxdepth 1 ! -name 'target*' | LC_ALL=C sort; }
before=$(around)
check "there: make local" make -C "$copy" local
check "there: a program of the examples" "$copy/tests/programs.sh" --only '*/quickstart.c' c_examples
check "there: nothing is written outside of it" same "$before" "$(around)"
check "there: the installed tree is inside" test -f "$copy/build/prefix/include/capture_pipeline.h"

# A prefix that pkg-config or CMake cannot handle is refused by name, before anything is written.
for bad in "$spaces/a;b" "$spaces/a\"b" "$spaces/a|b" "$spaces/a&b" 'not/absolute'; do
    make install PREFIX="$bad" >"$work/refusal" 2>&1
    check "refused: PREFIX=${bad##*/}, by name" grep -F "PREFIX: '$bad'" "$work/refusal"
done
refused "refused: LIBDIR" make install PREFIX="$spaces/x" LIBDIR="lib64"
check "refused: nothing was written" same "$before" "$(around)"

# --- sizes: no debug information and no second copy of the code is installed --------------------------
megabytes() { echo $(($(stat -c %s "$1") / 1000000)); }
check "the shared library is below 8 MB" [ "$(megabytes "$prefix/lib/libcapture_pipeline.so.$version")" -lt 8 ]
check "the static library is below 16 MB" [ "$(megabytes "$prefix/lib/libcapture_pipeline.a")" -lt 16 ]

closing "install"
