%% Calls as typed events, of which exports make slices: the name of each test is a promise.
-module(tracer_timeline_tests).
-include_lib("eunit/include/eunit.hrl").
-export([outer/1, inner/1, fails/0]).
-define(C, elixir_scope_capture_pipeline).
-define(T, elixir_scope_capture_pipeline_tracer).

outer(N) -> [inner(I) || I <- lists:seq(1, N)].
inner(I) -> {I}.
fails() -> error(expected).

%% What a process does with the option, as it is in the journal.
traced(Options, Run) ->
    journal_tests:with_folder(fun(Path) ->
        {ok, P} = ?C:start(#{}, {journal, Path, #{}}),
        {ok, Tracer} = ?T:start(P, Options),
        [{ok, 1} = ?T:trace_calls(Tracer, {?MODULE, F, A}, #{return => true}) || {F, A} <- [{outer, 1}, {inner, 1}, {fails, 0}]],
        {Pid, Monitor} = spawn_monitor(fun() -> receive go -> Run() end end),
        {ok, 1} = ?T:trace_processes(Tracer, Pid, [call]),
        Pid ! go,
        receive {'DOWN', Monitor, _, _, _} -> ok end,
        ok = ?T:stop(Tracer),
        ok = ?C:close(P, 60000),
        {Pid, journal_tests:read(Path)}
    end).

fields({16#7FFE0180, 0, 0, <<Track:32/binary, Label/binary>>}) -> {call, text(Track), Label};
fields({16#7FFE0181, 0, 0, <<Track:32/binary, By, Label/binary>>}) -> {lists:nth(By + 1, [return, exception]), text(Track), Label}.

text(Padded) -> hd(binary:split(Padded, <<0>>)).

label(Text) -> list_to_binary(atom_to_list(?MODULE) ++ ":" ++ Text).

a_call_and_its_end_have_the_process_and_the_function_test() ->
    {Pid, Events} = traced(#{timeline => true}, fun() -> outer(2) end),
    Process = list_to_binary(pid_to_list(Pid)),
    Inner = [{call, Process, label("inner/1")}, {return, Process, label("inner/1")}],
    Outer = [{call, Process, label("outer/1")}, {return, Process, label("outer/1")}],
    %% They lie in the order of their schedulers' ring buffers, and the process may have moved.
    ?assertEqual(lists:sort(Outer ++ Inner ++ Inner), lists:sort([fields(E) || E <- Events])).

an_exception_ends_a_call_test() ->
    {Pid, Events} = traced(#{timeline => true}, fun() -> catch fails() end),
    Process = list_to_binary(pid_to_list(Pid)),
    ?assertEqual([{call, Process, label("fails/0")}, {exception, Process, label("fails/0")}], lists:sort([fields(E) || E <- Events])).

without_the_option_terms_are_captured_test() ->
    {Pid, Events} = traced(#{timeline => false}, fun() -> inner(1) end),
    Call = {trace, Pid, call, {?MODULE, inner, [1]}},
    Return = {trace, Pid, return_from, {?MODULE, inner, 1}, {1}},
    ?assertEqual([{16#7FFE0100, Call}, {16#7FFE0101, Return}], lists:sort([{Kind, binary_to_term(Payload)} || {Kind, 0, 0, Payload} <- Events])).

consumers_get_the_same_bytes_test() ->
    {ok, P} = ?C:start(#{}),
    ok = ?C:attach(P),
    {ok, Tracer} = ?T:start(P, #{timeline => true}),
    {ok, 1} = ?T:trace_calls(Tracer, {?MODULE, inner, 1}),
    {Pid, Monitor} = spawn_monitor(fun() -> receive go -> inner(5) end end),
    {ok, 1} = ?T:trace_processes(Tracer, Pid, [call, arity]),
    Pid ! go,
    receive {'DOWN', Monitor, _, _, _} -> ok end,
    ok = ?T:stop(Tracer),
    Process = list_to_binary(pid_to_list(Pid)),
    receive
        {capture_batch, P, Token, _, _, [{Payload, _, _, _, Kind, 0, 0}], _} ->
            ?assertEqual({call, Process, label("inner/1")}, fields({Kind, 0, 0, Payload})),
            ok = ?C:complete(P, Token, ok)
    after 60000 -> error(no_batch)
    end.

a_wrong_value_is_named_test() ->
    {ok, P} = ?C:start(#{}),
    ?assertEqual({error, {invalid, timeline}}, ?T:start(P, #{timeline => perhaps})).
