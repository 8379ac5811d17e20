#!/bin/bash
# trace_info/2 shows a tracer module in another shape than its specification says.
#
# Version: Erlang/OTP 25.2.3 (Debian 12, erlang-base 1:25.2.3+dfsg-1+deb12u4). Runs with the `erl` of the path; needs a C compiler and erl_nif.h (Debian:
# erlang-dev). Seen in the same way on OTP 27.3 and 29.
#
# Behaviour: a process is traced by a module with the behaviour erl_tracer: `erlang:trace(Pid, true, [call, {tracer, Module, State}])`. The specification of
# `erlang:trace_info/2` says that the item `tracer` then gives `{tracer, Module, State}`. It gives `{tracer, {Module, State}}`. Dialyzer, which believes the
# specification, reports code that matches what the VM returns: "can never match".
#
# Output seen: `OTP 25: {tracer,{shown,my_state}}`
#
# Consequence: code that has to find its own tracer, to clear it, must match the shape that the VM returns, and hide the call from dialyzer.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
cat >shown.c <<'C'
#include <erl_nif.h>
static ERL_NIF_TERM enabled(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) { (void)argc; (void)argv; return enif_make_atom(env, "trace"); }
static ERL_NIF_TERM trace(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) { (void)argc; (void)argv; return enif_make_atom(env, "ok"); }
static ErlNifFunc functions[] = { { "enabled", 3, enabled, 0 }, { "trace", 5, trace, 0 } };
ERL_NIF_INIT(shown, functions, NULL, NULL, NULL, NULL)
C
cat >shown.erl <<'ERL'
-module(shown).
-export([main/0, enabled/3, trace/5]).
-nifs([enabled/3, trace/5]).
enabled(_, _, _) -> erlang:nif_error(not_loaded).
trace(_, _, _, _, _) -> erlang:nif_error(not_loaded).
main() ->
    ok = erlang:load_nif("./shown", 0),
    Pid = spawn(fun() -> receive stop -> ok end end),
    1 = erlang:trace(Pid, true, [call, {tracer, ?MODULE, my_state}]),
    io:format("OTP ~s: ~w~n", [erlang:system_info(otp_release), erlang:trace_info(Pid, tracer)]).
ERL
include=$(erl -noshell -eval 'io:put_chars(filename:join([code:root_dir(), "erts-" ++ erlang:system_info(version), "include"])), halt().')
[ -e "$include/erl_nif.h" ] || include=$(erl -noshell -eval 'io:put_chars(filename:join([code:root_dir(), "usr", "include"])), halt().')
${CC:-cc} -shared -fPIC -O2 -I "$include" -o shown.so shown.c
erlc shown.erl
seen=$(erl -noshell -s shown main -s init stop)
echo "$seen"
if [ "${seen#OTP*: }" != "{tracer,{shown,my_state}}" ]; then
    echo "changed: expected: {tracer,{shown,my_state}}" >&2
    exit 1
fi
echo "as described"
