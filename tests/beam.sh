#!/bin/bash
# The Erlang application and the mix project, each built from nothing and tested.
#
#   tests/beam.sh erlang|elixir
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=${LC_ALL:-C.UTF-8} ELIXIR_ERL_OPTIONS="${ELIXIR_ERL_OPTIONS:-+fnu}"

case ${1:-} in
erlang)
    cd bindings/erlang
    rebar3 do compile, xref, dialyzer
    # As on a VM that the NIF was never seen with; then as it is.
    LAYOUT_UNKNOWN=1 rebar3 eunit
    rebar3 eunit
    # What is exported is nif_init, and nothing of the library that is linked in.
    exported=$(nm -D --defined-only priv/elixir_scope_capture_pipeline_nif.so | awk '{ print $3 }')
    [ "$exported" = nif_init ] || { echo "the NIF exports: $exported" >&2; exit 1; }
    ;;
elixir)
    cd bindings/elixir
    mix format --check-formatted
    MIX_ENV=test mix compile --warnings-as-errors
    MIX_ENV=test mix test
    # The benchmark and the demonstration compile too, and do what they say, on little.
    MIX_ENV=bench mix compile --warnings-as-errors
    QUICK=1 MIX_ENV=bench mix run bench/run.exs default wake
    mix run demo/demo.exs 20000 | tail -n 30
    ;;
*)
    echo "tests/beam.sh erlang|elixir" >&2
    exit 2
    ;;
esac
