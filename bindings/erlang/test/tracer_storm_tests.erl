%% Tracers under load: everything is traced while processes come and go, tracers are stopped, owners are killed, pipelines are closed, and the module is
%% loaded again. At the end every trace is accounted for, and the VM has nothing of a tracer.
-module(tracer_storm_tests).
-include_lib("eunit/include/eunit.hrl").
-export([work/1]).
-define(C, elixir_scope_capture_pipeline).
-define(T, elixir_scope_capture_pipeline_tracer).
-define(FLAGS, [call, send, 'receive', procs, running, exiting, garbage_collection, return_to]).

work(0) -> done;
work(N) -> {?MODULE:work(N - 1), N}.

%% A process that does all that can be traced, until it is told to end: calls, messages, collections, children, ports, work on dirty schedulers.
worker(Peer) ->
    receive
        {stop, From} -> From ! {self(), stopped}
    after 0 ->
        _ = ?MODULE:work(20),
        Peer ! {some, message, lists:seq(1, 10), fun() -> Peer end},
        flush(),
        case rand:uniform(20) of
            1 -> garbage_collect();
            2 -> {Pid, Monitor} = spawn_monitor(fun() -> exit(?MODULE:work(5)) end), receive {'DOWN', Monitor, _, Pid, _} -> ok end;
            3 -> erts_debug:dirty_io(wait, 1);
            4 -> erts_debug:dirty_cpu(wait, 1), garbage_collect();
            5 -> try error(oops) catch error:oops -> ok end;
            6 -> try no_such_process ! hello catch error:badarg -> ok end;
            7 -> erlang:yield();
            _ -> ok
        end,
        worker(Peer)
    end.

flush() -> receive {some, message, _, _} -> flush() after 0 -> ok end.

workers(Count) ->
    Sink = spawn(fun Drop() -> receive stop -> ok; _ -> Drop() end end),
    {Sink, [spawn(fun() -> worker(Sink) end) || _ <- lists:seq(1, Count)]}.

end_workers({Sink, Workers}) ->
    [begin Pid ! {stop, self()}, receive {Pid, stopped} -> ok after 60000 -> error(silent) end end || Pid <- Workers],
    Sink ! stop.

consumer(P) -> spawn(fun() -> ok = ?C:attach(P), consume(P) end).

%% Reads every event.
consume(P) ->
    receive
        {capture_batch, P, Token, _, _, Count, _} ->
            Count = length(?C:events(P, Token)),
            ok = ?C:complete(P, Token, ok),
            consume(P)
    end.

%% The ledger, once all that was captured is stored. The consumers stay.
balanced(P, T) ->
    ok = ?C:flush(P, 60000),
    {ok, M} = ?C:metrics(P),
    #{captured := Captured, refused := Refused, without_ring := 0} = ?T:info(T),
    Get = fun(Key) -> maps:get(Key, M) end,
    ?assertEqual(Get(captured), Get(stored)),
    ?assertEqual(Get(offered), Get(captured) + Get(dropped_full) + Get(refused_closed) + Get(refused_busy) + Get(refused_no_ring)),
    ?assertEqual({Get(captured), Get(offered) - Get(captured)}, {Captured, Refused}),
    M.

untouched() ->
    Left = fun() -> [Pid || Pid <- [new_processes, new_ports | processes() ++ erlang:ports()], not lists:member(erlang:trace_info(Pid, flags), [{flags, []}, undefined])] =:= [] end,
    await:until(Left, 20000),
    await:until(fun() -> erlang:trace_info({?MODULE, work, 1}, traced) =:= {traced, false} end, 20000).

everything_is_traced_and_accounted_for_test_() ->
    {timeout, 240, fun() ->
        {ok, P} = ?C:start(#{ring_bytes => 1 bsl 16, max_rings => 1000}, notices),
        Consumer = consumer(P),
        {ok, T} = ?T:start(P, #{max_rate => infinity, bytes => 512}),
        Some = workers(100),
        {ok, 1} = ?T:trace_calls(T, {?MODULE, work, 1}, #{return => true}),
        {ok, _} = ?T:trace_processes(T, all, ?FLAGS),
        More = workers(200),
        await:until(fun() -> maps:get(captured, ?T:info(T)) > 50000 end, 120000),
        ok = ?T:stop(T, 60000),
        untouched(),
        #{captured := Captured} = balanced(P, T),
        ?assert(Captured > 50000),
        end_workers(Some),
        end_workers(More),
        exit(Consumer, kill)
    end}.

tracers_come_and_go_while_traced_processes_run_test_() ->
    {timeout, 240, fun() ->
        All = workers(20),
        [begin
            {ok, P} = ?C:start(#{ring_bytes => 1 bsl 16, max_rings => 1000}, notices),
            Consumer = consumer(P),
            Self = self(),
            Owner = spawn(fun() ->
                {ok, Started} = ?T:start(P, #{max_rate => infinity}),
                {ok, 1} = ?T:trace_calls(Started, {?MODULE, work, 1}, #{return => true}),
                {ok, _} = ?T:trace_processes(Started, all, ?FLAGS -- [return_to]),
                Self ! {started, Started},
                receive stop -> ok end
            end),
            T = receive {started, Given} -> Given end,
            await:until(fun() -> maps:get(captured, ?T:info(T)) > 1000 end, 60000),
            Expected = ends(How, P, T, Owner),
            await:until(fun() -> lists:member(maps:get(state, ?T:info(T)), Expected) end, 20000),
            untouched(),
            _ = How =:= close orelse balanced(P, T),
            exit(Consumer, kill),
            exit(Owner, kill)
        end || _ <- lists:seq(1, 2), How <- [stop, kill_owner, kill_guard, close]],
        end_workers(All)
    end}.

ends(stop, _P, T, _Owner) -> ok = ?T:stop(T, 60000), [stopped];
ends(kill_owner, _P, _T, Owner) -> exit(Owner, kill), [owner_died];
ends(kill_guard, _P, T, _Owner) -> exit(element(2, T), kill), [owner_died];
ends(close, P, _T, _Owner) -> ok = ?C:close(P, 60000), [pipeline_closed].

%% What its consumer sends about the events would be traced: the consumer is never traced, but the process that it sends to is, unless it is excluded.
a_feedback_of_traces_stops_by_itself_test_() ->
    {timeout, 120, fun() ->
        {ok, P} = ?C:start(#{}),
        Storage = spawn(fun Loop() -> receive {store, From} -> From ! stored, Loop() end end),
        Consumer = spawn(fun() -> ok = ?C:attach(P), store_each(P, Storage) end),
        {ok, T} = ?T:start(P, #{max_rate => 20000}),
        {ok, 1} = ?T:trace_processes(T, Storage, [send, 'receive', running]),
        Storage ! {store, self()},
        receive stored -> ok end,
        await:until(fun() -> maps:get(state, ?T:info(T)) =:= too_fast end, 60000),
        untouched(),
        exit(Consumer, kill),
        exit(Storage, kill)
    end}.

store_each(P, Storage) ->
    receive
        {capture_batch, P, Token, _, _, Events, _} ->
            [begin Storage ! {store, self()}, receive stored -> ok end end || _ <- Events],
            ok = ?C:complete(P, Token, ok),
            store_each(P, Storage)
    end.
