#!/bin/bash
# otp.sh VERSION...: runs the tests of bindings/erlang and bindings/elixir on other releases of Erlang/OTP: `otp.sh 27`, for example, or `otp.sh newest`.
#
# For each release it makes a folder, build/otp/VERSION, of Debian's packages: the first of the suites below that has the release. They are
# downloaded from the mirror that this machine's apt uses, checked by apt, and unpacked; nothing on the machine is installed or changed. The tests
# run in that folder (chroot, in a mount namespace of their own), so this needs root. The static library is the one in build/lib: `make build`.
# A folder that is there is used again; remove it for newer packages.
#
#   OTP_STEPS='erlang'    runs these steps of tests/beam.sh (default: erlang elixir)
#   OTP_RUN=COMMAND       runs this instead, in the folder's copy of the sources: 'cd bindings/erlang && rebar3 eunit --module=term_tests'
#   OTP_SUITES='trixie'   looks in these suites only
#   OTP_MAY_SKIP=1        where there is no root, no apt or no mirror, says so and ends with 0; not if CI is set
set -euo pipefail
cd "$(dirname "$0")/.."

suites=${OTP_SUITES:-bookworm bookworm-backports trixie trixie-backports sid}
steps=${OTP_STEPS:-erlang elixir}
top=$PWD
place=$top/build/otp
packages="erlang-base erlang-dev erlang-dialyzer erlang-edoc erlang-eunit erlang-tools erlang-parsetools erlang-xmerl
    elixir rebar3 gcc make libc6-dev binutils sqlite3 dash libc-bin bash coreutils findutils grep sed gawk diffutils procps util-linux ca-certificates"

cannot() {
    echo "otp.sh: $*" >&2
    exit 1
}

# Something that not every machine has.
lacks() {
    if [ -n "${OTP_MAY_SKIP:-}" ] && [ -z "${CI:-}" ]; then
        echo "otp.sh: skipped: $*"
        exit 0
    fi
    cannot "$@"
}

