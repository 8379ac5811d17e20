%% Batches as notices, whose events the consumer reads: the name of each test is a promise.
-module(notices_tests).
-include_lib("eunit/include/eunit.hrl").
-define(C, elixir_scope_capture_pipeline).

started(Config) ->
    {ok, P} = ?C:start(Config, notices),
    P.

notice(P) ->
    receive
        {capture_batch, P, Token, Id, Attempt, Count, _} -> {Token, Id, Attempt, Count}
    after 120000 -> error(no_notice)
    end.

closed(P) -> ?C:close(P, 120000).

a_notice_has_the_number_of_the_events_that_its_consumer_reads_test() ->
    P = started(#{}),
    Terms = [{term, N, <<N:64>>, #{n => N}} || N <- lists:seq(1, 10)],
    [ok = ?C:capture(P, 3, T) || T <- Terms],
    ok = ?C:attach(P),
    {Token, _, 1, 10} = notice(P),
    Events = ?C:events(P, Token),
    ?assertEqual(Terms, consumer:payloads(Events)),
    %% Repeatedly.
    ?assertEqual(Events, ?C:events(P, Token)),
    ok = ?C:complete(P, Token, ok),
    ?assertEqual({error, unknown_token}, ?C:events(P, Token)),
    ok = closed(P).

a_batch_of_more_than_one_call_comes_whole_and_in_order_test() ->
    P = started(#{batch_size => 2000, ring_bytes => 16 bsl 20, batch_bytes => 16 bsl 20}),
    Numbers = [{N, binary:copy(<<"x">>, N rem 3000)} || N <- lists:seq(1, 2000)],
    [ok = ?C:capture(P, T) || T <- Numbers],
    ok = ?C:attach(P),
    ?assertEqual(Numbers, all_of(P, 2000, [])),
    ok = closed(P).

all_of(_, 0, Before) ->
    lists:append(lists:reverse(Before));
all_of(P, Left, Before) ->
    {Token, _, _, Count} = notice(P),
    Events = ?C:events(P, Token),
    ?assertEqual(Count, length(Events)),
    ok = ?C:complete(P, Token, ok),
    all_of(P, Left - Count, [consumer:payloads(Events) | Before]).

a_large_event_is_copied_too_test() ->
    P = started(#{max_event_bytes => 1 bsl 21, ring_bytes => 16 bsl 20}),
    Large = {large, lists:seq(1, 50000)},
    ok = ?C:capture(P, Large),
    ok = ?C:capture(P, small),
    ok = ?C:attach(P),
    ?assertEqual([Large, small], all_of(P, 2, [])),
    ok = closed(P).

only_the_consumer_of_a_batch_reads_its_events_test() ->
    P = started(#{}),
    ok = ?C:capture(P, {event, 1}),
    ok = ?C:attach(P),
    {Token, _, _, 1} = notice(P),
    Self = self(),
    spawn_link(fun() -> Self ! {other, ?C:events(P, Token)} end),
    ?assertEqual({error, unknown_token}, receive {other, Answer} -> Answer end),
    ?assertEqual({error, badarg}, ?C:events(P, not_a_token)),
    ?assertEqual({error, badarg}, ?C:events(make_ref(), Token)),
    ?assertEqual({error, unknown_token}, ?C:events(P, Token + 1)),
    ok = ?C:complete(P, Token, ok),
    ok = closed(P).

%% The batch must be returned only after the copy has ended. Only AddressSanitizer shows a failure, because otherwise the memory is still there.
a_batch_that_a_dead_consumer_was_reading_goes_to_the_next_test_() ->
    {timeout, 900, fun() ->
        P = started(#{max_event_bytes => 1 bsl 20, ring_bytes => 64 bsl 20, batch_size => 8, retry_initial_us => 100, retry_max_us => 1000}),
        Terms = [{N, lists:seq(1, 20000)} || N <- lists:seq(1, 32)],
        [ok = ?C:capture(P, T) || T <- Terms],
        %% Copied on dirty schedulers, by processes that are killed at random moments.
        [killed_while_copying(P, Round) || Round <- lists:seq(1, 60)],
        ok = ?C:attach(P),
        Got = lists:sort(all_of(P, 32, [])),
        ?assertEqual(Terms, Got),
        {ok, #{captured := 32, stored := 32, in_flight := 0}} = ?C:metrics(P),
        ok = closed(P)
    end}.

killed_while_copying(P, Round) ->
    Self = self(),
    {Pid, Monitor} = spawn_monitor(fun() ->
        ok = ?C:attach(P),
        copying(P, Self)
    end),
    receive {Pid, begins} -> ok end,
    busy(Round * 20000),
    exit(Pid, kill),
    receive {'DOWN', Monitor, _, _, killed} -> ok end.

copying(P, To) ->
    receive
        {capture_batch, P, Token, _, _, _, _} ->
            To ! {self(), begins},
            _ = [?C:events(P, Token) || _ <- lists:seq(1, 5)],
            copying(P, To)
    end.

%% While a consumer reads a batch, an answer of another process gets unknown_token. Repeated until that has been seen.
an_answer_by_another_process_during_a_read_has_no_effect_test_() ->
    {timeout, 900, fun() ->
        P = started(#{max_event_bytes => 1 bsl 20, ring_bytes => 64 bsl 20, batch_size => 4}),
        Self = self(),
        {Other, Monitor} = spawn_monitor(fun() -> answering(P, Self, 0) end),
        ok = ?C:attach(P),
        Rounds = rounds(P, Other, 1),
        receive {'DOWN', Monitor, _, _, done} -> ok end,
        Count = 64 * Rounds,
        ok = ?C:flush(P, 120000),
        ?assertMatch({ok, #{captured := Count, stored := Count, in_flight := 0}}, ?C:metrics(P)),
        ok = closed(P)
    end}.

rounds(P, Other, Round) ->
    Terms = [{N, lists:seq(N, N + 20000)} || N <- lists:seq(1, 64)],
    [ok = ?C:capture(P, T) || T <- Terms],
    ?assertEqual([], whole(P, Other, 64, []) -- Terms),
    Other ! {refused, self()},
    case receive {refused, Count} -> Count end of
        Few when Few < 10 -> rounds(P, Other, Round + 1);
        _ -> Other ! stop, Round
    end.

%% All payloads of the batches whose events the consumer read before the other process had answered them.
whole(_, _, 0, Got) ->
    Got;
whole(P, Other, Left, Got) ->
    {Token, _, _, Count} = notice(P),
    Other ! {answer, Token},
    Events = copied(P, Token, []),
    receive {answered, Token} -> ok end,
    whole(P, Other, Left - Count, consumer:payloads(Events) ++ Got).

copied(P, Token, Before) ->
    case ?C:events(P, Token) of
        {error, unknown_token} -> Before;
        Events -> copied(P, Token, Events)
    end.

answering(P, Face, Refused) ->
    receive
        {answer, Token} ->
            busy(rand:uniform(200000)),
            Again = until_answered(P, Token, 0),
            Face ! {answered, Token},
            answering(P, Face, Refused + Again);
        {refused, To} ->
            To ! {refused, Refused},
            answering(P, Face, Refused);
        stop ->
            exit(done)
    end.

until_answered(P, Token, Refused) ->
    case ?C:complete(P, Token, ok) of
        ok -> Refused;
        {error, unknown_token} -> erlang:yield(), until_answered(P, Token, Refused + 1)
    end.

the_next_notice_comes_with_the_answer_test() ->
    P = started(#{batch_size => 10, max_in_flight => 3}),
    [ok = ?C:capture(P, {n, N}) || N <- lists:seq(1, 30)],
    ok = ?C:attach(P),
    {First, Id, 1, 10} = notice(P),
    await:until(fun() -> waiting(P) =:= 2 end),
    {capture_batch, P, Second, Id2, 1, 10, {_, _}} = ?C:complete_next(P, First, ok),
    ?assert(Id2 > Id),
    ?assertEqual([{n, N} || N <- lists:seq(11, 20)], consumer:payloads(?C:events(P, Second))),
    ?assertEqual({error, unknown_token}, ?C:complete_next(P, First, ok)),
    %% With rejections, and without asking for the next batch: then that one comes as a message.
    ok = ?C:complete(P, Second, {ok, [0, 9]}),
    {Third, _, 1, 10} = notice(P),
    ok = ?C:complete_next(P, Third, ok),
    await:until(fun() -> maps:with([stored, dead_lettered, in_flight], element(2, ?C:metrics(P))) =:= #{stored => 28, dead_lettered => 2, in_flight => 0} end),
    nothing_came(P),
    ok = closed(P).

a_consumer_has_one_notice_at_a_time_test() ->
    P = started(#{batch_size => 10, max_in_flight => 3}),
    [ok = ?C:capture(P, {n, N}) || N <- lists:seq(1, 40)],
    ok = ?C:attach(P),
    {Token, _, _, 10} = notice(P),
    await:until(fun() -> waiting(P) =:= 2 end),
    ?assertMatch({ok, #{batches_handed := 1, batches_parked := 2}}, ?C:metrics(P)),
    nothing_came(P),
    {capture_batch, P, Next, _, _, 10, _} = ?C:complete_next(P, Token, retry),
    ?assertMatch({ok, #{batches_handed := 1}}, ?C:metrics(P)),
    ok = ?C:complete(P, Next, ok),
    ok = ?C:detach(P),
    ok = ?C:attach(P),
    %% The retried batch comes again with another token, and then the rest.
    ?assertEqual([{n, N} || N <- lists:seq(1, 10) ++ lists:seq(21, 40)], lists:sort(rest_of(P, 30))),
    ok = closed(P).

rest_of(_, 0) -> [];
rest_of(P, Left) ->
    {Token, _, _, Count} = notice(P),
    case ?C:events(P, Token) of
        %% A notice that was in the mailbox when the consumer detached.
        {error, unknown_token} ->
            rest_of(P, Left);
        Events ->
            ok = ?C:complete(P, Token, ok),
            consumer:payloads(Events) ++ rest_of(P, Left - Count)
    end.

%% An answer for the batch of another consumer returns no next batch.
the_next_notice_is_for_the_consumer_of_the_batch_only_test() ->
    P = started(#{batch_size => 10, max_in_flight => 2}),
    [ok = ?C:capture(P, {n, N}) || N <- lists:seq(1, 20)],
    ok = ?C:attach(P),
    {Token, _, _, 10} = notice(P),
    await:until(fun() -> waiting(P) =:= 1 end),
    {Pid, Monitor} = spawn_monitor(fun() -> exit({answer, ?C:complete_next(P, Token, ok)}) end),
    receive {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual({answer, ok}, Reason) end,
    {Second, _, _, 10} = notice(P),
    ok = ?C:complete_next(P, Second, ok),
    ok = closed(P).

%% The next batch is not claimed yet: the consumer claims it with its answer.
an_answer_is_exchanged_for_the_next_batch_test() ->
    P = started(#{batch_size => 10}),
    [ok = ?C:capture(P, {n, N}) || N <- lists:seq(1, 35)],
    ok = ?C:attach(P),
    {First, Id, 1, 10} = notice(P),
    sender_is_back(P),
    ?assertEqual([{n, N} || N <- lists:seq(1, 10)], exchanged(P, First, Id, 11)),
    ?assertMatch({ok, #{stored := 35, in_flight := 0, batches := 4, batches_handed := 0}}, ?C:metrics(P)),
    nothing_came(P),
    %% The writer claims later batches.
    ok = ?C:capture(P, later),
    {Last, _, 1, 1} = notice(P),
    ?assertEqual([later], consumer:payloads(?C:events(P, Last))),
    ok = ?C:complete_next(P, Last, ok),
    ok = closed(P).

%% The payloads of that batch. Checks the next batches, each of which is the answer to the one before.
exchanged(P, Token, Id, From) ->
    Payloads = consumer:payloads(?C:events(P, Token)),
    case ?C:complete_next(P, Token, ok) of
        ok ->
            ?assertEqual(36, From);
        {capture_batch, P, Next, NextId, 1, Count, {_, _}} ->
            ?assertEqual({Id + 1, min(10, 36 - From)}, {NextId, Count}),
            ?assertMatch({ok, #{batches_handed := 1, batches_parked := 0, in_flight := Count}}, ?C:metrics(P)),
            ?assertEqual([{n, N} || N <- lists:seq(From, From + Count - 1)], exchanged(P, Next, NextId, From + Count)),
            ?assertEqual({error, unknown_token}, ?C:complete_next(P, Token, ok))
    end,
    Payloads.

%% A returned batch, and one whose claim takes long, comes as a message.
a_batch_that_is_not_exchanged_comes_as_a_message_test() ->
    P = started(#{batch_size => 10}),
    [ok = ?C:capture(P, {n, N}) || N <- lists:seq(1, 20)],
    ok = ?C:attach(P),
    {First, Id, 1, 10} = notice(P),
    ok = ?C:complete_next(P, First, retry),
    {Again, Id, 2, 10} = notice(P),
    ok = ?C:update(P, #{batch_size => 5000}),
    ok = ?C:complete_next(P, Again, ok),
    {Second, _, 1, 10} = notice(P),
    ok = ?C:complete_next(P, Second, ok),
    ok = closed(P).

%% The batch that a consumer got in exchange is delivered again if the consumer dies.
an_exchanged_batch_outlives_its_consumer_test() ->
    P = started(#{batch_size => 10}),
    [ok = ?C:capture(P, {n, N}) || N <- lists:seq(1, 20)],
    {Pid, Monitor} = spawn_monitor(fun() ->
        ok = ?C:attach(P),
        {First, _, 1, 10} = notice(P),
        sender_is_back(P),
        exit(?C:complete_next(P, First, ok))
    end),
    Given = receive {'DOWN', Monitor, process, Pid, Reason} -> Reason end,
    {capture_batch, P, _, Id, 1, 10, _} = Given,
    ok = ?C:attach(P),
    {Again, Id, 2, 10} = notice(P),
    %% An answer that comes before `store' has returned is counted only then.
    sender_is_back(P),
    ?assertEqual([{n, N} || N <- lists:seq(11, 20)], consumer:payloads(?C:events(P, Again))),
    ok = ?C:complete_next(P, Again, ok),
    ?assertMatch({ok, #{stored := 20, retries := 1}}, ?C:metrics(P)),
    ok = closed(P).

%% An answer for the batch of another consumer is not exchanged.
an_answer_for_another_is_not_exchanged_test() ->
    P = started(#{batch_size => 10}),
    [ok = ?C:capture(P, {n, N}) || N <- lists:seq(1, 20)],
    ok = ?C:attach(P),
    {Token, _, _, 10} = notice(P),
    {Pid, Monitor} = spawn_monitor(fun() -> exit({answer, ?C:complete_next(P, Token, ok)}) end),
    receive {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual({answer, ok}, Reason) end,
    {Second, _, _, 10} = notice(P),
    ok = ?C:complete_next(P, Second, ok),
    ok = closed(P).

%% Waits until the library's thread has returned from the call that sent the notice: before that the batch is not exchanged.
sender_is_back(P) ->
    await:until(fun() -> {ok, #{state := State}} = ?C:writer_metrics(P, 0), State =/= in_call end).

waiting(P) ->
    {ok, #{batches_parked := Parked}} = ?C:metrics(P),
    Parked.

nothing_came(P) ->
    receive
        {capture_batch, P, _, _, _, _, _} = Message -> error({came, Message})
    after 0 -> ok
    end.

%% Work of varying length, so that each round kills at another moment.
busy(0) -> ok;
busy(N) -> busy(N - 1).
