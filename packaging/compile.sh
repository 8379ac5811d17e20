#!/bin/sh
# compile.sh CARGO_COMMAND...: runs cargo so that its products are hardened and contain no path of this machine. It adds flags to
# RUSTFLAGS, CARGO_ENCODED_RUSTFLAGS and CFLAGS. The user's own flags come last and override these.
set -eu

cargo_home=${CARGO_HOME:-$HOME/.cargo}
sysroot=$("${RUSTC:-rustc}" --print sysroot)
separator=$(printf '\037')

# Replaces the paths in panic messages and debug information: of the dependencies, of the compiler and of this checkout.
remap() { # remap SEPARATOR PREFIX QUOTE
    printf '%s' "$2--remap-path-prefix=$PWD=.$3$1"
    printf '%s' "$2--remap-path-prefix=$cargo_home=/cargo$3$1"
    printf '%s' "$2--remap-path-prefix=$sysroot=/rust$3"
}
if [ -n "${CARGO_ENCODED_RUSTFLAGS:-}" ]; then
    CARGO_ENCODED_RUSTFLAGS=$(remap "$separator" "" "")$separator$CARGO_ENCODED_RUSTFLAGS
elif [ -n "${RUSTFLAGS:-}" ]; then
    # Cargo splits at spaces, too.
    set -f
    # shellcheck disable=SC2086
    CARGO_ENCODED_RUSTFLAGS=$(remap "$separator" "" ""; for flag in $RUSTFLAGS; do printf '%s%s' "$separator" "$flag"; done)
    set +f
else
    # By --config, because RUSTFLAGS in the environment would hide the flags of the user's cargo configuration.
    config="build.rustflags=[$(remap , "'" "'")]"
fi
[ -z "${CARGO_ENCODED_RUSTFLAGS:-}" ] || export CARGO_ENCODED_RUSTFLAGS

# For SQLite and Zstandard, which are C. A flag that the compiler does not know is left out.
flags=
try() {
    echo 'int main(void) { return 0; }' |
        ${CC:-cc} -O2 -Werror "$@" -x c - -c -o /dev/null >/dev/null 2>&1 || return 0
    flags="$flags $*"
}
try -fstack-protector-strong
try -fstack-clash-protection
case ${CFLAGS:-} in *FORTIFY_SOURCE*) ;; *) try -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 ;; esac
# CFLAGS is split at spaces, so paths with spaces are left out. They would only be in debug information, which is not installed.
case $PWD$cargo_home in
*' '*) ;;
*)
    try "-ffile-prefix-map=$PWD=."
    try "-ffile-prefix-map=$cargo_home=/cargo"
    ;;
esac
CFLAGS="${flags# } ${CFLAGS:-}"
export CFLAGS

if [ -n "${config:-}" ]; then
    command=$1
    shift
    # A toolchain, as in "cargo +stable", must come first.
    case ${1:-} in
    +*) toolchain=$1 && shift && exec "$command" "$toolchain" --config "$config" "$@" ;;
    *) exec "$command" --config "$config" "$@" ;;
    esac
fi
exec "$@"
