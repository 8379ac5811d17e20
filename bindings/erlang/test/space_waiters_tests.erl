%% Waiting for space, without the repeated attempts of `capture_wait'. The name of each test is a promise.
-module(space_waiters_tests).
-include_lib("eunit/include/eunit.hrl").
-import(elixir_scope_capture_pipeline_nif, [delivery_wait/1, delivery_cancel/2]).
-define(C, elixir_scope_capture_pipeline).

%% A pipeline with one event and without a consumer.
with_an_event() ->
    {ok, P} = ?C:start(#{}),
    ok = ?C:capture(P, {an, event}),
    P.

waiting(P) ->
    {ok, Ref} = delivery_wait(P),
    Ref.

%% The event leaves.
store(P) ->
    1 = store_one(P),
    ok = ?C:flush(P, 120000).

woken() -> receive {capture_room, Ref} -> Ref after 120000 -> error(not_woken) end.

no_more() -> ?assertEqual(none, receive {capture_room, _} = Told -> Told after 0 -> none end).

a_waiter_is_woken_once_when_an_event_has_left_test() ->
    P = with_an_event(),
    Ref = waiting(P),
    no_more(),
    store(P),
    ?assertEqual(Ref, woken()),
    no_more(),
    ?assertEqual(sent, delivery_cancel(P, Ref)).

%% Eight at a time. If a term has a block, the thread of the library that releases it wakes eight more, in parallel to the process that answers:
%% then the order of the messages is open.
waiters_are_woken_in_order_a_few_for_each_batch_test() ->
    {ok, P} = ?C:start(#{batch_size => 1}),
    [ok = ?C:capture(P, {event, N}) || N <- lists:seq(1, 5)],
    Eights = [[waiting(P) || _ <- lists:seq(1, 8)] || _ <- lists:seq(1, 5)],
    [1 = store_one(P) || _ <- lists:seq(1, 5)],
    Told = [woken() || _ <- lists:append(Eights)],
    ?assertEqual(Eights, [[Ref || Ref <- Told, lists:member(Ref, Eight)] || Eight <- Eights]),
    no_more().

store_one(P) ->
    ok = ?C:attach(P),
    receive {capture_batch, P, Token, _, _, Events, _} -> ok = ?C:complete(P, Token, ok), length(Events) after 120000 -> error(silent) end.

a_cancelled_waiter_gets_no_message_and_the_others_do_test() ->
    P = with_an_event(),
    [A, B, C, D] = [waiting(P) || _ <- [a, b, c, d]],
    %% One in the middle, the first, the last; then a new one at the end.
    [?assertEqual(ok, delivery_cancel(P, Ref)) || Ref <- [B, A, D]],
    ?assertEqual(sent, delivery_cancel(P, B)),
    E = waiting(P),
    store(P),
    ?assertEqual([C, E], [woken(), woken()]),
    no_more(),
    F = waiting(P),
    ?assertEqual(ok, delivery_cancel(P, F)).

a_dead_waiter_keeps_no_other_from_being_woken_test() ->
    P = with_an_event(),
    Dead = [spawn_monitor(fun() -> waiting(P) end) || _ <- [1, 2, 3]],
    [receive {'DOWN', Monitor, _, _, normal} -> ok end || {_, Monitor} <- Dead],
    Ref = waiting(P),
    store(P),
    ?assertEqual(Ref, woken()).

%% The maximum number of waiters, and then one more in place of one that left.
only_so_many_wait_test_() ->
    {timeout, 900, fun() ->
        P = with_an_event(),
        Refs = [waiting(P) || _ <- lists:seq(1, 65536)],
        ?assertEqual({error, limit}, delivery_wait(P)),
        ?assertEqual(ok, delivery_cancel(P, hd(Refs))),
        ?assertMatch({ok, _}, delivery_wait(P))
    end}.

%% Several times, because memory of other tests may be freed meanwhile.
a_collected_pipeline_frees_its_waiters_test_() -> {timeout, 900, fun() -> [collected_with_waiters() || _ <- [1, 2, 3, 4, 5]] end}.

collected_with_waiters() ->
    Self = self(),
    {_, Monitor} = spawn_monitor(fun() ->
        P = with_an_event(),
        _ = [waiting(P) || _ <- lists:seq(1, 20000)],
        Self ! {full, vm_memory:held(system)}
    end),
    Full = receive {full, Held} -> Held end,
    receive {'DOWN', Monitor, _, _, normal} -> ok end,
    %% Each waiter takes almost a kilobyte.
    await:until(fun() -> vm_memory:held(system) < Full - (10 bsl 20) orelse not vm_memory:is_known() end).

wrong_arguments_are_answered_test() ->
    P = with_an_event(),
    [?assertEqual({W, {error, badarg}}, {W, delivery_wait(W)}) || W <- [x, 1, self(), make_ref(), <<>>]],
    [?assertEqual({W, {error, badarg}}, {W, delivery_cancel(P, W)}) || W <- [x, 1, self(), <<>>]],
    ?assertEqual(sent, delivery_cancel(P, make_ref())),
    sqlite_tests:with_file(fun(Path) ->
        {ok, Q} = ?C:start(#{}, {sqlite, Path, #{}}),
        ?assertEqual({error, unsupported}, delivery_wait(Q)),
        ok = ?C:close(Q, 120000)
    end).

%% A process that is killed in its call on a dirty scheduler can send no more messages. The waiter is woken all the same, or goes on waiting.
a_consumer_killed_while_it_answers_loses_no_wake_up_test_() ->
    {timeout, 900, fun() ->
        {ok, P} = ?C:start(#{batch_size => 1, retry_initial_us => 0}),
        Lost = [N || N <- lists:seq(1, 2000), not is_accounted_for(P, N)],
        ?assertEqual([], Lost)
    end}.

is_accounted_for(P, N) ->
    Self = self(),
    %% (An answer with a rejection goes to a dirty scheduler.)
    {Face, Monitor} = spawn_monitor(fun() ->
        ok = ?C:attach(P),
        receive {capture_batch, P, Token, _, _, _, _} -> Self ! {self(), has_one} end,
        receive go -> Self ! {self(), goes}, ?C:complete(P, Token, {ok, [0]}) end
    end),
    ok = ?C:capture(P, 1, N),
    receive {Face, has_one} -> ok end,
    {ok, Ref} = delivery_wait(P),
    Face ! go,
    receive {Face, goes} -> ok end,
    _ = lists:seq(1, rand:uniform(1000)),
    exit(Face, kill),
    receive {'DOWN', Monitor, process, Face, _} -> ok end,
    waits_or_is_woken(P, Ref, 2000).

waits_or_is_woken(_P, _Ref, 0) -> false;
waits_or_is_woken(P, Ref, Tries) ->
    receive {capture_room, Ref} -> true
    after 1 ->
        case delivery_cancel(P, Ref) of
            ok -> true;
            sent -> waits_or_is_woken(P, Ref, Tries - 1)
        end
    end.
