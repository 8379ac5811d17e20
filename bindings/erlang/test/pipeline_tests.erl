%% Start and end of a pipeline, its configuration, its figures: the name of each test is a promise.
-module(pipeline_tests).
-include_lib("eunit/include/eunit.hrl").
-define(C, elixir_scope_capture_pipeline).

started() -> started(#{}).
started(Config) ->
    {ok, P} = ?C:start(Config),
    P.

%% ---- configuration ----

every_field_is_taken_by_its_name_and_read_back_test() ->
    Given = #{
        batch_size => 7, batch_bytes => 4097, linger_us => 11, poll_interval_ms => 50, max_in_flight => 9,
        max_in_doubt => 5, ring_bytes => 65536, priority_ring_bytes => 8192, max_rings => 12, max_retired_rings => 3, max_event_bytes => 1000,
        overflow => drop_oldest, ordering => per_producer, block_timeout_us => 99, retry_limit => 17,
        retry_initial_us => 21, retry_max_us => 22, retry_max_age_ms => 23, storage_deadline_ms => 24,
        exit_timeout_ms => 25, breaker_failures => 26, clock => monotonic, writer_class => other,
        writer_priority => 0, writer_nice => 1, writer_slice_us => 200
    },
    {ok, Read} = ?C:config(started(Given#{name => "a name"})),
    ?assertEqual(Given, maps:with(maps:keys(Given), Read)).

the_defaults_are_those_of_processes_that_decide_on_retries_test() ->
    {ok, Read} = ?C:config(started()),
    ?assertMatch(
        #{ring_bytes := 1048576, max_event_bytes := 65536, overflow := drop_newest, breaker_failures := 0,
            retry_limit := 16#FFFFFFFF},
        Read
    ).

an_invalid_option_is_named_by_its_key_test() ->
    Bad = [
        {#{batch_sise => 5}, batch_sise}, {#{batch_size => -1}, batch_size}, {#{batch_size => x}, batch_size},
        {#{batch_size => 1.0}, batch_size}, {#{batch_size => 1 bsl 32}, batch_size},
        {#{ring_bytes => 1 bsl 64}, ring_bytes}, {#{overflow => sideways}, overflow}, {#{overflow => 1}, overflow},
        {#{name => 17}, name}, {#{name => <<"a", 0, "b">>}, name}, {#{name => binary:copy(<<"x">>, 256)}, name},
        {#{name => [a | b]}, name}, {#{name => fun() -> ok end}, name}, {#{"batch_size" => 1}, "batch_size"},
        {#{struct_size => 1}, struct_size}, {#{flags => 1}, flags}, {#{writers => 2}, writers},
        {#{max_writers => 2}, max_writers}, {#{writer_class => fair}, writer_class}, {#{writer_cpus => 0}, writer_cpus},
        {#{writer_nice => 1.0}, writer_nice}, {#{writer_nice => 1 bsl 31}, writer_nice}, {not_a_map, config}, {[], config},
        {#{terms => flat}, terms}, {#{terms => 1}, terms}
    ],
    [?assertEqual({Config, {error, {badarg, Key}}}, {Config, ?C:start(Config)}) || {Config, Key} <- Bad].

a_value_out_of_range_is_refused_with_a_text_test() ->
    ?assertMatch({error, {invalid, <<"pipeline_config_t.batch_size", _/binary>>}}, ?C:start(#{batch_size => 0})),
    ?assertMatch({error, {invalid, _}}, ?C:start(#{ring_bytes => 5000})),
    ?assertMatch({error, {invalid, <<"pipeline_config_t.writer_cpus", _/binary>>}}, ?C:start(#{writer_cpus => "0-"})),
    ?assertMatch({error, {invalid, <<"pipeline_config_t.writer_nice", _/binary>>}}, ?C:start(#{writer_nice => 20})),
    ?assertMatch({error, {storage, <<"pipeline_config_t.ring_dir", _/binary>>}}, ?C:start(#{ring_dir => <<"/nowhere/rings">>})),
    sqlite_tests:with_file(fun(Path) -> ?assertMatch({error, {invalid, _}}, ?C:start(#{writers => 257}, {sqlite, Path, #{}})) end).

an_invalid_storage_is_refused_test() ->
    Bad = [nothing, {sqlite, "x"}, {sqlite, "x", #{}, 1}, {other, "x", #{}}, self(), fun() -> ok end, <<>>, 1],
    [?assertEqual({S, {error, {badarg, storage}}}, {S, ?C:start(#{}, S)}) || S <- Bad],
    [?assertEqual({S, {error, {badarg, path}}}, {S, ?C:start(#{}, {sqlite, S, #{}})}) || S <- [1, <<>>, {}, [1 | 2], <<"a", 0>>, [-1]]],
    ?assertEqual({error, {badarg, storage}}, ?C:start(#{}, {sqlite, "x.db", nope})),
    ?assertEqual({error, {badarg, cache}}, ?C:start(#{}, {sqlite, "x.db", #{cache => 1}})),
    ?assertEqual({error, {badarg, no_indexes}}, ?C:start(#{}, {sqlite, "x.db", #{no_indexes => 1}})),
    ?assertMatch({error, {invalid, <<"pipeline_sqlite_options_t.file_mode", _/binary>>}}, ?C:start(#{}, {sqlite, "x.db", #{file_mode => 8#755}})),
    ?assertMatch({error, {storage, _}}, ?C:start(#{}, {sqlite, "/nowhere/at/all.db", #{}})),
    ?assertNot(filelib:is_file("x.db")).

update_changes_fields_and_names_a_fixed_one_test() ->
    P = started(),
    ok = ?C:update(P, #{batch_size => 3, overflow => drop_oldest, max_in_flight => 1}),
    ?assertMatch({ok, #{batch_size := 3, overflow := drop_oldest, max_in_flight := 1}}, ?C:config(P)),
    ?assertMatch({error, {fixed, <<"pipeline_config_t.ring_bytes", _/binary>>}}, ?C:update(P, #{ring_bytes => 65536, batch_size => 9})),
    ?assertEqual({error, {badarg, nope}}, ?C:update(P, #{nope => 1})),
    ?assertEqual({error, {badarg, config}}, ?C:update(P, 17)),
    ?assertEqual({error, {badarg, writers}}, ?C:update(P, #{writers => 1})),
    ?assertMatch({ok, #{batch_size := 3}}, ?C:config(P)).

the_configuration_has_the_name_test() ->
    [begin
        {ok, P} = ?C:start(Config, notices),
        {ok, #{name := Name}} = ?C:config(P),
        ok = ?C:update(P, #{name => Name}),
        {error, {fixed, _}} = ?C:update(P, #{name => "another"})
    end || {Config, Name} <- [{#{}, <<"pipeline">>}, {#{name => shop}, <<"shop">>}, {#{name => "Käse"}, <<"Käse"/utf8>>}]].

block_is_shown_as_it_was_given_test() ->
    P = started(#{overflow => block, ring_bytes => 4096}),
    ?assertMatch({ok, #{overflow := block}}, ?C:config(P)),
    %% and no capture waits in the NIF
    {Time, _} = timer:tc(fun() -> [?C:capture(P, N) || N <- lists:seq(1, 1000)] end),
    ?assert(Time < 5000000),
    ?assertEqual({error, full}, ?C:capture(P, x)),
    ok = ?C:update(P, #{overflow => drop_newest}),
    ?assertMatch({ok, #{overflow := drop_newest}}, ?C:config(P)).

%% ---- control and figures ----

the_version_is_the_librarys_test() ->
    {Number, Text} = ?C:version(),
    [Major, Minor, Patch] = [binary_to_integer(N) || N <- binary:split(Text, <<".">>, [global])],
    ?assertEqual(Number, Major * 1000000 + Minor * 1000 + Patch).

metrics_have_every_field_of_the_header_test() ->
    {ok, M} = ?C:metrics(started()),
    ?assertEqual([], fields("pipeline_metrics_t") -- [atom_to_list(K) || K <- maps:keys(M)]),
    ?assert(lists:all(fun(V) -> is_number(V) orelse is_atom(V) end, maps:values(M))).

health_has_every_field_of_the_header_test() ->
    {ok, H} = ?C:health(started()),
    ?assertEqual([], fields("pipeline_health_t") -- [atom_to_list(K) || K <- maps:keys(H)]).

config_has_every_field_of_the_header_test() ->
    {ok, C} = ?C:config(started()),
    ?assertEqual(["flags", "ring_dir", "writer_cpus"], lists:sort(fields("pipeline_config_t") -- [atom_to_list(K) || K <- maps:keys(C)])).

fields(Struct) ->
    {ok, Header} = file:read_file(header()),
    {match, [Body]} = re:run(Header, "\nstruct " ++ Struct ++ " \\{(.*?)\n\\};", [dotall, {capture, all_but_first, list}]),
    Bare = re:replace(Body, "/\\*.*?\\*/", "", [dotall, global, {return, list}]),
    {match, Names} = re:run(Bare, "(\\w+)(\\[\\d+\\])?;", [global, {capture, [1], list}]),
    [N || [N] <- Names] -- ["struct_size", "reserved", "reserved3"].

header() -> header(filename:dirname(code:which(?MODULE))).
header(Directory) ->
    case filelib:is_file(filename:join([Directory, "include", "capture_pipeline.h"])) of
        true -> filename:join([Directory, "include", "capture_pipeline.h"]);
        false -> header(filename:dirname(Directory))
    end.

health_tells_of_a_pipeline_without_processes_test() ->
    P = started(),
    ?assertMatch({ok, #{status := degraded, reasons := [no_writers], message := <<"no process", _/binary>>}}, health(P)),
    ok = ?C:attach(P),
    ?assertMatch({ok, #{status := healthy, reasons := []}}, health(P)),
    ok = ?C:pause(P),
    ?assertMatch({ok, #{status := degraded, reasons := [paused]}}, health(P)),
    ok = ?C:resume(P),
    ?assertMatch({ok, #{status := healthy}}, health(P)),
    ok = ?C:detach(P),
    ?assertMatch({ok, #{reasons := [no_writers]}}, health(P)).

%% Where membarrier(2) is refused, that is always one of the reasons.
health(P) ->
    {ok, #{reasons := Reasons} = H} = ?C:health(P),
    case Reasons -- [no_membarrier] of
        [] -> {ok, H#{status := healthy, reasons := []}};
        Others -> {ok, H#{reasons := Others}}
    end.

the_writers_follow_the_processes_and_are_not_to_be_scaled_test() ->
    P = started(),
    ?assertMatch({error, {unsupported, _}}, ?C:scale(P, 2)),
    ok = ?C:attach(P),
    ok = ?C:attach(P),
    ?assertMatch({ok, #{faces := 1, writers_target := 1}}, ?C:metrics(P)),
    ?assertMatch({ok, #{writer_id := _, state := _}}, ?C:writer_metrics(P, 0)),
    ?assertMatch({error, {not_found, _}}, ?C:writer_metrics(P, 99)).

a_pause_by_the_owner_outlasts_an_attach_test() ->
    P = started(),
    ok = ?C:pause(P),
    ok = ?C:attach(P),
    ok = ?C:capture(P, x),
    %% The passing of time is the subject: nothing comes for as long as the pause lasts.
    ?assertEqual(nothing, receive {capture_batch, P, _, _, _, _, _} -> something after 50 -> nothing end),
    ok = ?C:resume(P),
    ?assertEqual(something, receive {capture_batch, P, _, _, _, _, _} -> something after 120000 -> nothing end).

close_tells_what_is_left_and_may_be_repeated_test() ->
    P = started(),
    ok = ?C:capture(P, x),
    ?assertMatch({error, {timeout, _}}, ?C:close(P, 20)),
    ?assertEqual({error, closed}, ?C:capture(P, y)),
    ?assertEqual({error, closed}, ?C:capture(P, <<"y">>)),
    {ok, M} = ?C:metrics(P),
    ?assertEqual(1, maps:get(left, M) + maps:get(in_flight, M) + maps:get(buffered, M)),
    spawn_link(fun() -> ok = ?C:attach(P), delivery_tests:answer(P) end),
    ok = ?C:close(P, 10000),
    ?assertMatch({ok, #{stored := 1, left := 0, in_flight := 0, buffered := 0}}, ?C:metrics(P)).

a_closed_pipeline_answers_closed_test() ->
    P = started(),
    ok = ?C:close(P),
    ?assertMatch({error, {closed, _}}, ?C:close(P)),
    ?assertMatch({error, {closed, _}}, ?C:flush(P)),
    ?assertMatch({error, {closed, _}}, ?C:pause(P)),
    ?assertMatch({error, {closed, _}}, ?C:update(P, #{batch_size => 1})),
    ?assertMatch({error, {closed, _}}, ?C:attach(P)),
    ?assertEqual(ok, ?C:detach(P)),
    ?assertEqual({error, closed}, ?C:capture(P, self())),
    ?assertEqual({error, closed, 0, [1, 2]}, ?C:capture_many(P, 1, [1, 2])),
    ?assertEqual({error, unknown_token}, ?C:complete(P, 1, ok)),
    ?assertMatch({ok, #{refused_closed := 2}}, ?C:metrics(P)),
    ?assertMatch({ok, #{reasons := [closed]}}, health(P)).

%% ---- wrong arguments ----

every_function_refuses_a_term_that_is_no_pipeline_test() ->
    {ok, Cursor} = elixir_scope_capture_pipeline_nif:cursor_new(none),
    Calls = [
        fun(P) -> ?C:close(P) end, fun(P) -> ?C:capture(P, x) end, fun(P) -> ?C:capture(P, <<"x">>) end,
        fun(P) -> ?C:capture(P, 1, x, 2, 3) end, fun(P) -> ?C:capture(P, 1, <<>>, 2, 3) end,
        fun(P) -> ?C:capture_event(P, #{payload => x}) end, fun(P) -> ?C:capture_wait(P, 0, x, 10) end,
        fun(P) -> ?C:attach(P) end, fun(P) -> ?C:detach(P) end, fun(P) -> ?C:complete(P, 1, ok) end,
        fun(P) -> ?C:scale(P, 1) end, fun(P) -> ?C:flush(P) end, fun(P) -> ?C:pause(P) end,
        fun(P) -> ?C:resume(P) end, fun(P) -> ?C:update(P, #{}) end, fun(P) -> ?C:kind_name(P, 1, "x") end,
        fun(P) -> ?C:config(P) end, fun(P) -> ?C:metrics(P) end, fun(P) -> ?C:writer_metrics(P, 0) end,
        fun(P) -> ?C:health(P) end
    ],
    Wrong = [x, 1, 1 bsl 70, 1.0, <<>>, <<1:3>>, [], [a | b], {}, #{}, self(), make_ref(), Cursor, fun() -> ok end, hd(erlang:ports())],
    [?assertEqual({W, N, {error, badarg}}, {W, N, Call(W)}) || W <- Wrong, {N, Call} <- lists:zip(lists:seq(1, length(Calls)), Calls)],
    [?assertEqual({error, badarg, 0, [1]}, ?C:capture_many(W, 1, [1])) || W <- Wrong].

wrong_arguments_of_control_are_refused_test() ->
    P = started(),
    Wrong = [x, -1, 1 bsl 64, 1.5, <<>>, [], {}, self()],
    [?assertEqual({error, badarg}, ?C:flush(P, W)) || W <- Wrong],
    [?assertEqual({error, badarg}, ?C:close(P, W)) || W <- Wrong],
    [?assertEqual({error, badarg}, ?C:scale(P, W)) || W <- Wrong],
    [?assertEqual({error, badarg}, ?C:writer_metrics(P, W)) || W <- Wrong],
    [?assertEqual({error, badarg}, ?C:kind_name(P, 1, W)) || W <- [1, {}, binary:copy(<<"x">>, 256), <<0>>, [self()]]],
    [?assertEqual({error, badarg}, ?C:kind_name(P, W, "x")) || W <- Wrong],
    ?assertMatch({error, {invalid, _}}, ?C:kind_name(P, 16#FFFF0000, "x")),
    ok = ?C:capture(P, still_there).
