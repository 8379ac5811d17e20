%% SQLite as the storage, end to end: the sqlite3 command reads the captured events.
-module(sqlite_tests).
-include_lib("eunit/include/eunit.hrl").
-export([with_file/1]).
-define(C, elixir_scope_capture_pipeline).

with_file(Test) ->
    Path = filename:join(os:getenv("TMPDIR", "/tmp"), "capture_" ++ os:getpid() ++ "_" ++ integer_to_list(erlang:unique_integer([positive])) ++ ".db"),
    try Test(Path) after [file:delete(Path ++ End) || End <- ["", "-wal", "-shm"]] end.

sql(Path, Query) ->
    string:trim(os:cmd("sqlite3 -separator ' ' '" ++ Path ++ "' \"" ++ Query ++ "\"")).

events_are_stored_as_they_were_captured_test() ->
    with_file(fun(Path) ->
        {ok, P} = ?C:start(#{name => <<"stored">>}, {sqlite, Path, #{synchronous => off}}),
        ok = ?C:kind_name(P, 7, answers),
        ok = ?C:capture(P, 7, <<"forty-two">>, 99, 1 bsl 63),
        ok = ?C:capture(P, 8, {a, term, [1, 2, 3]}),
        ok = ?C:capture(P, 9, fun lists:map/2),
        ok = ?C:capture_event(P, #{payload => <<>>, kind => 10, timestamp_ns => 5}),
        ok = ?C:flush(P, 10000),
        ?assertMatch({ok, #{stored := 4, captured := 4}}, ?C:metrics(P)),
        ok = ?C:close(P, 10000),
        ?assertEqual("4", sql(Path, "select count(*) from events")),
        ?assertEqual("forty-two 99 9223372036854775808", sql(Path, "select payload, correlation_id, node_id from events_view where kind = 7")),
        Term = binary:decode_hex(list_to_binary(sql(Path, "select hex(payload) from events where kind = 8"))),
        ?assertEqual({a, term, [1, 2, 3]}, binary_to_term(Term))
    end).

a_hundred_thousand_events_of_many_processes_are_all_there_once_test_() ->
    {timeout, 900, fun() ->
        with_file(fun(Path) ->
            {ok, P} = ?C:start(#{writers => 2}, {sqlite, Path, #{synchronous => off}}),
            Self = self(),
            Pids = [spawn_link(fun() -> [ok = ?C:capture_wait(P, W, <<N:32>>, infinity) || N <- lists:seq(1, 25000)], Self ! {self(), ok} end) || W <- [1, 2, 3, 4]],
            [ok = delivery_tests:result(Pid) || Pid <- Pids],
            ok = ?C:close(P, 60000),
            ?assertEqual("100000 4 25000", sql(Path, "select count(*), count(distinct kind), count(distinct payload) from events"))
        end)
    end}.

a_collected_pipeline_stores_batches_in_flight_and_leaves_a_sound_database_test() ->
    with_file(fun(Path) ->
        {_, Monitor} = spawn_monitor(fun() ->
            {ok, P} = ?C:start(#{}, {sqlite, Path, #{}}),
            [ok = ?C:capture(P, 1, <<N:32>>) || N <- lists:seq(1, 1000)],
            ok = ?C:flush(P, 10000)
        end),
        receive {'DOWN', Monitor, _, _, Reason} -> ?assertEqual(normal, Reason) end,
        %% The database is locked while its indexes are built.
        await:until(fun() -> sql(Path, "select count(*) from events") =:= "1000" end),
        await:until(fun() -> sql(Path, "pragma integrity_check") =:= "ok" end)
    end).

control_of_native_writers_test() ->
    with_file(fun(Path) ->
        {ok, P} = ?C:start(#{}, {sqlite, list_to_binary(Path), #{}}),
        ok = ?C:scale(P, 3),
        ?assertMatch({ok, #{writers_target := 3}}, ?C:metrics(P)),
        ok = ?C:scale(P, 0),
        ?assertMatch({ok, #{reasons := [_ | _], status := degraded}}, ?C:health(P)),
        ?assertMatch({error, {limit, _}}, ?C:scale(P, 257)),
        ?assertMatch({error, {unsupported, _}}, ?C:attach(P)),
        ?assertEqual(ok, ?C:detach(P)),
        ?assertEqual({error, badarg}, ?C:complete(P, 1, ok)),
        ok = ?C:update(P, #{writers => 2}),
        ?assertMatch({ok, #{writers := 2}}, ?C:config(P)),
        ok = ?C:pause(P),
        ok = ?C:capture(P, 1, <<"x">>),
        ?assertMatch({error, {timeout, _}}, ?C:flush(P, 20)),
        ok = ?C:resume(P),
        ok = ?C:flush(P, 120000),
        ok = ?C:close(P)
    end).

large_and_wrong_events_test_() ->
    {timeout, 900, fun large_and_wrong_events/0}.

large_and_wrong_events() ->
    with_file(fun(Path) ->
        {ok, P} = ?C:start(#{}, {sqlite, Path, #{}}),
        ?assertEqual({error, too_large}, ?C:capture(P, 1, binary:copy(<<"x">>, 100000000))),
        ?assertEqual({error, too_large}, ?C:capture(P, 1, lists:seq(1, 1000000))),
        ?assertEqual({error, badarg}, ?C:capture(P, -1, x)),
        ok = ?C:close(P)
    end).
