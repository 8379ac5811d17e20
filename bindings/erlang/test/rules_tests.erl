%% Rules, priority and sampling from Erlang. The name of each test is a promise.
-module(rules_tests).
-include_lib("eunit/include/eunit.hrl").
-define(C, elixir_scope_capture_pipeline).

started() -> started(#{}).
started(Config) ->
    {ok, P} = ?C:start(Config),
    P.

metric(P, Key) ->
    {ok, #{Key := Value}} = ?C:metrics(P),
    Value.

counts(P, Key) ->
    {ok, Rules} = ?C:rules(P),
    [maps:get(Key, Rule) || Rule <- Rules].

rules_are_set_as_data_and_as_text_alike_test() ->
    Data = [
        #{name => noise, drop => true, kinds => [7, 8], payload_bytes => {0, 15}},
        [{name, "known"}, {keep, true}, {correlation_ids, [5]}],
        #{sample => 1, tag => [1, 8], node_ids => any},
        #{name => <<"late">>, drop => true, kind_range => {100, 200}, payload_prefix => <<"ab">>, 'if' => "payload_bytes = 3"}
    ],
    Text = <<"noise: drop if kind in (7, 8) and payload_bytes < 16\nknown: keep if correlation_id = 5\nsample 1/1, tag 1, tag 8 if node_id\n"
        "late: drop if kind >= 100 and kind <= 200 and payload_bytes = 3 and payload contains \"ab\"">>,
    [begin
        P = started(),
        ok = ?C:set_rules(P, Rules),
        ?assertEqual([<<"noise">>, <<"known">>, <<>>, <<"late">>], counts(P, name)),
        ?assertEqual(
            [{error, dropped_by_rule}, ok, {error, dropped_by_rule}, ok, ok, {error, dropped_by_rule}, ok],
            [
                ?C:capture(P, 7, <<"short">>),
                ?C:capture(P, 7, <<"a payload of more than 15 bytes">>),
                ?C:capture(P, 8, <<>>, 5, 0),
                ?C:capture(P, 150, <<"abc">>, 5, 1),
                ?C:capture(P, 9, <<"short">>, 0, 3),
                ?C:capture(P, 150, <<"abc">>),
                ?C:capture(P, 150, <<"xbc">>)
            ]
        ),
        ?assertEqual([2, 1, 1, 1], counts(P, matched)),
        ?assertEqual([2, 0, 0, 1], counts(P, dropped)),
        {ok, #{offered := 7, captured := 4, dropped_rule := 3}} = ?C:metrics(P),
        ok = ?C:clear_rules(P),
        ?assertEqual({ok, []}, ?C:rules(P)),
        ok = ?C:capture(P, 7, <<"short">>)
    end || Rules <- [Data, Text]].

a_kind_is_the_callers_number_for_terms_of_every_form_and_for_bytes_test() ->
    Terms = [<<"bytes">>, {flat, term}, fun() -> block end, maps:from_list([{N, N} || N <- lists:seq(1, 100)]), <<1:3>>, immediate],
    [begin
        P = started(Config),
        ok = ?C:set_rules(P, <<"drop if kind = 7">>),
        [?assertEqual({error, dropped_by_rule}, ?C:capture(P, 7, Term)) || Term <- Terms],
        [ok = ?C:capture(P, 8, Term) || Term <- Terms],
        ok = ?C:attach(P),
        ?assertEqual(Terms, consumer:all(P, delivery, length(Terms))),
        ?assertEqual([length(Terms)], counts(P, dropped))
    end || Config <- [#{}, #{terms => blocks}]].

%% What it would zero are addresses of the VM.
a_rule_that_redacts_leaves_terms_alone_and_bytes_not_test() ->
    Terms = [{flat, <<"secret">>, [1.5]}, fun() -> block end, #{key => "value"}, maps:from_list([{N, N} || N <- lists:seq(1, 100)]), 1 bsl 200],
    [begin
        P = started(Config),
        ok = ?C:set_rules(P, [#{redact => [payload]}, #{redact => "payload[0..8]", priority => true, kinds => [1]}]),
        [ok = ?C:capture(P, Kind, Term) || Kind <- [1, 2], Term <- [<<"bytes">> | Terms]],
        ok = ?C:attach(P),
        Zeroed = <<0:40>>,
        ?assertEqual(lists:sort([Zeroed, Zeroed | Terms ++ Terms]), lists:sort(consumer:all(P, delivery, 2 * length(Terms) + 2)))
    end || Config <- [#{}, #{terms => blocks}]].

a_wrong_list_is_refused_as_a_whole_by_the_rule_the_key_and_what_was_expected_test() ->
    P = started(),
    ok = ?C:set_rules(P, <<"here: drop if kind = 1">>),
    Refused = fun(Rules) ->
        {error, {invalid, Text}} = ?C:set_rules(P, Rules),
        ?assertEqual([<<"here">>], counts(P, name)),
        binary_to_list(Text)
    end,
    ?assertEqual("rule 2 (b): drop: true or false expected, perhaps given", Refused([#{drop => true}, #{name => b, drop => perhaps}])),
    ?assertEqual("rule 1: color: is unknown", Refused([[{color, red}]])),
    ?assertEqual("rule 1: keep: true, trace or false expected, 1 given", Refused([#{keep => 1}])),
    ?assertEqual("rule 1: sample: an integer from 1 to 4294967295 expected, 0.5 given", Refused([#{sample => 0.5}])),
    ?assertEqual("rule 1: tag: tags from 1 to 8 expected, 9 given", Refused([#{tag => 9}])),
    ?assertEqual("rule 1: kinds: a list of kinds expected, 7 given", Refused([#{drop => true, kinds => 7}])),
    ?assertEqual("rule 1: node_ids: a list of ids, or any expected, [-1] given", Refused([#{drop => true, node_ids => [-1]}])),
    ?assertEqual("rule 1: payload_prefix: a binary expected, abc given", Refused([#{drop => true, payload_prefix => abc}])),
    ?assertEqual("rule 1: a map or a list of pairs expected, drop given", Refused([drop])),
    ?assertEqual("rules: a list expected", Refused(#{drop => true})),
    %% What only the library knows.
    Starts = fun(Rules, Text) -> ?assertEqual(Text, lists:sublist(Refused(Rules), length(Text))) end,
    Starts([#{drop => true}, #{name => c}], "rule 2 (c): an action is missing"),
    Starts([#{drop => true, keep => true}], "rule 1: drop stands alone"),
    Starts([#{drop => true, kinds => []}], "rule 1: kinds"),
    Starts([#{drop => true, kind_range => {5, 4}}], "rule 1: kind_"),
    Starts([#{sample => 1048577}], "rule 1: sample: 1/1 to 1/1048576 allowed"),
    Starts([#{drop => true, 'if' => "kind ="}], "rule 1: when: "),
    Starts([#{redact => "payload[3..1]"}], "rule 1: redact"),
    Starts([#{name => a, drop => true}, #{name => a, drop => true}], "rule 2 (a): rule 1 has the same name"),
    Starts(<<"drop if kind = 3\nerrors: tag 9">>, "line 2, column 13: rule 2 (errors): a tag from 1 to 8 expected, 9 found"),
    Starts(<<"what">>, "line 1, column 1: rule 1: an action"),
    {error, {limit, _}} = ?C:set_rules(P, binary:copy(<<"#">>, 4 bsl 20 + 1)),
    {error, badarg} = ?C:set_rules(P, <<"drop", 0>>),
    {error, badarg} = ?C:set_rules(P, [], #{dry => 1}),
    {error, badarg} = ?C:set_rules(P, [], #{wet => true}),
    ?assertEqual([<<"here">>], counts(P, name)).

a_dry_run_only_counts_test() ->
    P = started(),
    ok = ?C:set_rules(P, [#{name => one, dry => true, drop => true, kinds => [1]}, #{name => two, limit => {1, 1}}]),
    [ok = ?C:capture(P, 1, x) || _ <- lists:seq(1, 1)],
    ?assertEqual([true, false], counts(P, dry)),
    ok = ?C:set_rules(P, <<"drop if kind = 1\nlimit 1/s">>, #{dry => true}),
    [ok = ?C:capture(P, 1, x) || _ <- lists:seq(1, 10)],
    ?assertEqual([true, true], counts(P, dry)),
    ?assertEqual([10, 10], counts(P, matched)),
    ?assertEqual([0, 0], counts(P, dropped)),
    ?assert(lists:last(counts(P, limited)) >= 1),
    ?assertEqual(0, metric(P, dropped_rule)).

rules_come_from_a_file_that_is_read_again_when_asked_test() ->
    Path = filename:join(os:getenv("TMPDIR", "/tmp"), "capture_rules_" ++ os:getpid() ++ "_" ++ integer_to_list(erlang:unique_integer([positive]))),
    P = started(),
    try
        ok = file:write_file(Path, "first: drop if kind = 1\n"),
        ok = ?C:load_rules(P, Path),
        ?assertEqual([{<<"first">>, 1}], lists:zip(counts(P, name), counts(P, line))),
        ok = file:write_file(Path, "# a comment\nsecond: drop if kind = 2\n"),
        ?assertEqual([<<"first">>], counts(P, name)),
        ok = ?C:load_rules(P, list_to_binary(Path), #{dry => true}),
        ?assertEqual([{<<"second">>, 2}], lists:zip(counts(P, name), counts(P, line))),
        ok = file:write_file(Path, "third: dorp\n"),
        {error, {invalid, Text}} = ?C:load_rules(P, Path),
        ?assertMatch({_, _}, binary:match(Text, <<"line 1, column 8: rule 1 (third)">>)),
        {error, {system, _}} = ?C:load_rules(P, Path ++ ".missing"),
        {error, {invalid, _}} = ?C:load_rules(P, filename:dirname(Path)),
        {error, {badarg, path}} = ?C:load_rules(P, 7),
        ?assertEqual([<<"second">>], counts(P, name))
    after
        file:delete(Path)
    end.

a_rule_waits_for_the_kind_that_it_names_test() ->
    P = started(),
    ok = ?C:set_rules(P, <<"drop if kind = \"late\" and size > 3">>),
    ok = ?C:capture(P, 7, <<9:32/little>>),
    ?assertEqual([false], counts(P, active)),
    ?assertNotEqual([<<>>], counts(P, waits_for)),
    {ok, Kind} = elixir_scope_capture_pipeline_kind:new(7, #{name => late, fields => [{size, u32}]}),
    ok = ?C:kind_define(P, Kind),
    ?assertEqual([true], counts(P, active)),
    {error, dropped_by_rule} = ?C:capture(P, 7, <<9:32/little>>),
    ok = ?C:capture(P, 7, <<2:32/little>>),
    %% A term of that kind has no fields.
    ok = ?C:capture(P, 7, {9, 9, 9, 9}).

many_events_go_on_behind_those_that_a_rule_drops_test() ->
    P = started(),
    ok = ?C:set_rules(P, <<"drop if kind = 1">>),
    {ok, 700} = ?C:capture_many(P, 1, lists:duplicate(400, small) ++ [fun() -> N = self(), N end] ++ lists:duplicate(299, small)),
    {ok, #{offered := 700, dropped_rule := 700, captured := 0}} = ?C:metrics(P),
    {ok, 3} = ?C:capture_many(P, 2, [a, <<"b">>, c]),
    {ok, #{captured := 3}} = ?C:metrics(P).

captures_of_ten_processes_and_rules_that_change_leave_a_true_ledger_test_() ->
    {timeout, 900, fun() ->
        P = started(#{ring_bytes => 65536}),
        Pids = [spawn_monitor(fun() -> [?C:capture(P, N rem 5, {N, self()}) || N <- lists:seq(1, 3000)] end) || _ <- lists:seq(1, 10)],
        Sets = [[#{drop => true, kinds => [1]}], <<"sample 1/2\nredact payload\nkeep trace if kind = 3">>, [], [#{priority => true, limit => 1000}]],
        [ok = ?C:set_rules(P, Set) || _ <- lists:seq(1, 50), Set <- Sets],
        [receive {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason) end || {Pid, Monitor} <- Pids],
        {ok, M} = ?C:metrics(P),
        #{offered := 30000, captured := Captured, dropped_full := Full, dropped_sampled := Sampled, dropped_rule := Rule} = M,
        ?assertEqual(30000, Captured + Full + Sampled + Rule)
    end}.

ten_thousand_rules_and_no_more_test() ->
    P = started(),
    ok = ?C:set_rules(P, [#{drop => true, kinds => [N]} || N <- lists:seq(1, 10000)]),
    {error, dropped_by_rule} = ?C:capture(P, 10000, x),
    ok = ?C:capture(P, 10001, x),
    ?assertEqual(10000, length(counts(P, name))),
    {error, {Status, _}} = ?C:set_rules(P, [#{drop => true} || _ <- lists:seq(1, 10001)]),
    ?assert(Status =:= invalid orelse Status =:= limit),
    ?assertEqual(10000, length(counts(P, name))).

a_closed_pipeline_takes_no_rules_and_tells_those_that_it_had_test() ->
    P = started(),
    ok = ?C:set_rules(P, <<"a: drop if kind = 1">>),
    ok = ?C:attach(P),
    ok = ?C:close(P),
    {error, {closed, _}} = ?C:set_rules(P, <<"drop">>),
    {error, {closed, _}} = ?C:set_rules(P, [#{drop => true}]),
    {ok, [#{name := <<"a">>}]} = ?C:rules(P),
    ok = ?C:clear_rules(P).

attributes_are_kept_by_a_native_storage_test() ->
    Path = filename:join(os:getenv("TMPDIR", "/tmp"), "capture_attributes_" ++ os:getpid() ++ "_" ++ integer_to_list(erlang:unique_integer([positive])) ++ ".db"),
    {ok, P} = ?C:start(#{}, {sqlite, Path, #{}}),
    try
        ok = ?C:attribute(P, service, "shop"),
        ok = ?C:attribute(P, <<"host">>, <<"a">>),
        ok = ?C:attribute(P, host, <<"b">>),
        {error, {invalid, _}} = ?C:attribute(P, "7", "no name"),
        {error, {invalid, _}} = ?C:attribute(P, name, binary:copy(<<"x">>, 1025)),
        {error, badarg} = ?C:attribute(P, name, 7),
        ok = ?C:capture(P, 1, <<"x">>),
        ok = ?C:close(P, 60000),
        ?assertEqual("host|b\nservice|shop\n", os:cmd("sqlite3 " ++ Path ++ " 'SELECT name, value FROM run_attributes ORDER BY name'"))
    after
        [file:delete(Path ++ Suffix) || Suffix <- ["", "-wal", "-shm"]]
    end.

sampling_and_shares_are_options_of_start_and_update_test() ->
    P = started(#{sampling_max_weight => 16, sampling_traces => 64, sampling_hold_ms => 60000, sampling_seed => 3, share => 7, watermark_percent => 50}),
    {ok, #{sampling_max_weight := 16, sampling_traces := 64, sampling_hold_ms := 60000, sampling_seed := 3, share := 7}} = ?C:config(P),
    ok = ?C:update(P, #{sampling_max_weight => 4, share => 2}),
    {ok, #{sampling_max_weight := 4, share := 2}} = ?C:config(P),
    {error, {fixed, _}} = ?C:update(P, #{sampling_seed => 4}),
    {error, {invalid, _}} = ?C:update(P, #{sampling_max_weight => 3}),
    {error, {invalid, _}} = ?C:update(P, #{share => 0}),
    ok = ?C:limit_calls(3),
    ok = ?C:limit_calls(0),
    {error, badarg} = ?C:limit_calls(-1).

priority_events_find_room_and_come_first_test() ->
    P = started(#{ring_bytes => 65536}),
    Fill = fun Fill(N) ->
        case ?C:capture(P, 1, {ordinary, N, lists:seq(1, 50)}) of
            ok -> Fill(N + 1);
            {error, full} -> N
        end
    end,
    Self = self(),
    spawn_opt(
        fun() ->
            Ordinary = Fill(0),
            ok = ?C:capture_event(P, #{payload => {priority, flat}, priority => true}),
            ok = ?C:capture_event(P, #{payload => {priority, fun() -> Self end}, priority => true}),
            Self ! {ordinary, Ordinary}
        end,
        [link, {scheduler, 1}]
    ),
    Ordinary = receive {ordinary, N} -> N end,
    {ok, #{offered_priority := 2, captured_priority := 2, dropped_full_priority := 0}} = ?C:metrics(P),
    ok = ?C:attach(P),
    [{priority, flat}, {priority, _} | Rest] = consumer:all(P, delivery, Ordinary + 2),
    ?assertEqual(Ordinary, length([ok || {ordinary, _, _} <- Rest])),
    {ok, #{stored_priority := 2}} = ?C:metrics(P).
