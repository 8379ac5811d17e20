%% Batches that go to consumers: the name of each test is a promise.
-module(delivery_tests).
-include_lib("eunit/include/eunit.hrl").
-export([answer/1, result/1, kill/1]).
-define(C, elixir_scope_capture_pipeline).

started(Config) ->
    {ok, P} = ?C:start(Config),
    P.

%% A process that attaches, reports the result, and forwards its batches to the test without an answer.
consumer(P) ->
    Self = self(),
    spawn_link(fun() ->
        Self ! {self(), ?C:attach(P)},
        forward(Self)
    end).

result(Pid) ->
    receive
        {Pid, Result} -> Result
    after 120000 -> error(silent)
    end.

forward(To) ->
    receive
        {call, From, Fun} -> From ! {self(), Fun()};
        Message -> To ! {self(), Message}
    end,
    forward(To).

attached(P) ->
    Pid = consumer(P),
    ok = result(Pid),
    Pid.

%% Runs the function in the consumer.
in(Pid, Fun) ->
    Pid ! {call, self(), Fun},
    receive
        {Pid, Result} -> Result
    after 120000 -> error(silent)
    end.

batch(Pid) -> batch(Pid, 120000).
batch(Pid, Timeout) ->
    receive
        {Pid, {capture_batch, _, Token, Id, Attempt, Events, _}} -> {Token, Id, Attempt, Events}
    after Timeout -> none
    end.

kill(Pid) ->
    unlink(Pid),
    Monitor = monitor(process, Pid),
    exit(Pid, kill),
    receive
        {'DOWN', Monitor, _, _, _} -> ok
    end.

figure(P, Key) ->
    {ok, M} = ?C:metrics(P),
    maps:get(Key, M).

captured(P, Numbers) -> [ok = ?C:capture(P, N) || N <- Numbers].

%% ---- ----

