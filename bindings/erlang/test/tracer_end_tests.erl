%% How tracers end, whom they trace, and other tools beside them. The name of each test is a promise.
-module(tracer_end_tests).
-include_lib("eunit/include/eunit.hrl").
-define(C, elixir_scope_capture_pipeline).
-define(T, elixir_scope_capture_pipeline_tracer).

%% ---- the end ----

nothing_is_traced_after_a_stop_test_() -> {timeout, 60, fun nothing_is_traced_after_a_stop/0}.
nothing_is_traced_after_a_stop() ->
    {P, T} = traced:started(),
    Pid = traced:traced(),
    {ok, 1} = ?T:trace_calls(T, {traced, called, 1}),
    {ok, 1} = ?T:trace_processes(T, Pid, [call, 'receive']),
    {ok, _} = ?T:trace_processes(T, new, [call]),
    traced:told(Pid, fun() -> traced:called(1) end),
    ok = ?T:stop(T),
    ok = ?T:stop(T),
    {ok, #{offered := Offered}} = ?C:metrics(P),
    traced:told(Pid, fun() -> traced:called(2) end),
    traced:told(traced:traced(), fun() -> traced:called(3) end),
    ?assertMatch({ok, #{offered := Offered}}, ?C:metrics(P)),
    ?assertEqual({error, stopped}, ?T:trace_calls(T, {traced, called, 1})),
    ?assertEqual({error, stopped}, ?T:trace_processes(T, Pid, [call])),
    traced:untouched([Pid]).

a_tracer_whose_owner_dies_stops_and_clears_test_() -> {timeout, 60, fun a_tracer_whose_owner_dies_stops_and_clears/0}.
a_tracer_whose_owner_dies_stops_and_clears() ->
    {ok, P} = ?C:start(#{}),
    Pid = traced:traced(),
    Self = self(),
    Owner = spawn(fun() ->
        {ok, T} = ?T:start(P),
        {ok, 1} = ?T:trace_calls(T, {traced, called, 1}),
        {ok, 1} = ?T:trace_processes(T, Pid, [call]),
        Self ! T,
        receive after infinity -> ok end
    end),
    T = receive {_, _, _} = Started -> Started end,
    traced:told(Pid, fun() -> traced:called(1) end),
    exit(Owner, kill),
    await:until(fun() -> maps:get(state, ?T:info(T)) =:= owner_died end),
    traced:untouched([Pid]),
    {ok, #{captured := 1}} = ?C:metrics(P).

a_guard_or_a_keeper_that_is_killed_leaves_nothing_test_() -> {timeout, 60, fun a_guard_or_a_keeper_that_is_killed_leaves_nothing/0}.
a_guard_or_a_keeper_that_is_killed_leaves_nothing() ->
    [begin
        {_P, T} = traced:started(),
        Pid = traced:traced(),
        {ok, 1} = ?T:trace_calls(T, {traced, called, 1}),
        {ok, 1} = ?T:trace_processes(T, Pid, [call]),
        Guard = element(2, T),
        {monitors, Monitored} = process_info(Guard, monitors),
        [Keeper] = [K || {process, K} <- Monitored, K =/= self()],
        exit(case Which of guard -> Guard; keeper -> Keeper end, kill),
        await:until(fun() -> not is_process_alive(Guard) andalso not is_process_alive(Keeper) end),
        ?assert(lists:member(maps:get(state, ?T:info(T)), [owner_died, stopped])),
        traced:untouched([Pid])
    end || Which <- [guard, keeper]].

too_many_traces_a_second_stop_the_tracer_test_() -> {timeout, 60, fun too_many_traces_a_second_stop_the_tracer/0}.
too_many_traces_a_second_stop_the_tracer() ->
    {P, T} = traced:started(#{}, #{max_rate => 1000}),
    Pid = traced:traced(),
    {ok, 1} = ?T:trace_calls(T, {traced, called, 1}),
    {ok, 1} = ?T:trace_processes(T, Pid, [call]),
    traced:told(Pid, fun() -> [traced:called(N) || N <- lists:seq(1, 100000)], ok end),
    ?assertMatch(#{state := too_fast}, ?T:info(T)),
    {ok, #{offered := Offered}} = ?C:metrics(P),
    ?assert(Offered >= 1000),
    ?assert(Offered < 100000),
    traced:untouched([Pid]),
    ok = ?T:stop(T).

memory_that_grows_too_much_stops_the_tracer_test_() -> {timeout, 60, fun memory_that_grows_too_much_stops_the_tracer/0}.
memory_that_grows_too_much_stops_the_tracer() ->
    {_P, T} = traced:started(#{}, #{max_memory_growth => 50000000}),
    Pid = traced:traced(),
    {ok, 1} = ?T:trace_processes(T, Pid, ['receive']),
    Held = binary:copy(<<"x">>, 100000000),
    await:until(fun() -> maps:get(state, ?T:info(T)) =:= too_much_memory end),
    traced:untouched([Pid]),
    ?assertEqual(100000000, byte_size(Held)).

a_closed_pipeline_stops_the_tracer_test_() -> {timeout, 60, fun a_closed_pipeline_stops_the_tracer/0}.
a_closed_pipeline_stops_the_tracer() ->
    {P, T} = traced:started(),
    Pid = traced:traced(),
    {ok, 1} = ?T:trace_calls(T, {traced, called, 1}),
    {ok, 1} = ?T:trace_processes(T, Pid, [call]),
    ok = ?C:close(P),
    traced:told(Pid, fun() -> traced:called(1) end),
    ?assertMatch(#{state := pipeline_closed, captured := 0, refused := 1}, ?T:info(T)),
    traced:untouched([Pid]).

%% ---- who is traced ----

consumers_and_excluded_processes_are_never_traced_test_() -> {timeout, 60, fun consumers_and_excluded_processes_are_never_traced/0}.
consumers_and_excluded_processes_are_never_traced() ->
    {ok, P} = ?C:start(#{}),
    ok = ?C:attach(P),
    Excluded = traced:traced(),
    Pid = traced:traced(),
    {ok, T} = ?T:start(P, #{exclude => [Excluded]}),
    {ok, _} = ?T:trace_processes(T, existing, [send, 'receive', running, garbage_collection]),
    traced:told(Excluded, fun() -> ok end),
    traced:told(Pid, fun() -> ok end),
    traced:ended(Excluded),
    traced:ended(Pid),
    ok = ?T:stop(T),
    {ok, #{captured := Captured}} = ?C:metrics(P),
    Traced = lists:usort([element(2, Payload) || Payload <- consumer:all(P, delivery, Captured)]),
    ?assert(lists:member(Pid, Traced)),
    ?assertNot(lists:member(Excluded, Traced)),
    ?assertNot(lists:member(self(), Traced)),
    ?assertNot(lists:member(element(2, T), Traced)).

spawned_processes_inherit_and_are_cleared_test_() -> {timeout, 60, fun spawned_processes_inherit_and_are_cleared/0}.
spawned_processes_inherit_and_are_cleared() ->
    {P, T} = traced:started(),
    Pid = traced:traced(),
    {ok, 1} = ?T:trace_calls(T, {traced, called, 1}),
    {ok, 1} = ?T:trace_processes(T, Pid, [call, set_on_spawn]),
    Child = traced:told(Pid, fun() -> C = traced:traced(), traced:told(C, fun() -> traced:called(1) end), C end),
    ok = ?T:stop(T),
    ?assertEqual([{trace, Child, call, {traced, called, [1]}}], traced:events(P)),
    traced:untouched([Pid, Child]).

ports_are_traced_test_() -> {timeout, 60, fun ports_are_traced/0}.
ports_are_traced() ->
    {P, T} = traced:started(),
    Port = open_port({spawn, "cat"}, [binary]),
    {ok, 1} = ?T:trace_processes(T, Port, [ports, send, 'receive']),
    true = port_command(Port, <<"hello">>),
    receive {Port, {data, <<"hello">>}} -> ok end,
    true = port_close(Port),
    ok = ?T:stop(T),
    Events = traced:events(P),
    Self = self(),
    ?assert(lists:member({trace, Port, send, {Port, {data, <<"hello">>}}, Self}, Events)),
    ?assert(lists:member({trace, Port, closed, normal}, Events)).

an_invalid_option_is_named_test_() -> {timeout, 60, fun an_invalid_option_is_named/0}.
an_invalid_option_is_named() ->
    {ok, P} = ?C:start(#{}),
    [?assertEqual({error, {invalid, Key}}, ?T:start(P, #{Key => Value}))
     || {Key, Value} <- [{depth, 33}, {depth, -1}, {bytes, 255}, {bytes, 8193}, {max_rate, 0}, {max_memory_growth, x}, {owner, x}, {exclude, [x]}, {name, 1}, {other, 1}]],
    ?assertEqual({error, {invalid, options}}, ?T:start(P, [])),
    ?assertEqual({error, {invalid, pipeline}}, ?T:start(make_ref())),
    {ok, Small} = ?C:start(#{max_event_bytes => 512}),
    ?assertMatch({error, {invalid, <<"bytes", _/binary>>}}, ?T:start(Small)),
    {ok, Few} = ?C:start(#{max_rings => 3}),
    ?assertMatch({error, {limit, _}}, ?T:start(Few)),
    {ok, T} = ?T:start(P),
    ?assertEqual({error, {invalid, {lists, 1}}}, ?T:trace_calls(T, {lists, 1})),
    ?assertEqual({error, {invalid, #{x => 1}}}, ?T:trace_calls(T, lists, #{x => 1})),
    ?assertEqual({error, {invalid, match_spec}}, ?T:trace_calls(T, {traced, called, 1}, #{match_spec => [x]})),
    ?assertMatch({error, {invalid, _}}, ?T:trace_processes(T, self(), [no_flag])),
    ?assertMatch({ok, 0}, ?T:trace_calls(T, {no_such_module, f})),
    traced:untouched([]).

%% ---- other tools ----

another_tool_and_a_tracer_do_not_meet_test_() -> {timeout, 60, fun another_tool_and_a_tracer_do_not_meet/0}.
another_tool_and_a_tracer_do_not_meet() ->
    {P, T} = traced:started(),
    Pid = traced:traced(),
    Other = traced:traced(),
    Tool = spawn_link(fun() -> tool([]) end),
    1 = erlang:trace_pattern({traced, called, 1}, true, [local]),
    1 = erlang:trace(Other, true, [call, {tracer, Tool}]),
    Shared = not erlang:function_exported(trace, session_create, 3),
    case Shared of
        true ->
            ?assertEqual({error, {in_use, {traced, called, 1}}}, ?T:trace_calls(T, {traced, called})),
            ?assertEqual({error, {in_use, Other}}, ?T:trace_processes(T, Other, [call]));
        false ->
            ?assertEqual({ok, 2}, ?T:trace_calls(T, {traced, called})),
            ?assertEqual({ok, 1}, ?T:trace_processes(T, Other, [call]))
    end,
    {ok, 1} = ?T:trace_calls(T, {traced, twice, 1}),
    {ok, _} = ?T:trace_processes(T, existing, [call]),
    traced:told(Pid, fun() -> traced:twice(1) end),
    traced:told(Other, fun() -> traced:twice(1) end),
    ok = ?T:stop(T),
    %% The other tool has all that it has set.
    ?assertEqual({flags, [call]}, erlang:trace_info(Other, flags)),
    ?assertEqual({traced, local}, erlang:trace_info({traced, called, 1}, traced)),
    traced:told(Other, fun() -> traced:called(2) end),
    Tool ! {told, self()},
    Seen = receive {Tool, Messages} -> Messages end,
    1 = erlang:trace(Other, false, [all]),
    1 = erlang:trace_pattern({traced, called, 1}, false, [local]),
    %% Where the VM has one set of patterns, the other tool's process also shows that tool the functions of the tracer.
    ?assertEqual([{trace, Other, call, {traced, called, [N]}} || N <- [1, 1, 2]], [M || {_, _, _, {_, called, _}} = M <- lists:reverse(Seen)]),
    ?assertEqual(Shared, length(Seen) > 3),
    Events = traced:events(P),
    ?assert(lists:member({trace, Pid, call, {traced, twice, [1]}}, Events)),
    ?assertEqual(not Shared, lists:member({trace, Other, call, {traced, called, [1]}}, Events)),
    traced:untouched([Pid, Other]).

tool(Messages) ->
    receive
        {told, From} -> From ! {self(), Messages};
        Message -> tool([Message | Messages])
    end.

two_tracers_at_once_each_get_their_own_test_() -> {timeout, 60, fun two_tracers_at_once_each_get_their_own/0}.
two_tracers_at_once_each_get_their_own() ->
    {P, T} = traced:started(),
    {Q, U} = traced:started(),
    One = traced:traced(),
    Two = traced:traced(),
    {ok, 1} = ?T:trace_calls(T, {traced, called, 1}),
    {ok, 1} = ?T:trace_calls(U, {traced, called, 2}),
    {ok, 1} = ?T:trace_processes(T, One, [call]),
    {ok, 1} = ?T:trace_processes(U, Two, [call]),
    traced:told(One, fun() -> traced:called(1) end),
    traced:told(Two, fun() -> traced:called(1, 2) end),
    ok = ?T:stop(T),
    traced:told(Two, fun() -> traced:called(3, 4) end),
    ok = ?T:stop(U),
    ?assertEqual([{trace, One, call, {traced, called, [1]}}], traced:events(P)),
    ?assertEqual(traced:sorted([{trace, Two, call, {traced, called, [A, B]}} || {A, B} <- [{1, 2}, {3, 4}]]), traced:sorted(traced:events(Q))),
    traced:untouched([One, Two]).
