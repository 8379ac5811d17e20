%% Everything at once: consumers that answer, retry, reject, detach, lie and are killed, producers that are killed, an owner that pauses,
%% updates and flushes; and at the end every event is accounted for. CAPTURE_STORM_SECONDS: how long (3).
-module(storm_tests).
-include_lib("eunit/include/eunit.hrl").
-define(C, elixir_scope_capture_pipeline).

seconds() -> list_to_integer(os:getenv("CAPTURE_STORM_SECONDS", "3")).

every_event_is_accounted_for_test_() -> [storm(Overflow) || Overflow <- [drop_newest, drop_oldest, block]].

storm(Overflow) ->
    {timeout, seconds() + 120, {atom_to_list(Overflow), fun() -> rage(Overflow) end}}.

rage(Overflow) ->
    {ok, P} = ?C:start(#{batch_size => 40, overflow => Overflow, ring_bytes => 1 bsl 18, retry_max_us => 3000, retry_initial_us => 100}),
    %% Identities: of stored or rejected events, with their payloads. Counts: 1 captured, 2 answered as stored, 3 as rejected.
    Seen = ets:new(seen, [public, {write_concurrency, true}]),
    Counts = counters:new(4, []),
    Until = erlang:monotonic_time(millisecond) + seconds() * 1000,
    Keepers = [keeper(fun() -> consumer(P, Seen, Counts) end) || _ <- lists:seq(1, 4)],
    Producers = [keeper(fun() -> producer(P, Counts) end) || _ <- lists:seq(1, 3)],
    Owner = keeper(fun() -> owner(P) end),
    torment(Keepers ++ Producers ++ [Owner], Until),
    [stop(K) || K <- [Owner | Producers]],
    %% The owner may have been killed while the pipeline was paused.
    ok = ?C:resume(P),
    ok = ?C:flush(P, 60000),
    {ok, M} = ?C:metrics(P),
    [stop(K) || K <- Keepers],
    Get = fun(K) -> maps:get(K, M) end,
    ?assertEqual(0, Get(in_flight) + Get(in_doubt) + Get(buffered) + Get(left) + Get(discarded)),
    ?assertEqual(Get(captured), Get(stored) + Get(dead_lettered) + Get(overwritten)),
    ?assertEqual(Get(offered), Get(captured) + Get(dropped_full) + Get(refused_too_large)),
    %% A producer that was killed between the capture and its note has captured one more.
    Noted = counters:get(Counts, 1),
    ?assert(Noted =< Get(captured) andalso Get(captured) =< Noted + counters:get(Counts, 4)),
    Overflow =:= drop_oldest orelse ?assertEqual(0, Get(overwritten)),
    %% Every event that counts as stored was seen, and none with two identities.
    Rows = ets:tab2list(Seen),
    ?assert(length(Rows) >= Get(stored) + Get(dead_lettered)),
    ?assert(length(Rows) =< Get(captured)),
    ?assertEqual(length(Rows), length(lists:usort([element(2, R) || R <- Rows]))),
    ?assert(Get(stored) > 1000),
    ok = ?C:close(P, 10000).

%% Keeps a process going until it is stopped; `kill' kills it.
keeper(Fun) -> spawn(fun() -> process_flag(trap_exit, true), keep(Fun, spawn_link(Fun)) end).

keep(Fun, Pid) ->
    receive
        kill -> exit(Pid, kill), keep(Fun, Pid);
        {'EXIT', Pid, killed} -> keep(Fun, spawn_link(Fun));
        {'EXIT', Pid, detached} -> keep(Fun, spawn_link(Fun));
        {stop, From} -> exit(Pid, kill), receive {'EXIT', Pid, _} -> From ! {self(), stopped} end
    end.

stop(Keeper) ->
    Monitor = monitor(process, Keeper),
    Keeper ! {stop, self()},
    receive
        {Keeper, stopped} -> demonitor(Monitor, [flush]);
        {'DOWN', Monitor, _, _, Reason} -> error({keeper, Reason})
    end.

torment(Keepers, Until) ->
    receive after rand:uniform(6) -> ok end,
    lists:nth(rand:uniform(length(Keepers)), Keepers) ! kill,
    case erlang:monotonic_time(millisecond) < Until of
        true -> torment(Keepers, Until);
        false -> ok
    end.

producer(P, Counts) ->
    counters:add(Counts, 4, 1),
    produce(P, Counts).

produce(P, Counts) ->
    N = {self(), erlang:unique_integer()},
    Term =
        case rand:uniform(12) of
            1 -> fun() -> N end;
            2 -> term_to_binary(N);
            3 -> {N, binary:copy(<<"x">>, 1000)};
            4 -> {N, #{a => [1, 2, {3}], "b" => 1.5}};
            5 -> {N, <<1:3>>};
            6 -> {N, make_ref(), lists:seq(1, 100)};
            _ -> N
        end,
    Answer =
        case rand:uniform(50) of
            1 -> ?C:capture(P, lists:seq(1, 100000));
            2 -> ?C:capture_many(P, 1, []);
            _ -> ?C:capture(P, 1, Term, 5, 6)
        end,
    case Answer of
        ok -> counters:add(Counts, 1, 1);
        {ok, 0} -> ok;
        {error, full} -> receive after 1 -> ok end;
        {error, too_large} -> ok
    end,
    produce(P, Counts).

consumer(P, Seen, Counts) ->
    ok = ?C:attach(P),
    consume(P, Seen, Counts).

consume(P, Seen, Counts) ->
    receive
        {capture_batch, P, Token, _, _, Events, {Generation, _}} ->
            Answer = answer(length(Events)),
            Answer =:= retry orelse [note(Seen, {Generation, Ring, Sequence}, key(Payload)) || {Payload, Ring, Sequence, _, 1, 5, 6} <- Events],
            _ = [{error, unknown_token} = ?C:complete(P, Token + 1000000, ok) || rand:uniform(20) =:= 1],
            _ = [{error, badarg} = ?C:complete(P, Token, {ok, [length(Events)]}) || rand:uniform(20) =:= 1],
            ok = ?C:complete(P, Token, Answer),
            case rand:uniform(100) of
                1 -> ok = ?C:detach(P), exit(detached);
                2 -> ok = ?C:attach(P);
                3 -> receive after 5 -> ok end;
                _ -> ok
            end
    end,
    consume(P, Seen, Counts).

answer(Count) ->
    case rand:uniform(20) of
        1 -> retry;
        2 -> {ok, [N || N <- lists:seq(0, Count - 1), rand:uniform(2) =:= 1]};
        3 -> {ok, []};
        _ -> ok
    end.

%% The unique part of the payload.
key(Fun) when is_function(Fun) -> Fun();
key(Binary) when is_binary(Binary) -> binary_to_term(Binary);
key(Tuple) when is_tuple(element(1, Tuple)) -> element(1, Tuple);
key(Other) -> Other.

note(Seen, Identity, Key) ->
    case ets:insert_new(Seen, {Identity, Key}) of
        true -> ok;
        false -> [{Identity, Key}] = ets:lookup(Seen, Identity)
    end.

owner(P) ->
    receive after rand:uniform(10) -> ok end,
    case rand:uniform(7) of
        1 -> ok = ?C:pause(P), receive after rand:uniform(5) -> ok end, ok = ?C:resume(P);
        2 -> ok = ?C:update(P, #{batch_size => 1 + rand:uniform(100)});
        3 -> _ = ?C:flush(P, rand:uniform(20) - 1);
        4 -> {ok, _} = ?C:metrics(P), {ok, _} = ?C:health(P);
        5 -> {ok, _} = ?C:config(P), _ = ?C:writer_metrics(P, rand:uniform(4) - 1);
        6 -> ok = ?C:update(P, #{linger_us => rand:uniform(200) - 1});
        7 -> abandon(rand:uniform(100))
    end,
    owner(P).

%% Other pipelines start and end meanwhile, with a backlog and a consumer that has not answered.
abandon(Count) ->
    _ = spawn(fun() ->
        {ok, P} = ?C:start(#{batch_size => 3}),
        [ok = ?C:capture(P, {N, fun() -> P end}) || N <- lists:seq(1, Count)],
        _ = spawn(fun() -> _ = ?C:attach(P), receive after rand:uniform(10) -> ok end end),
        receive after rand:uniform(10) -> ok end
    end),
    ok.