a_message_says_all_about_its_events_test() ->
    P = started(#{}),
    ok = ?C:attach(P),
    Before = erlang:system_time(nanosecond),
    ok = ?C:capture_event(P, #{payload => {a, 1}, kind => 5, correlation_id => 1 bsl 63, node_id => 7, priority => true}),
    receive
        {capture_batch, P, Token, Id, 1, [Event], {Generation, Offset, [{0, 1, 1}]}} ->
            {{a, 1}, Ring, Sequence, Time, 5, Correlation, 7} = Event,
            ?assertEqual(1 bsl 63, Correlation),
            ?assert(is_integer(Ring) andalso is_integer(Sequence) andalso is_integer(Id) andalso is_integer(Generation)),
            ?assert(abs(Time + Offset - Before) < 5000000000),
            ok = ?C:complete(P, Token, ok)
    after 120000 -> error(silent)
    end,
    ok = ?C:flush(P, 120000),
    ?assertMatch({ok, #{stored := 1, captured := 1, in_flight := 0}}, ?C:metrics(P)).

numbers_of_every_size_are_delivered_as_they_were_given_test() ->
    [
        begin
            {ok, P} = ?C:start(#{batch_size => 100}, Storage),
            Numbers = [0, 1, 1 bsl 32, 1 bsl 59 - 1, 1 bsl 59, 1 bsl 60 - 1, 1 bsl 63 - 1, 1 bsl 63, 1 bsl 64 - 1],
            [ok = ?C:capture(P, 1, {x}, N, 1 bsl 64 - 1 - N) || N <- Numbers],
            ok = ?C:attach(P),
            Given = fun Given(Left) when Left =< 0 -> [];
                        Given(Left) ->
                            receive
                                {capture_batch, P, Token, _, _, Told, _} ->
                                    Events = if Storage =:= notices -> ?C:events(P, Token); true -> Told end,
                                    ok = ?C:complete(P, Token, ok),
                                    Events ++ Given(Left - length(Events))
                            after 120000 -> error(missing)
                            end
                    end,
            ?assertEqual([{{x}, 1, N, 1 bsl 64 - 1 - N} || N <- Numbers], [{T, K, C, N} || {T, _, _, _, K, C, N} <- Given(length(Numbers))]),
            ok = ?C:close(P, 120000)
        end
     || Storage <- [delivery, notices]
    ].

an_own_time_is_delivered_as_it_was_given_test() ->
    P = started(#{}),
    C = attached(P),
    ok = ?C:capture_event(P, #{payload => x, timestamp_ns => 12345}),
    ?assertMatch({_, _, 1, [{x, _, _, 12345, 0, 0, 0}]}, batch(C)).

a_process_gets_no_more_than_two_batches_unanswered_test() ->
    P = started(#{batch_size => 1}),
    captured(P, lists:seq(1, 10)),
    C = attached(P),
    {Token, _, 1, [{1, _, _, _, _, _, _}]} = batch(C),
    {_, _, 1, [{2, _, _, _, _, _, _}]} = batch(C),
    ?assertEqual(none, batch(C, 50)),
    ok = ?C:complete(P, Token, ok),
    {_, _, 1, [{3, _, _, _, _, _, _}]} = batch(C),
    ?assertEqual(none, batch(C, 50)),
    ?assertMatch({ok, #{stored := 1, batches_handed := 2, captured := 10}}, ?C:metrics(P)).

a_batch_goes_to_the_consumer_with_the_fewest_outstanding_test() ->
    P = started(#{batch_size => 1}),
    A = attached(P),
    B = attached(P),
    captured(P, [1, 2]),
    ?assertMatch({_, _, 1, [_]}, batch(A)),
    ?assertMatch({_, _, 1, [_]}, batch(B)).

a_retried_batch_keeps_its_id_test() ->
    P = started(#{}),
    C = attached(P),
    captured(P, [1]),
    {Token, Id, 1, Events} = batch(C),
    ok = ?C:complete(P, Token, retry),
    {Token2, Id, 2, Events} = batch(C),
    ?assertNotEqual(Token, Token2),
    ?assertEqual({error, unknown_token}, ?C:complete(P, Token, ok)),
    ok = ?C:complete(P, Token2, ok),
    ?assertEqual({error, unknown_token}, ?C:complete(P, Token2, ok)),
    ok = ?C:flush(P, 120000),
    ?assertMatch({ok, #{stored := 1, retries := 1}}, ?C:metrics(P)).

the_batches_of_a_dead_consumer_go_to_another_test() ->
    P = started(#{}),
    A = attached(P),
    captured(P, [1, 2, 3]),
    {Token, Id, 1, Events} = batch(A),
    kill(A),
    B = attached(P),
    {_, Id, 2, Events} = batch(B),
    ?assertEqual({error, unknown_token}, ?C:complete(P, Token, ok)),
    ?assertMatch({ok, #{faces := 1, in_flight := 3}}, ?C:metrics(P)).

the_batches_of_a_detached_consumer_go_to_another_test() ->
    P = started(#{}),
    A = attached(P),
    captured(P, [1]),
    {Token, Id, 1, _} = batch(A),
    ok = in(A, fun() -> ?C:detach(P) end),
    ok = in(A, fun() -> ?C:detach(P) end),
    ?assertEqual({error, unknown_token}, ?C:complete(P, Token, ok)),
    ?assertEqual(0, figure(P, faces)),
    B = attached(P),
    ?assertMatch({_, Id, 2, _}, batch(B)).

nothing_is_in_doubt_without_a_consumer_test() ->
    P = started(#{storage_deadline_ms => 20}),
    captured(P, [1, 2]),
    %% A later event, whose consumer does not answer: the timeout ends the wait.
    Other = started(#{storage_deadline_ms => 20}),
    captured(Other, [1, 2]),
    _ = attached(Other),
    await:until(fun() -> figure(Other, in_doubt) =:= 2 end),
    ?assertMatch({ok, #{buffered := 2, in_flight := 0, in_doubt := 0, faces := 0}}, ?C:metrics(P)).

rejected_events_count_as_dead_lettered_and_the_rest_as_stored_test() ->
    P = started(#{batch_size => 8}),
    captured(P, lists:seq(0, 7)),
    C = attached(P),
    {Token, _, 1, Events} = batch(C),
    ?assertEqual(lists:seq(0, 7), consumer:payloads(Events)),
    [?assertEqual({W, {error, badarg}}, {W, ?C:complete(P, Token, W)})
     || W <- [{ok, [8]}, {ok, [-1]}, {ok, [a]}, {ok, [1 | 2]}, {ok, x}, {ok, lists:seq(0, 70000)}, nope, {retry, []}, {}, {ok}, [], 0]],
    ok = ?C:complete(P, Token, {ok, [1, 3, 3, 7]}),
    ok = ?C:flush(P, 120000),
    ?assertMatch({ok, #{stored := 5, dead_lettered := 3, discarded := 0, in_flight := 0}}, ?C:metrics(P)).

no_token_is_known_that_was_not_given_test() ->
    P = started(#{}),
    Q = started(#{}),
    C = attached(P),
    captured(P, [1]),
    {Token, _, _, _} = batch(C),
    [?assertEqual({error, unknown_token}, ?C:complete(P, T, ok)) || T <- [0, Token + 1, 1 bsl 63]],
    [?assertEqual({error, badarg}, ?C:complete(P, T, ok)) || T <- [-1, x, 1.0, 1 bsl 64, <<>>]],
    ?assertEqual({error, unknown_token}, ?C:complete(Q, Token, ok)),
    ok = ?C:complete(P, Token, ok).

a_batch_of_many_thousand_events_is_answered_test() ->
    P = started(#{batch_size => 20000, batch_bytes => 1 bsl 30, ring_bytes => 1 bsl 24}),
    captured(P, lists:seq(1, 20000)),
    C = attached(P),
    {Token, _, 1, Events} = batch(C),
    ?assertEqual(lists:seq(1, 20000), consumer:payloads(Events)),
    ok = ?C:complete(P, Token, {ok, lists:seq(0, 19999, 2)}),
    ok = ?C:flush(P, 120000),
    ?assertMatch({ok, #{stored := 10000, dead_lettered := 10000}}, ?C:metrics(P)).

a_process_that_is_attached_keeps_the_pipeline_alive_test() ->
    Self = self(),
    Pid = spawn_link(fun() ->
        P = started(#{}),
        ok = ?C:capture(P, kept),
        Key = {?MODULE, kept},
        persistent_term:put(Key, P),
        ok = ?C:attach(P),
        persistent_term:erase(Key),
        Self ! {self(), go},
        forward(Self)
    end),
    go = result(Pid),
    {Token, _, 1, [{kept, _, _, _, _, _, _}]} = batch(Pid),
    [begin garbage_collect(), in(Pid, fun() -> garbage_collect() end) end || _ <- [1, 2, 3]],
    ?assert(is_integer(Token)).

the_order_of_a_process_is_restored_by_sorting_test() ->
    P = started(#{batch_size => 100}),
    C = attached(P),
    Self = self(),
    Count = 2000,
    [spawn_link(fun() -> [ok = ?C:capture(P, {Who, N}) || N <- lists:seq(1, Count)], Self ! {Who, done} end) || Who <- [a, b, c, d]],
    [receive {Who, done} -> ok end || Who <- [a, b, c, d]],
    All = collect(P, C, 4 * Count, []),
    Sorted = lists:sort([{Time, Ring, Sequence, Payload} || {Payload, Ring, Sequence, Time, _, _, _} <- All]),
    [?assertEqual(lists:seq(1, Count), [N || {_, _, _, {W, N}} <- Sorted, W =:= Who]) || Who <- [a, b, c, d]].

collect(_P, _C, Left, All) when Left =< 0 -> All;
collect(P, C, Left, All) ->
    {Token, _, _, Events} = batch(C),
    ok = ?C:complete(P, Token, ok),
    collect(P, C, Left - length(Events), Events ++ All).

closing_waits_for_the_answers_and_only_as_long_as_it_may_test() ->
    P = started(#{batch_size => 10}),
    captured(P, lists:seq(1, 100)),
    C = attached(P),
    {Token, _, _, _} = batch(C),
    ?assertMatch({error, {timeout, _}}, ?C:close(P, 30)),
    ok = ?C:complete(P, Token, ok),
    ?assertEqual(10, figure(P, stored)),
    {ok, M} = ?C:metrics(P),
    ?assertEqual(100, lists:sum([maps:get(K, M) || K <- [stored, buffered, in_flight, left, in_doubt]])),
    kill(C).

a_backlog_is_drained_by_close_test() ->
    P = started(#{batch_size => 10}),
    captured(P, lists:seq(1, 1000)),
    spawn_link(fun() -> ok = ?C:attach(P), answer(P) end),
    ok = ?C:close(P, 10000),
    ?assertMatch({ok, #{stored := 1000, left := 0}}, ?C:metrics(P)).

answer(P) ->
    receive
        {capture_batch, P, Token, _, _, _, _} -> _ = ?C:complete(P, Token, ok)
    end,
    answer(P).

drop_oldest_keeps_the_newest_without_a_consumer_test() ->
    P = started(#{overflow => drop_oldest, ring_bytes => 65536}),
    on_one_scheduler(fun() -> captured(P, [{N, N} || N <- lists:seq(1, 20000)]) end),
    {ok, M} = ?C:metrics(P),
    ?assertMatch(#{captured := 20000, dropped_full := 0}, M),
    ?assertEqual(20000, maps:get(overwritten, M) + maps:get(buffered, M)),
    C = attached(P),
    All = collect(P, C, maps:get(buffered, M), []),
    ?assertEqual(20000, lists:max([N || {{N, N}, _, _, _, _, _, _} <- All])).

%% Runs on one scheduler to its end, so that all its captures are in one ring.
on_one_scheduler(Fun) ->
    Self = self(),
    Pid = spawn_opt(fun() -> Fun(), Self ! {self(), done} end, [link, {scheduler, 1}]),
    done = result(Pid).

memory_is_bounded_if_no_consumer_answers_test_() ->
    {timeout, 900, fun() ->
        P = started(#{ring_bytes => 1 bsl 20}),
        ok = ?C:attach(P),
        Term = lists:seq(1, 1000),
        Before = vm_memory:held(total),
        [_ = ?C:capture(P, Term) || _ <- lists:seq(1, 100000)],
        Grown = vm_memory:held(total) - Before,
        %% A ring for each scheduler, and outstanding events twice: in the ring's charge and as messages.
        Most = (erlang:system_info(schedulers) * 2 + 2) * 2 bsl 20,
        ?assert(Grown < Most + (10 bsl 20)),
        ?assert(figure(P, dropped_full) > 90000)
    end}.

%% ---- death ----

processes_that_are_killed_under_load_lose_nothing_test_() ->
    {timeout, 900, fun() ->
        P = started(#{batch_size => 32, retry_max_us => 5000}),
        Self = self(),
        Store = ets:new(store, [public]),
        Consumers = spawn_link(fun() -> process_flag(trap_exit, true), keep(P, Store, 3, []) end),
        Producers = [spawn_link(fun() -> produce(P, Who, 1, 20000), Self ! {self(), done} end) || Who <- [a, b, c]],
        Killer = spawn_link(fun() -> killer(Consumers) end),
        [done = result(Pid) || Pid <- Producers],
        ok = ?C:flush(P, 120000),
        unlink(Killer), exit(Killer, kill),
        {ok, M} = ?C:metrics(P),
        ?assertMatch(#{captured := 60000, stored := 60000, in_flight := 0, buffered := 0, left := 0, in_doubt := 0, discarded := 0}, M),
        ?assert(maps:get(retries, M) > 0),
        %% Each event once, with one identity. An event that was delivered again had the same identity and content.
        Stored = ets:tab2list(Store),
        ?assertEqual(60000, length(Stored)),
        Payloads = lists:usort([Payload || {_, Payload} <- Stored]),
        ?assertEqual(60000, length(Payloads)),
        unlink(Consumers), exit(Consumers, kill)
    end}.

produce(_P, _Who, N, Last) when N > Last -> ok;
produce(P, Who, N, Last) ->
    ok = ?C:capture_wait(P, 1, {Who, N}, infinity),
    produce(P, Who, N + 1, Last).

%% Keeps `Count' consumers alive.
keep(P, Store, Count, Alive) when length(Alive) < Count ->
    Pid = spawn_link(fun() -> ok = ?C:attach(P), consume(P, Store) end),
    keep(P, Store, Count, [Pid | Alive]);
keep(P, Store, Count, Alive) ->
    receive
        kill_one ->
            exit(lists:nth(rand:uniform(Count), Alive), kill),
            keep(P, Store, Count, Alive);
        {'EXIT', Pid, killed} ->
            keep(P, Store, Count, lists:delete(Pid, Alive))
    end.

consume(P, Store) ->
    receive
        {capture_batch, P, Token, _, _, Events, {Generation, _}} ->
            [case ets:insert_new(Store, {{Generation, Ring, Sequence}, Payload}) of
                 true -> ok;
                 false -> [{_, Payload}] = ets:lookup(Store, {Generation, Ring, Sequence})
             end || {Payload, Ring, Sequence, _, _, _, _} <- Events],
            _ = ?C:complete(P, Token, ok)
    end,
    consume(P, Store).

killer(Consumers) ->
    receive after 3 -> ok end, % its pace
    Consumers ! kill_one,
    killer(Consumers).

a_storm_of_attaching_and_dying_ends_with_as_many_as_live_test_() ->
    {timeout, 900, fun() ->
        P = started(#{batch_size => 4}),
        Attached = counters:new(1, []),
        Come = fun() -> ok = ?C:attach(P), counters:add(Attached, 1, 1), rand:uniform(2) =:= 1 andalso exit(early), receive after infinity -> ok end end,
        Pids = [spawn(Come) || _ <- lists:seq(1, 400)],
        captured(P, lists:seq(1, 1000)),
        await:until(fun() -> counters:get(Attached, 1) =:= 400 end),
        [exit(Pid, kill) || Pid <- Pids],
        await:until(fun() -> figure(P, faces) =:= 0 end),
        await:until(fun() -> figure(P, writers_target) =:= 1 end),
        ?assertMatch({ok, #{batches_handed := 0}}, ?C:metrics(P)),
        spawn_link(fun() -> ok = ?C:attach(P), answer(P) end),
        ok = ?C:flush(P, 120000),
        ?assertMatch({ok, #{stored := 1000}}, ?C:metrics(P))
    end}.

a_pipeline_collected_with_a_backlog_and_batches_out_lets_everything_go_test_() ->
    {timeout, 900, fun() ->
        %% Binaries to which only the events refer are freed with the events.
        Before = vm_memory:held(binary),
        [begin
            Pid = spawn(fun() ->
                P = started(#{batch_size => 4}),
                [ok = ?C:capture(P, {n, binary:copy(<<N>>, 1000)}) || N <- lists:seq(1, 200)],
                ok = ?C:attach(P),
                receive {capture_batch, P, _, _, _, _, _} -> ok end
            end),
            Monitor = monitor(process, Pid),
            receive {'DOWN', Monitor, _, _, _} -> ok end
        end || _ <- lists:seq(1, 20)],
        await:until(fun() -> garbage_collect(), vm_memory:held(binary) < Before + 500000 end)
    end}.