[ $# -gt 0 ] || cannot "the versions of OTP are missing, for example: otp.sh 27 newest"
[ "$(id -u)" = 0 ] || lacks "it needs root, for chroot"
unshare --mount --pid --fork true 2>/dev/null || lacks "it needs to make a mount namespace (CAP_SYS_ADMIN)"
command -v apt-get >/dev/null || lacks "it needs apt"
[ -e build/lib/libcapture_pipeline.a ] || cannot "build/lib/libcapture_pipeline.a is missing: make build"

# Debian's mirror and the keys of this machine's apt. Apt knows what is Debian's once it has its lists; before that, the first source will do.
main_of() {
    apt-get indextargets --format '$(SITE) $(COMPONENT)' 'Created-By: Packages' "$@" | awk '$2 == "main" && $1 !~ /security/ && !found++ { print $1 }'
}
mirror=$(main_of 'Origin: Debian')
[ -n "$mirror" ] || mirror=$(main_of)
[ -n "$mirror" ] || lacks "apt has no source of Debian's packages"
keys=/usr/share/keyrings/debian-archive-keyring.gpg

# apt of SUITE COMMAND...: apt with one suite, and with no package installed.
apt() {
    local own=$place/apt/$1 tool=$2
    shift 2
    "$tool" -o Dir::Etc::SourceList="$own/sources" -o Dir::Etc::SourceParts=/dev/null -o Dir::Etc::Preferences="$own/preferences" \
        -o Dir::Etc::PreferencesParts=/dev/null -o Dir::State="$own/state" -o Dir::State::status="$own/status" -o Dir::Cache="$own/cache" \
        -o APT::Install-Recommends=false -o APT::Sandbox::User=root -o Debug::NoLocking=true "$@"
}

# The list of a suite's packages. A suite of backports comes with the one that it is for.
list() {
    local suite=$1 own=$place/apt/$1
    mkdir -p "$own/state/lists/partial" "$own/cache/archives/partial"
    : >"$own/status"
    printf 'deb [signed-by=%s] %s %s main\n' "$keys" "$mirror" "${suite%-backports}" >"$own/sources"
    : >"$own/preferences"
    if [ "$suite" != "${suite%-backports}" ]; then
        printf 'deb [signed-by=%s] %s %s main\n' "$keys" "$mirror" "$suite" >>"$own/sources"
        printf 'Package: erlang-* elixir rebar3\nPin: release n=%s\nPin-Priority: 900\n' "$suite" >"$own/preferences"
    fi
    apt "$suite" apt-get -qq update || return 1
    touch "$own/listed"
}

# The release of OTP that a suite has.
release() {
    apt "$1" apt-cache policy erlang-base | sed -n 's/^  Candidate: \([0-9]*:\)\?\([0-9]*\)\..*/\2/p'
}

# suite_of VERSION: the first suite that has it; with `newest` the one with the greatest.
suite_of() {
    local suite found best=0 chosen=
    for suite in $suites; do
        [ -e "$place/apt/$suite/listed" ] || list "$suite" >&2 || {
            echo "otp.sh: the list of $suite cannot be had from $mirror" >&2
            return 1
        }
        found=$(release "$suite")
        if [ "$found" = "$1" ]; then
            echo "$suite"
            return
        fi
        if [ "$1" = newest ] && [ "${found:-0}" -gt "$best" ]; then
            best=$found chosen=$suite
        fi
    done
    echo "$chosen"
}

# Downloads the packages and what they need. A list that is not of today may name packages that the mirror no longer has.
download() {
    # shellcheck disable=SC2086
    apt "$1" apt-get -qq -y --download-only install $packages >"$place/apt/$1/log" 2>&1
}

# make_folder SUITE ROOT: unpacks the packages.
make_folder() {
    local suite=$1 root=$2 own=$place/apt/$1 folder package
    rm -rf "$root"
    mkdir -p "$root"/{proc,sys,dev,tmp,etc,project,root} "$root"/usr/{bin,sbin,lib,lib64}
    for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$root/$folder"; done
    download "$suite" || { list "$suite" && download "$suite"; } || {
        tail -5 "$own/log" >&2
        cannot "the packages of $suite cannot be had from $mirror"
    }
    for package in "$own"/cache/archives/*.deb; do
        # Not dpkg -x: it would replace the links above.
        dpkg-deb --fsys-tarfile "$package" | tar -x -C "$root" --keep-directory-symlink --no-same-owner
    done
    # What the packages' scripts would make.
    ln -sf gawk "$root/usr/bin/awk"
    ln -sf gcc "$root/usr/bin/cc"
    echo 'root:x:0:0:root:/root:/bin/bash' >"$root/etc/passwd"
    echo 'root:x:0:' >"$root/etc/group"
    echo '127.0.0.1 localhost' >"$root/etc/hosts"
    chmod 1777 "$root/tmp"
    touch "$root/made"
}

# run_in ROOT COMMAND: in the folder, with a copy of the sources.
run_in() {
    local root=$1
    # A run that was ended may have left files, whose names have the numbers of its processes: the next run has the same ones.
    rm -rf "$root/project" "$root/tmp"
    mkdir -p "$root/project/build" "$root/tmp"
    chmod 1777 "$root/tmp"
    cp -r README.md docs bindings include tests "$root/project/"
    cp -r build/lib build/native-static-libs "$root/project/build/"
    rm -rf "$root"/project/bindings/*/{_build,priv,deps}
    # shellcheck disable=SC2016
    unshare --mount --pid --fork --kill-child bash -euc '
        mount --make-rprivate /
        mount -t proc proc "$0/proc"
        mount --rbind /sys "$0/sys"
        mount --rbind /dev "$0/dev"
        exec chroot "$0" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 TMPDIR=/tmp CC=gcc \
            CAPTURE_PIPELINE_A=/project/build/lib/libcapture_pipeline.a CAPTURE_PIPELINE_INCLUDE=/project/include \
            SYSTEM_LIBS="$2" bash -ec "cd /project; $1"
    ' "$root" "$2" "$(cat build/native-static-libs)"
}

# run_step NUMBER NAME COMMAND: prints the result, and of a failure the end of the log.
run_step() {
    local log=$place/$1.$2.log began=$SECONDS
    if run_in "$place/$1" "$3" >"$log" 2>&1; then
        echo "passed: OTP $1, $2, in $((SECONDS - began)) s"
        # How many tests they were, in the words of EUnit and ExUnit.
        sed 's/\x1b\[[0-9;]*m//g' "$log" | grep -E '^ *All [0-9]+ tests passed|^([0-9]+ doctests?, )?[0-9]+ tests?, [0-9]+ failures?|^Result: .* passed' || true
    else
        tail -n 200 "$log"
        echo "FAILED: OTP $1, $2: $log"
        failed=1
    fi
}

failed=
for version in "$@"; do
    if [ -e "$place/$version/made" ]; then
        number=$version
        echo "OTP $number: the folder that is there"
    else
        suite=$(suite_of "$version") || lacks "it needs Debian's mirror"
        [ -n "$suite" ] || cannot "none of these suites has OTP $version: $suites (OTP_SUITES names others)"
        number=$(release "$suite")
        echo "OTP $number: the packages of $suite"
        [ -e "$place/$number/made" ] || make_folder "$suite" "$place/$number"
    fi
    run_in "$place/$number" 'erl -noshell -eval "io:format(\"OTP ~s, erts ~s~n\", [erlang:system_info(otp_release), erlang:system_info(version)]), halt()."; elixir --version | tail -n 1'
    if [ -n "${OTP_RUN:-}" ]; then
        run_in "$place/$number" "$OTP_RUN" || failed=1
        continue
    fi
    for step in $steps; do run_step "$number" "$step" "tests/beam.sh $step"; done
done
[ -z "$failed" ]
