%% Traces for Perfetto as the storage, end to end: their bytes have the names and the texts of the events. `tests/perfetto.sh' reads traces with Perfetto's engine.
-module(traces_tests).
-include_lib("eunit/include/eunit.hrl").
-define(C, elixir_scope_capture_pipeline).

events_are_in_the_trace_under_the_names_of_their_kinds_test() ->
    journal_tests:with_folder(fun(Path) ->
        {ok, P} = ?C:start(#{name => <<"traced">>}, {perfetto, Path, #{sync => flush}}),
        ok = ?C:kind_name(P, 7, answers),
        ok = ?C:capture(P, 7, <<"forty-two">>, 99, 1 bsl 63),
        ok = ?C:flush(P, 10000),
        ?assertMatch({ok, #{stored := 1, captured := 1}}, ?C:metrics(P)),
        ok = ?C:close(P, 10000),
        [File] = filelib:wildcard(filename:join(Path, "*.perfetto-trace")),
        {ok, Trace} = file:read_file(File),
        [?assertNotEqual(nomatch, binary:match(Trace, Part)) || Part <- [<<"answers">>, <<"forty-two">>, <<"_correlation_id">>, <<"9223372036854775808">>]]
    end).

every_option_is_taken_and_a_wrong_one_is_named_test() ->
    journal_tests:with_folder(fun(Path) ->
        All = #{file_bytes => 65536, file_age_ms => 1000, max_bytes => 1 bsl 20, sync => flush, file_mode => 8#640},
        {ok, P} = ?C:start(#{}, {perfetto, Path, All}),
        [ok = ?C:capture_wait(P, 1, <<N:1024>>, infinity) || N <- lists:seq(1, 2000)],
        ok = ?C:close(P, 10000),
        %% A byte is two digits in the trace.
        Files = filelib:wildcard(filename:join(Path, "*.perfetto-trace")),
        ?assert(length(Files) > 3),
        ?assertEqual({error, {badarg, encoding}}, ?C:start(#{}, {perfetto, Path, #{encoding => raw}})),
        ?assertEqual({error, {badarg, sync}}, ?C:start(#{}, {perfetto, Path, #{sync => batch}})),
        ?assertEqual({error, {badarg, path}}, ?C:start(#{}, {perfetto, <<>>, #{}})),
        ?assertMatch({error, {invalid, <<"pipeline_perfetto_options_t.max_bytes", _/binary>>}}, ?C:start(#{}, {perfetto, Path, #{max_bytes => 1}})),
        ?assertMatch({error, {storage, _}}, ?C:start(#{}, {perfetto, "/nowhere/at/all", #{}}))
    end).
