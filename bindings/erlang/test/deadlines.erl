%% All tests of this folder, each with a deadline that a busy machine keeps: eunit itself ends a plain test after five seconds, and everything after it.
%% rebar.config names tests/0 as what `rebar3 eunit' runs.
-module(deadlines).
-export([tests/0]).

-define(SECONDS, 600).

tests() ->
    Beams = filelib:wildcard("*_tests.beam", filename:dirname(code:which(?MODULE))),
    [{atom_to_list(M), of_module(M)} || Beam <- lists:sort(Beams), M <- [list_to_atom(filename:basename(Beam, ".beam"))]].

%% As eunit finds them: a function `..._test' is a test, a function `..._test_' returns tests, with deadlines of their own.
of_module(M) ->
    {module, M} = code:ensure_loaded(M),
    Functions = [{atom_to_list(F), F} || {F, 0} <- M:module_info(exports)],
    [{timeout, ?SECONDS, {M, F}} || {Name, F} <- Functions, lists:suffix("_test", Name)] ++
        [{generator, M, F} || {Name, F} <- Functions, lists:suffix("_test_", Name)].
