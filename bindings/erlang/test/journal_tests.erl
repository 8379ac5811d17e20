%% A journal as the storage, end to end: the segments are read by docs/format.md, without their checksums.
-module(journal_tests).
-include_lib("eunit/include/eunit.hrl").
-export([with_folder/1, read/1]).
-define(C, elixir_scope_capture_pipeline).

with_folder(Test) ->
    Path = filename:join(os:getenv("TMPDIR", "/tmp"), "capture_" ++ os:getpid() ++ "_" ++ integer_to_list(erlang:unique_integer([positive])) ++ ".d"),
    try Test(Path) after file:del_dir_r(Path) end.

%% The events of all raw segments: kind, correlation id, node id, payload.
read(Path) ->
    lists:append([segment(File) || File <- lists:sort(filelib:wildcard(filename:join(Path, "*.journal")))]).

segment(File) ->
    {ok, <<16#89, "CPJ\r\n", 16#1A, "\n", _:32, 1:32/little, Size:32/little, _/binary>> = Segment} = file:read_file(File),
    blocks(Segment, Size, []).

blocks(Segment, At, Events) ->
    case Segment of
        <<_:At/binary, "CPB1", Type:16/little, _:42/binary, _:8/binary, _:16, Filter, Codec, Head:32/little, Stored:64/little, _/binary>> ->
            <<_:(At + Head)/binary, Body:Stored/binary, _/binary>> = Segment,
            More = case {Type, Filter, Codec} of {1, 0, 0} -> records(Body); _ -> [] end,
            blocks(Segment, (At + Head + Stored + 63) band bnot 63, Events ++ More);
        _ ->
            Events
    end.

records(<<Len:32/little, _Flags:32, Kind:32/little, _Weight:32, _Sequence:64, _Time:64, Correlation:64/little, Node:64/little, Rest/binary>>) ->
    Padded = (Len + 7) band bnot 7,
    <<Payload:Len/binary, _:(Padded - Len)/binary, More/binary>> = Rest,
    [{Kind, Correlation, Node, Payload} | records(More)];
records(<<>>) ->
    [].

events_are_stored_as_they_were_captured_test() ->
    with_folder(fun(Path) ->
        {ok, P} = ?C:start(#{name => <<"stored">>}, {journal, Path, #{sync => flush, segment_bytes => 1 bsl 20}}),
        ok = ?C:kind_name(P, 7, answers),
        ok = ?C:capture(P, 7, <<"forty-two">>, 99, 1 bsl 63),
        ok = ?C:capture(P, 8, {a, term, [1, 2, 3]}),
        ok = ?C:flush(P, 10000),
        ?assertMatch({ok, #{stored := 2, captured := 2}}, ?C:metrics(P)),
        ok = ?C:close(P, 10000),
        [{7, 99, Node, <<"forty-two">>}, {8, 0, 0, Term}] = lists:sort(read(Path)),
        ?assertEqual({1 bsl 63, {a, term, [1, 2, 3]}}, {Node, binary_to_term(Term)})
    end).

a_hundred_thousand_events_of_many_processes_are_all_there_once_test_() ->
    {timeout, 900, fun() ->
        with_folder(fun(Path) ->
            {ok, P} = ?C:start(#{writers => 2}, {journal, list_to_binary(Path), #{sync => batch}}),
            Self = self(),
            Pids = [spawn_link(fun() -> [ok = ?C:capture_wait(P, W, <<N:32>>, infinity) || N <- lists:seq(1, 25000)], Self ! {self(), ok} end) || W <- [1, 2, 3, 4]],
            [ok = delivery_tests:result(Pid) || Pid <- Pids],
            ok = ?C:close(P, 60000),
            Events = read(Path),
            ?assertEqual(100000, length(lists:usort([{Kind, Payload} || {Kind, _, _, Payload} <- Events])))
        end)
    end}.

every_option_is_taken_and_a_wrong_one_is_named_test() ->
    with_folder(fun(Path) ->
        All = #{
            segment_bytes => 65536, max_bytes => 1 bsl 20, max_age_ms => 1000000, min_free_disk => 1, segment_age_ms => 1000, sync => interval,
            sync_interval_ms => 10, on_full => reject, encoding => columns_lz4, file_mode => 8#640, live_figures => true
        },
        {ok, P} = ?C:start(#{}, {journal, Path, All}),
        ok = ?C:capture(P, 1, <<"one">>),
        ok = ?C:close(P, 10000),
        ?assertEqual({error, {badarg, cache}}, ?C:start(#{}, {journal, Path, #{cache => 1}})),
        ?assertEqual({error, {badarg, sync}}, ?C:start(#{}, {journal, Path, #{sync => full}})),
        ?assertEqual({error, {badarg, encoding}}, ?C:start(#{}, {journal, Path, #{encoding => 3}})),
        ?assertEqual({error, {badarg, storage}}, ?C:start(#{}, {journal, Path, nope})),
        ?assertEqual({error, {badarg, path}}, ?C:start(#{}, {journal, <<>>, #{}})),
        ?assertMatch({error, {invalid, <<"pipeline_journal_options_t.max_bytes", _/binary>>}}, ?C:start(#{}, {journal, Path, #{max_bytes => 1}})),
        ?assertMatch({error, {storage, _}}, ?C:start(#{}, {journal, "/nowhere/at/all", #{}}))
    end).

a_collected_pipeline_stores_batches_in_flight_and_seals_its_segments_test() ->
    with_folder(fun(Path) ->
        {_, Monitor} = spawn_monitor(fun() ->
            {ok, P} = ?C:start(#{}, {journal, Path, #{}}),
            [ok = ?C:capture(P, 1, <<N:32>>) || N <- lists:seq(1, 1000)],
            ok = ?C:flush(P, 10000)
        end),
        receive {'DOWN', Monitor, _, _, Reason} -> ?assertEqual(normal, Reason) end,
        ?assertEqual(1000, length(read(Path))),
        %% The last block of a segment is its seal: a header of 128 bytes, a body of 24, padding.
        Sealed = fun(File) ->
            {ok, Segment} = file:read_file(File),
            byte_size(Segment) > 192 andalso binary:part(Segment, byte_size(Segment) - 192, 6) =:= <<"CPB1", 4:16/little>>
        end,
        await:until(fun() -> lists:all(Sealed, filelib:wildcard(filename:join(Path, "*.journal"))) end)
    end).

%% ---- live figures: docs/format.md has the file ----

live(Path) -> filelib:wildcard(filename:join(Path, "*.figures")).

%% The names of the pipeline and of the storage, and `captured'. `unreadable': it is being written.
live_figures(File) ->
    case file:read_file(File) of
        {ok, <<16#89, "CPF\r\n", 16#1A, "\n", 1:32/little, 32768:32/little, _:48/binary, Sequence:64/little, _:56/binary, Body/binary>>} when Sequence rem 2 =:= 0 ->
            {Name, Rest} = live_text(Body),
            {Storage, <<_Members:64, _Reserved:64, _Offered:64, Captured:64/little, _/binary>>} = live_text(Rest),
            {Name, Storage, Captured};
        _ ->
            unreadable
    end.

live_text(<<Length:64/little, Rest/binary>>) ->
    Padding = (8 - Length rem 8) rem 8,
    <<Text:Length/binary, _:Padding/binary, More/binary>> = Rest,
    {Text, More}.

live_figures_are_there_while_the_pipeline_lives_and_only_if_asked_for_test_() ->
    {timeout, 200, fun() ->
        with_folder(fun(Path) ->
            %% The pipeline ends when the process does that has the reference.
            {_, Monitor} = spawn_monitor(fun() ->
                {ok, P} = ?C:start(#{name => <<"shown">>}, {journal, Path, #{live_figures => true}}),
                [ok = ?C:capture(P, 7, <<N:32>>) || N <- lists:seq(1, 25)],
                [File] = live(Path),
                ok = await:until(fun() -> live_figures(File) =:= {<<"shown">>, <<"journal">>, 25} end, 60000),
                ok = ?C:close(P, 60000)
            end),
            receive {'DOWN', Monitor, _, _, Reason} -> ?assertEqual(normal, Reason) end,
            ok = await:until(fun() -> live(Path) =:= [] end, 60000),
            {ok, Q} = ?C:start(#{}, {journal, Path, #{live_figures => false}}),
            ok = ?C:capture(Q, 7, <<"event">>),
            ok = ?C:close(Q, 60000),
            ?assertEqual([], live(Path)),
            ?assertEqual({error, {badarg, live_figures}}, ?C:start(#{}, {journal, Path, #{live_figures => 1}}))
        end)
    end}.
