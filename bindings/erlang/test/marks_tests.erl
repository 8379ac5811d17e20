%% Marks: the weight and the flags of delivered events. The name of each test is a promise.
-module(marks_tests).
-include_lib("eunit/include/eunit.hrl").
-define(C, elixir_scope_capture_pipeline).

%% [{Payload, Mark}] of so many events, in the order of delivery; `none' for an event without a mark. The process has attached.
marked(_P, _Storage, 0) ->
    [];
marked(P, Storage, Left) ->
    receive
        {capture_batch, P, Token, _, _, Given, Origin} ->
            Events =
                case Storage of
                    delivery -> Given;
                    notices -> ?C:events(P, Token)
                end,
            ok = ?C:complete(P, Token, ok),
            Marks =
                case Origin of
                    {_, _} -> #{};
                    {_, _, [_ | _] = List} -> maps:from_list([{Index, {Weight, ?C:flags(Flags)}} || {Index, Weight, Flags} <- List])
                end,
            Numbered = lists:zip(lists:seq(0, length(Events) - 1), consumer:payloads(Events)),
            [] = maps:keys(Marks) -- [Index || {Index, _} <- Numbered],
            [{Payload, maps:get(Index, Marks, none)} || {Index, Payload} <- Numbered] ++ marked(P, Storage, Left - length(Events))
    after 120000 -> error({missing, Left})
    end.

ways() -> [{Storage, Config} || Storage <- [delivery, notices], Config <- [#{}, #{terms => blocks}]].

a_batch_without_marks_has_nothing_added_test() ->
    [begin
        {ok, P} = ?C:start(Config, Storage),
        [ok = ?C:capture(P, 1, {N, fun() -> N end}, N, N) || N <- lists:seq(1, 10)],
        ok = ?C:capture_event(P, #{payload => own, timestamp_ns => 5}),
        ok = ?C:attach(P),
        receive
            {capture_batch, P, Token, _, _, _, Origin} ->
                ?assertMatch({Generation, Offset} when is_integer(Generation) andalso is_integer(Offset), Origin),
                ok = ?C:complete(P, Token, ok)
        after 120000 -> error(no_batch)
        end
    end || {Storage, Config} <- ways()].

tags_priority_and_weights_come_with_the_event_that_has_them_test() ->
    Terms = [{flat, 1}, fun() -> 2 end, <<"bytes">>, maps:from_list([{N, N} || N <- lists:seq(1, 100)])],
    [begin
        {ok, P} = ?C:start(Config, Storage),
        ok = ?C:set_rules(P, <<"priority if kind = 3\ntag 1, tag 8 if kind = 4\nkeep if kind = 5">>),
        [ok = ?C:capture(P, Kind, {Kind, Term}) || Kind <- [1, 3, 4, 5], Term <- Terms],
        [ok = ?C:capture_event(P, #{payload => {6, Term}, priority => true, timestamp_ns => 7}) || Term <- Terms],
        ok = ?C:attach(P),
        Marked = marked(P, Storage, 20),
        Expected = #{1 => none, 3 => {1, [priority]}, 4 => {1, [{tag, 1}, {tag, 8}]}, 5 => none, 6 => {1, [priority]}},
        ?assertEqual(20, length(Marked)),
        [?assertEqual({Kind, maps:get(Kind, Expected)}, {Kind, Mark}) || {{Kind, _}, Mark} <- Marked]
    end || {Storage, Config} <- ways()].

the_weights_of_what_is_kept_add_up_to_about_what_was_offered_test_() ->
    {timeout, 900, fun() ->
        [begin
            {ok, P} = ?C:start(Config#{ring_bytes => 1 bsl 24}, Storage),
            ok = ?C:set_rules(P, [#{name => rest, sample => 16, tag => 2}]),
            Offered = 20000,
            Answers = [?C:capture(P, 1, {N, x}, N, 0) || N <- lists:seq(1, Offered)],
            Kept = length([ok || ok <- Answers]),
            ?assertEqual([], [A || A <- Answers, A =/= ok, A =/= {error, sampled}]),
            {ok, #{dropped_sampled := Sampled, captured := Kept}} = ?C:metrics(P),
            ?assertEqual(Offered, Kept + Sampled),
            ok = ?C:attach(P),
            Marked = marked(P, Storage, Kept),
            ?assertEqual([{16, [{tag, 2}]}], lists:usort([Mark || {_, Mark} <- Marked])),
            Estimate = lists:sum([Weight || {_, {Weight, _}} <- Marked]),
            %% Six standard deviations of a binomial count.
            ?assert(abs(Estimate - Offered) < 6 * math:sqrt(Offered * 15)),
            {ok, [#{sampled_out := Sampled, matched := Offered}]} = ?C:rules(P)
        end || {Storage, Config} <- ways()]
    end}.

the_marks_are_the_same_when_a_batch_comes_again_test() ->
    [begin
        {ok, P} = ?C:start(#{retry_initial_us => 1}, Storage),
        ok = ?C:set_rules(P, <<"tag 3 if kind = 1">>),
        [ok = ?C:capture(P, N rem 2, {N, x}) || N <- lists:seq(1, 7)],
        ok = ?C:attach(P),
        First = receive {capture_batch, P, Token, _, 1, _, Origin} -> ok = ?C:complete(P, Token, retry), Origin after 120000 -> error(no_batch) end,
        Second = receive {capture_batch, P, _, _, 2, _, Again} -> Again after 120000 -> error(no_batch) end,
        ?assertMatch({_, _, [{0, 1, _}, {2, 1, _}, {4, 1, _}, {6, 1, _}]}, First),
        ?assertEqual(First, Second)
    end || Storage <- [delivery, notices]].

%% Batches that wait for a consumer, and those that a consumer claims in its answer.
parked_and_exchanged_batches_have_their_marks_test() ->
    {ok, P} = ?C:start(#{batch_size => 10}, notices),
    ok = ?C:set_rules(P, <<"tag 5 if correlation_id = 3">>),
    ok = ?C:attach(P),
    [ok = ?C:capture(P, 1, {N, x}, N rem 10, 0) || N <- lists:seq(1, 1000)],
    Loop = fun
        Loop({capture_batch, _, Token, _, _, Count, Origin}, Left, Marks) ->
            Threes = length([N || {{N, x}, _, _, _, _, 3, _} <- ?C:events(P, Token)]),
            Found =
                case Origin of
                    {_, _} -> 0;
                    {_, _, List} -> length([ok || {_, 1, Flags} <- List, ?C:flags(Flags) =:= [{tag, 5}]])
                end,
            ?assertEqual(Threes, Found),
            case ?C:complete_next(P, Token, ok) of
                ok when Left =:= Count -> Marks + Found;
                ok -> receive {capture_batch, P, _, _, _, _, _} = Next -> Loop(Next, Left - Count, Marks + Found) after 120000 -> error(Left) end;
                Next -> Loop(Next, Left - Count, Marks + Found)
            end
    end,
    First = receive {capture_batch, P, _, _, _, _, _} = Batch -> Batch after 120000 -> error(no_batch) end,
    ?assertEqual(100, Loop(First, 1000, 0)).

flags_have_names_test() ->
    ?assertEqual([], ?C:flags(0)),
    ?assertEqual([], ?C:flags(2 bor 4 bor 8)),
    ?assertEqual([priority, partial, transformed, {tag, 1}, {tag, 8}], ?C:flags(16#FFFFFFFF) -- [{tag, N} || N <- lists:seq(2, 7)]).
