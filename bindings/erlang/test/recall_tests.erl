%% A process that is killed in its answer may not have sent the message about a parked batch: that batch is recalled.
-module(recall_tests).
-include_lib("eunit/include/eunit.hrl").
-define(C, elixir_scope_capture_pipeline).
-define(RECALLS, 100).
-define(PATIENCE, 120000).

a_consumer_killed_while_it_answers_keeps_no_batch_from_a_living_one_test_() ->
    [{timeout, 900, {atom_to_list(Storage), fun() -> nothing_is_kept(Storage, Holds) end}} || {Storage, Holds} <- [{delivery, 2}, {notices, 1}]].

%% The consumer is this process. It has as many outstanding batches as it may have, and one more is parked. Other processes answer for it, and
%% their answers then send it the parked batch.
nothing_is_kept(Storage, Holds) ->
    {ok, P} = ?C:start(#{batch_size => 1, max_in_flight => Holds + 1, retry_initial_us => 0}, Storage),
    [ok = ?C:capture(P, 1, an_event) || _ <- lists:seq(1, Holds)],
    ok = ?C:attach(P),
    Held = [batch(P) || _ <- lists:seq(1, Holds)],
    {Rejected, Recalled, Rest} = rounds(P, Held, [], 0),
    Stored = [store(P, Batch) || Batch <- Rest],
    ok = ?C:flush(P, ?PATIENCE),
    ?assertEqual(none, receive {capture_batch, P, _, _, _, _, _} = More -> More after 0 -> none end),
    Captured = length(Rejected) + Holds,
    ?assertEqual(Captured, length(lists:usort(Rejected ++ Stored))),
    %% (Each recall is one more attempt.)
    {ok, M} = ?C:metrics(P),
    ?assertEqual(
        {Captured, Holds, length(Rejected), 0, Recalled},
        {maps:get(captured, M), maps:get(stored, M), maps:get(dead_lettered, M), maps:get(discarded, M), maps:get(retries, M)}
    ),
    ?assertEqual([0, 0, 0, 0], [maps:get(K, M) || K <- [buffered, in_flight, in_doubt, batches_handed]]),
    ok = ?C:close(P, ?PATIENCE).

%% In each round the next event comes to the consumer, from a living sender or a dead one; until that has been dead
%% often enough.
rounds(_P, Held, Rejected, Recalled) when Recalled >= ?RECALLS ->
    {Rejected, Recalled, Held};
rounds(P, [{Token, Id, _} | Held], Rejected, Recalled) ->
    ok = ?C:capture(P, 1, an_event),
    killed_while_it_answers(P, Token),
    {_, _, Attempt} = Next = batch(P),
    rounds(P, Held ++ [Next], [Id | Rejected], Recalled + Attempt - 1).

%% Killed when it has unparked the batch, whose message it sends after it has rejected the event with the longest possible list.
killed_while_it_answers(P, Token) ->
    await:until(fun() -> parked(P) =:= 1 end, ?PATIENCE),
    {Pid, Monitor} = spawn_monitor(fun() -> ok = ?C:complete(P, Token, {ok, lists:duplicate(65536, 0)}) end),
    kill_when_none_is_parked(P, Pid, Monitor).

kill_when_none_is_parked(P, Pid, Monitor) ->
    receive
        {'DOWN', Monitor, process, Pid, Why} -> normal = Why
    after 0 ->
        case parked(P) of
            0 -> exit(Pid, kill), receive {'DOWN', Monitor, process, Pid, _} -> ok end;
            _ -> kill_when_none_is_parked(P, Pid, Monitor)
        end
    end.

parked(P) ->
    {ok, #{batches_parked := Parked}} = ?C:metrics(P),
    Parked.

batch(P) ->
    receive
        {capture_batch, P, Token, Id, Attempt, _, _} -> {Token, Id, Attempt}
    after ?PATIENCE -> error(silent)
    end.

store(P, {Token, Id, _}) ->
    ok = ?C:complete(P, Token, ok),
    Id.
