%% The pressure: as a number, and as messages on crossings.
-module(pressure_tests).

-include_lib("eunit/include/eunit.hrl").

-define(C, elixir_scope_capture_pipeline).

started() ->
    {ok, P} = ?C:start(#{ring_bytes => 65536, pressure_age_ms => 3600000}, delivery),
    P.

%% Captures until the ring of the scheduler is full; the process stays on it.
fill(P) ->
    Full = spawn_opt(fun() -> exit(fill(P, 0)) end, [monitor, {scheduler, 1}]),
    {_, Monitor} = Full,
    receive
        {'DOWN', Monitor, process, _, N} -> N
    end.

fill(P, N) ->
    case ?C:capture(P, 1, binary:copy(<<"x">>, 1000)) of
        ok -> fill(P, N + 1);
        {error, full} -> N
    end.

%% Takes batches until there are none.
drain(P) ->
    ok = ?C:attach(P),
    drained(P),
    ok = ?C:detach(P).

drained(P) ->
    case ?C:pressure(P) of
        0 -> ok;
        _ ->
            receive
                {capture_batch, P, Token, _, _, _, _} -> ok = ?C:complete(P, Token, ok)
            after 10 -> ok
            end,
            drained(P)
    end.

message(Ref, Which) ->
    receive
        {capture_pressure, Ref, Pressure, Which} -> Pressure
    after 120000 -> error({no_message, Which})
    end.

rises_and_falls_are_told_by_turns_test_() ->
    {timeout, 900, fun() ->
        P = started(),
        ?assertEqual(0, ?C:pressure(P)),
        {ok, Ref} = ?C:watch_pressure(P, {20, 80}),
        [begin
             ?assert(fill(P) > 40),
             ?assert(?C:pressure(P) >= 99),
             ?assert(message(Ref, high) >= 80),
             drain(P),
             ?assert(message(Ref, low) =< 20)
         end || _ <- lists:seq(1, 3)],
        ok = ?C:unwatch_pressure(P),
        fill(P),
        ?assert(?C:pressure(P) >= 99),
        drain(P),
        receive
            {capture_pressure, Ref, _, _} = Other -> error(Other)
        after 0 -> ok
        end
    end}.

the_last_one_to_ask_is_told_test_() ->
    {timeout, 900, fun() ->
        P = started(),
        Self = self(),
        {Pid, Monitor} = spawn_monitor(fun() -> {ok, _} = ?C:watch_pressure(P, {20, 80}) end),
        receive {'DOWN', Monitor, process, Pid, normal} -> ok end,
        %% Nobody is there to be told.
        fill(P),
        {ok, Ref} = ?C:watch_pressure(P, {20, 80}),
        ?assert(is_process_alive(Self)),
        ?assert(message(Ref, high) >= 80)
    end}.

bad_arguments_test() ->
    P = started(),
    ?assertMatch({error, {invalid, <<"low, high: ", _/binary>>}}, ?C:watch_pressure(P, {50, 50})),
    ?assertMatch({error, {invalid, _}}, ?C:watch_pressure(P, {0, 101})),
    ?assertEqual({error, badarg}, ?C:watch_pressure(P, {-1, 50})),
    ?assertEqual({error, badarg}, ?C:watch_pressure(P, {200, -1})),
    ok = ?C:close(P, 5000),
    ?assertMatch({error, {closed, _}}, ?C:watch_pressure(P, {20, 80})).

%% A pipeline that is collected while it is watched: its memory goes, and the VM goes on.
collected_while_it_is_watched_test_() ->
    {timeout, 900, fun() ->
        [begin
             {_, Monitor} = spawn_monitor(fun() ->
                 P = started(),
                 {ok, _} = ?C:watch_pressure(P, {20, 80}),
                 fill(P)
             end),
             receive {'DOWN', Monitor, process, _, normal} -> ok end
         end || _ <- lists:seq(1, 20)]
    end}.
