#!/bin/bash
# Builds and tests the Erlang application or the mix project.
#
#   tests/beam.sh erlang|elixir    all that is tested
#   tests/beam.sh eunit|exunit     a part of it: builds without a warning, and runs the tests once
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=${LC_ALL:-C.UTF-8} ELIXIR_ERL_OPTIONS="${ELIXIR_ERL_OPTIONS:-+fnu}"

case ${1:-} in
erlang)
    cd bindings/erlang
    # enif_term_type aborts the VM on a kind of term that is newer than the NIF API.
    ! grep -n 'enif_term_type *(' c_src/*.[ch] c_src/*/*.[ch] || { echo "enif_term_type must not be called: ask enif_is_... for each kind" >&2; exit 1; }
    rebar3 do compile, xref, dialyzer
    # The conversion between clocks, against fake clocks that are corrected: a test cannot correct those of the machine.
    include=$(erl -noshell -eval 'io:put_chars(filename:join([code:root_dir(), "erts-" ++ erlang:system_info(version), "include"])), halt().')
    check=$(mktemp -d)
    trap 'rm -rf "$check"' EXIT
    ${CC:-cc} -std=gnu11 -O1 -g -fsanitize=undefined -Wall -Wextra -Werror -I c_src -isystem "$include" test/clock_check.c -o "$check/clock_check"
    timeout 60 "$check/clock_check"
    # First as on a VM whose layout of terms is unknown, then as on one of an unknown version, then as on this VM.
    LAYOUT_UNKNOWN=1 rebar3 eunit
    FLAT_UNKNOWN=1 rebar3 eunit --module=capture_tests,delivery_tests,flat_tests,notices_tests,recall_tests,space_waiters_tests,storm_tests,term_tests
    rebar3 eunit
    # The shared object exports nif_init, and no symbol of the library that is linked in.
    exported=$(nm -D --defined-only priv/elixir_scope_capture_pipeline_nif.so | awk '{ print $3 }')
    [ "$exported" = nif_init ] || { echo "the NIF exports: $exported" >&2; exit 1; }
    ;;
elixir)
    cd bindings/elixir
    mix format --check-formatted
    MIX_ENV=test mix compile --warnings-as-errors
    MIX_ENV=test mix test
    # The benchmark and the demonstration run on few events, and check their own results.
    MIX_ENV=bench mix compile --warnings-as-errors
    QUICK=1 MIX_ENV=bench mix run bench/run.exs default wake traced
    mix run demo/demo.exs 20000 | tail -n 30
    timeout 300 mix run demo/overload.exs 2
    ../../tests/elixir_release.sh
    ;;
eunit)
    cd bindings/erlang
    rebar3 do compile, eunit
    ;;
exunit)
    cd bindings/elixir
    mix format --check-formatted
    MIX_ENV=test mix compile --warnings-as-errors
    MIX_ENV=test mix test
    ;;
*)
    echo "tests/beam.sh erlang|elixir|eunit|exunit" >&2
    exit 2
    ;;
esac
