%% Captures of all kinds of terms. The name of each test is a promise.
-module(capture_tests).
-include_lib("eunit/include/eunit.hrl").
-define(C, elixir_scope_capture_pipeline).

started() -> started(#{}).
started(Config) ->
    {ok, P} = ?C:start(Config),
    P.

terms() ->
    Big = 1 bsl 200,
    [
        x, [], 0, -1, 1 bsl 59, 1 bsl 60, Big, -Big, 1.5, -0.0, {}, {a}, [a], [a | b], [[[]]], "text", <<>>, <<1:1>>, <<5:3>>, <<1, 2, 3:7>>,
        <<"short">>, binary:copy(<<"x">>, 64), binary:copy(<<"x">>, 65), binary:copy(<<"x">>, 255), binary:copy(<<"x">>, 256),
        binary:copy(<<"x">>, 257), binary:copy(<<"x">>, 60000), binary:part(binary:copy(<<"abc">>, 5000), 7, 100),
        binary:part(binary:copy(<<"abc">>, 5000), 7, 1000), {binary:part(binary:copy(<<"abc">>, 5000), 7, 1000)},
        [<<1:9>>, binary:copy(<<"y">>, 1000)], self(), make_ref(), hd(erlang:ports()), fun lists:map/2, fun(A) -> A end,
        fun() -> {Big, self(), binary:copy(<<"z">>, 500)} end, #{}, #{a => 1}, #{a => #{b => [c, {d, <<"e">>}]}, {1, 2} => "x"},
        maps:from_list([{N, {N, N}} || N <- lists:seq(1, 500)]), lists:seq(1, 3000), list_to_tuple(lists:seq(1, 4000)),
        fun ?MODULE:test/0, [fun() -> Big end | fun() -> <<1:3>> end], erlang:make_tuple(100, [{a, <<"b">>}])
    ].

a_delivered_term_equals_the_captured_one_test() ->
    [begin
        P = started(#{max_event_bytes => 131072}),
        ok = ?C:capture(P, Term),
        Payload = consumer:one(P),
        ?assert(Payload =:= Term),
        Q = started(#{max_event_bytes => 131072}),
        ok = ?C:capture(Q, 1, Term, 2, 3),
        ?assert(consumer:one(Q) =:= Term),
        R = started(#{max_event_bytes => 131072}),
        ok = ?C:capture_event(R, #{payload => Term}),
        ?assert(consumer:one(R) =:= Term)
    end || Term <- terms()].

a_term_outlives_the_process_that_captured_it_test() ->
    P = started(),
    {Pid, Monitor} = spawn_monitor(fun() ->
        Text = binary:copy(<<"x">>, 5000),
        ok = ?C:capture(P, {self(), Text, fun() -> Text end})
    end),
    receive {'DOWN', Monitor, _, _, normal} -> ok end,
    garbage_collect(),
    {Pid, Text, Fun} = consumer:one(P),
    ?assertEqual(binary:copy(<<"x">>, 5000), Text),
    ?assertEqual(Text, Fun()).

a_slice_does_not_keep_its_whole_test() ->
    P = started(),
    garbage_collect(),
    Before = vm_memory:held(binary),
    Pid = spawn_link(fun() ->
        Whole = binary:copy(<<"x">>, 50000000),
        ok = ?C:capture(P, [binary:part(Whole, 5, 3000)]),
        ok = ?C:capture(P, binary:part(Whole, 5, 3000))
    end),
    Monitor = monitor(process, Pid),
    receive {'DOWN', Monitor, _, _, _} -> ok end,
    await:until(fun() -> vm_memory:held(binary) < Before + 1000000 end),
    ok = ?C:attach(P).

a_too_large_term_of_any_kind_is_refused_and_counted_test_() ->
    {timeout, 900, fun() ->
        P = started(),
        Huge = binary:copy(<<"x">>, 100000000),
        Large = [
            Huge, [Huge], {a, #{b => Huge}}, lists:seq(1, 1000000), list_to_tuple(lists:seq(1, 100000)), fun() -> Huge end,
            [nested(nested(lists:seq(1, 100000)))], 1 bsl 1000000, <<Huge/binary, 1:1>>,
            maps:from_list([{N, N} || N <- lists:seq(1, 100000)]), binary:copy(<<"x">>, 65537)
        ],
        [?assertEqual({error, too_large}, ?C:capture(P, Term)) || Term <- Large],
        [?assertEqual({error, too_large}, ?C:capture(P, 1, Term, 1, 1)) || Term <- Large],
        [?assertEqual({error, too_large, 0, [Term]}, ?C:capture_many(P, 1, [Term])) || Term <- Large],
        Count = 3 * length(Large),
        ?assertMatch({ok, #{refused_too_large := Count, offered := Count}}, ?C:metrics(P))
    end}.

%% A fun that holds it.
nested(Term) -> fun() -> Term end.

the_bound_is_exact_for_binaries_test() ->
    P = started(#{max_event_bytes => 1000}),
    ok = ?C:capture(P, binary:copy(<<"x">>, 1000)),
    ?assertEqual({error, too_large}, ?C:capture(P, binary:copy(<<"x">>, 1001))).

a_large_term_is_captured_where_it_is_allowed_test() ->
    P = started(#{ring_bytes => 1 bsl 26, max_event_bytes => 1 bsl 23}),
    Term = lists:seq(1, 100000),
    ok = ?C:capture(P, Term),
    ?assert(consumer:one(P) =:= Term),
    ok = ?C:detach(P),
    ok = ?C:capture_event(P, #{payload => {Term, fun() -> Term end}}),
    {Term, Fun} = consumer:one(P),
    ?assert(Fun() =:= Term),
    ?assertEqual({ok, 3}, ?C:capture_many(P, 1, [a, Term, b])).

the_highest_kind_is_as_good_as_any_test() ->
    P = started(),
    ok = ?C:capture(P, 16#7FFEFFFF, {a}),
    ok = ?C:capture(P, 16#7FFEFFFF, <<"b">>),
    ok = ?C:attach(P),
    ?assertEqual([{a}, <<"b">>], lists:sort(consumer:all(P, delivery, 2))).

wrong_arguments_are_refused_and_not_offered_test() ->
    P = started(),
    Kinds = [-1, 16#7FFF0000, 16#80000000, 1 bsl 32, 1 bsl 64, 1 bsl 70, x, 1.0, <<>>, [], {}, self()],
    Ids = [-1, 1 bsl 64, 1 bsl 70, x, 1.0, <<>>, [], {}, self()],
    [begin
        ?assertEqual({error, badarg}, ?C:capture(P, K, Payload)),
        ?assertEqual({error, badarg}, ?C:capture(P, K, Payload, 0, 0)),
        ?assertEqual({error, badarg}, ?C:capture_event(P, #{payload => Payload, kind => K})),
        ?assertEqual({error, badarg, 0, [Payload]}, ?C:capture_many(P, K, [Payload])),
        ?assertEqual({error, badarg}, ?C:capture_wait(P, K, Payload, 10))
    end || K <- Kinds, Payload <- [<<"x">>, x]],
    [begin
        ?assertEqual({error, badarg}, ?C:capture(P, 0, Payload, Id, 0)),
        ?assertEqual({error, badarg}, ?C:capture(P, 0, Payload, 0, Id)),
        ?assertEqual({error, badarg}, ?C:capture_event(P, #{payload => Payload, node_id => Id})),
        ?assertEqual({error, badarg}, ?C:capture_event(P, #{payload => Payload, timestamp_ns => Id}))
    end || Id <- Ids, Payload <- [<<"x">>, x]],
    [?assertEqual({error, badarg}, ?C:capture_event(P, W)) || W <- [x, #{}, [], [{payload, x}], self()]],
    [?assertEqual({error, badarg, 0, W}, ?C:capture_many(P, 0, W)) || W <- [x, 1, <<>>, {}, #{}]],
    ?assertMatch({ok, #{offered := 0}}, ?C:metrics(P)),
    ?assertMatch({error, badarg}, elixir_scope_capture_pipeline_nif:capture_event(P, x, 0, 0, 0, x, 0)),
    ?assertMatch({error, invalid}, elixir_scope_capture_pipeline_nif:capture_event(P, x, 0, 0, 0, 64, 0)),
    %% What says that the payload is a term, or a handle of one.
    [?assertMatch({error, badarg}, elixir_scope_capture_pipeline_nif:capture_event(P, <<"x">>, 0, 0, 0, Flag, 0)) || Flag <- [4, 8]],
    ?assertMatch({error, badarg}, elixir_scope_capture_pipeline_nif:capture_bound(P, x, 0, 0, 0, 0, 0, x, 0)),
    ?assertMatch({error, badarg}, elixir_scope_capture_pipeline_nif:capture_binary(P, 0, x)),
    ?assertMatch({error, badarg}, elixir_scope_capture_pipeline_nif:capture_binary(P, 0, <<1:1>>)),
    %% A wrong size affects only the charge.
    ok = elixir_scope_capture_pipeline_nif:capture_bound(P, {a, "list"}, 0, 0, 0, 0, 0, 0, 0),
    ?assertEqual({a, "list"}, consumer:one(P)).

many_are_captured_in_order_and_up_to_the_first_that_is_refused_test() ->
    P = started(#{batch_size => 10000, batch_bytes => 1 bsl 30}),
    List = [case N rem 4 of 0 -> N; 1 -> <<N:64>>; 2 -> {N, [N]}; 3 -> fun() -> N end end || N <- lists:seq(1, 3000)],
    ?assertEqual({ok, 3000}, ?C:capture_many(P, 1, List)),
    ?assertEqual({ok, 0}, ?C:capture_many(P, 1, [])),
    ?assertEqual({error, badarg, 2, c}, ?C:capture_many(P, 1, [a, b | c])),
    Q = started(#{ring_bytes => 4096}),
    {error, full, Captured, Rest} = ?C:capture_many(Q, 1, lists:seq(1, 1000)),
    ?assertEqual(lists:seq(Captured + 1, 1000), Rest),
    ok = ?C:attach(P),
    ?assertEqual(lists:sort(List ++ [a, b]), lists:sort(consumer:all(P, delivery, 3002))).

a_full_ring_drops_new_events_and_counts_them_test() ->
    P = started(#{ring_bytes => 4096, overflow => drop_newest}),
    Answers = [?C:capture(P, {some, "event", N}) || N <- lists:seq(1, 500)],
    Full = length([x || {error, full} <- Answers]),
    ?assert(Full > 0),
    ?assertEqual(500, Full + length([x || ok <- Answers])),
    ?assertMatch({ok, #{dropped_full := Full, offered := 500}}, ?C:metrics(P)).

waiting_for_space_is_bounded_and_ends_when_there_is_space_test() ->
    P = started(#{ring_bytes => 4096, overflow => block}),
    fill(P),
    ?assertEqual({error, full}, ?C:capture_wait(P, 0, x, 50)),
    ?assertEqual({error, full}, ?C:capture_wait(P, 0, x, 0)),
    Self = self(),
    spawn_link(fun() -> await:blocked([Self]), ok = ?C:attach(P), delivery_tests:answer(P) end),
    ?assertEqual(ok, ?C:capture_wait(P, 0, x, 10000)).

fill(P) ->
    case ?C:capture(P, x) of
        ok -> fill(P);
        {error, full} -> ok
    end.

more_threads_than_rings_share_one_test() ->
    P = started(#{max_rings => 1, batch_size => 10000, batch_bytes => 1 bsl 30}),
    Self = self(),
    Schedulers = erlang:system_info(schedulers),
    Pids = [spawn_opt(fun() -> [ok = ?C:capture(P, {S, N, "list", <<N:800>>}) || N <- lists:seq(1, 500)], Self ! {self(), ok} end, [link, {scheduler, S}])
            || S <- lists:seq(1, Schedulers)],
    [ok = delivery_tests:result(Pid) || Pid <- Pids],
    ok = ?C:attach(P),
    All = consumer:all(P, delivery, 500 * Schedulers),
    ?assertEqual(500 * Schedulers, length(lists:usort(All))).

a_capture_in_a_callback_of_the_vm_works_test() ->
    %% A dirty scheduler has a thread cache of its own.
    P = started(#{ring_bytes => 1 bsl 26, max_event_bytes => 1 bsl 23}),
    Term = lists:duplicate(50000, {a, b}),
    [ok = ?C:capture(P, Term) || _ <- lists:seq(1, 10)],
    ok = ?C:attach(P),
    All = consumer:all(P, delivery, 10),
    ?assert(lists:all(fun(T) -> T =:= Term end, All)).
