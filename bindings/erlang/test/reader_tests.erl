%% Reads journals back: what pipelines of this VM have stored, whole, filtered, damaged, and while it is being written.
-module(reader_tests).
-include_lib("eunit/include/eunit.hrl").
-export([all/2, descriptors/1]).
-define(C, elixir_scope_capture_pipeline).
-define(J, elixir_scope_capture_pipeline_journal).
-define(K, elixir_scope_capture_pipeline_kind).
-define(NIF, elixir_scope_capture_pipeline_nif).

%% A journal in a directory, from a function that captures.
with_journal(Config, Options, Capture, Test) ->
    journal_tests:with_folder(fun(Path) ->
        {ok, P} = ?C:start(Config, {journal, Path, Options}),
        Captured = Capture(P),
        ok = ?C:close(P, 60000),
        Test(Path, Captured)
    end).

all(Path, Options) ->
    {ok, Events} = ?J:fold(fun(Event, Before) -> [Event | Before] end, [], Path, Options),
    lists:reverse(Events).

payloads(Path, Options) -> [Payload || #{payload := Payload} <- all(Path, Options)].

%% Runs the function in so many processes, and waits for them.
in_processes(Count, Function) ->
    Self = self(),
    Pids = [spawn_link(fun() -> Self ! {self(), Function(N)} end) || N <- lists:seq(1, Count)],
    [receive {Pid, Result} -> Result end || Pid <- Pids].

key(#{timestamp_ns := Time, generation := Generation, ring_id := Ring, sequence := Sequence}) -> {Time, Generation, Ring, Sequence}.

%% The descriptors of this VM that are segments in the directory. (The pipeline that wrote them holds the directory itself.)
descriptors(Path) ->
    {ok, Numbers} = file:list_dir("/proc/self/fd"),
    [To || Number <- Numbers, {ok, To} <- [file:read_link_all("/proc/self/fd/" ++ Number)], string:prefix(To, Path) =/= nomatch, filename:extension(To) =:= ".journal"].

point() ->
    {ok, Kind} = ?K:new(9, #{
        name => point,
        category => "tests",
        fields => [
            {x, {i16, [{unit, "m"}]}}, {site, {address, [{offset, 8}, {hint, hexadecimal}]}}, {host, {string, 4}},
            {state, {enum, u64, [{low, 1}, {high, 16#FFFFFFFFFFFFFFFF}]}}, {rest, bytes}
        ]
    }),
    Kind.

%% ---- everything that was captured ----

every_event_of_several_processes_is_read_back_once_test_() ->
    {timeout, 900, fun() ->
        Capture = fun(P) ->
            ok = ?C:kind_define(P, point()),
            ok = ?C:kind_name(P, 8, terms),
            lists:append(in_processes(4, fun(W) -> [captured(P, W, N) || N <- lists:seq(1, 5000)] end))
        end,
        with_journal(#{writers => 2}, #{segment_bytes => 1 bsl 18}, Capture, fun(Path, Captured) ->
            Stored = all(Path, #{}),
            Given = fun(Events) -> [{Kind, Correlation, read(Kind, Payload)} || #{kind := Kind, correlation_id := Correlation, payload := Payload} <- Events] end,
            ?assertEqual(lists:sort(Captured), lists:sort(Given(Stored))),
            ?assertEqual(20000, length(lists:usort([{G, R, S} || #{generation := G, ring_id := R, sequence := S} <- Stored]))),
            %% In the order of time, and so in the order of each process.
            Sorted = all(Path, #{order => time}),
            ?assertEqual(lists:sort([key(Event) || Event <- Stored]), [key(Event) || Event <- Sorted]),
            [?assertEqual(lists:seq(1, 5000), [N || {_, _, {From, N}} <- Given(Sorted), From =:= W]) || W <- lists:seq(1, 4)],
            %% Nothing is left open, and nothing is lost.
            ?assertEqual([], descriptors(Path)),
            {ok, Reader} = ?J:open(Path),
            {ok, 20000} = ?J:fold(fun(#{weight := 1.0, priority := false, own_time := false}, N) -> N + 1 end, 0, Reader),
            ?assertEqual(done, ?J:next(Reader, 10)),
            ?assertMatch({ok, #{any := false, damaged_events := 0, details := <<>>}}, ?J:losses(Reader)),
            ok = ?J:close(Reader)
        end)
    end}.

captured(P, W, N) ->
    {Kind, Payload} =
        case N rem 3 of
            0 -> {7, <<W, N:32>>};
            1 -> {8, {term, [W, #{n => N}]}};
            2 -> {9, element(2, ?K:encode(point(), #{x => N, site => W, host => host, state => high, rest => <<"r">>}))}
        end,
    ok = ?C:capture_wait(P, Kind, Payload, N, 0, infinity),
    {Kind, N, {W, N}}.

read(7, <<W, N:32>>) -> {W, N};
read(8, Payload) ->
    {ok, {term, [W, #{n := N}]}} = ?J:term(Payload),
    {W, N};
read(9, Payload) ->
    {ok, #{x := N, site := W, host := <<"host">>, state := high, rest := <<"r">>}} = ?K:decode(point(), Payload),
    {W, N}.

every_field_of_an_event_is_read_back_test() ->
    Capture = fun(P) ->
        ok = ?C:capture_event(P, #{payload => <<"one">>, kind => 5, correlation_id => 1 bsl 63, node_id => 16#FFFFFFFFFFFFFFFF, timestamp_ns => 17, priority => true}),
        ok = ?C:capture(P, 0, <<>>)
    end,
    with_journal(#{name => <<"fields">>}, #{}, Capture, fun(Path, ok) ->
        [One, Two] = all(Path, #{order => time}),
        ?assertMatch(
            #{kind := 5, payload := <<"one">>, bytes := 3, correlation_id := 16#8000000000000000, node_id := 16#FFFFFFFFFFFFFFFF, timestamp_ns := 17,
                priority := true, own_time := true, weight := 1.0},
            One
        ),
        ?assertMatch(#{kind := 0, payload := <<>>, bytes := 0, correlation_id := 0, node_id := 0, own_time := false, priority := false}, Two),
        %% The wall time of an event that was stamped by the library is that of the test, within a day.
        Now = erlang:system_time(nanosecond),
        ?assert(abs(maps:get(realtime_ns, Two) - Now) < 86400 * 1000000000),
        [#{payload := none, bytes := 3}, #{payload := none, bytes := 0}] = all(Path, #{order => time, payloads => none})
    end).

definitions_are_the_kinds_that_were_defined_test() ->
    Every = point(),
    {ok, Pair} = ?K:new(2, #{name => done, role => 'end', pairs_with => 1, key => id, size => 16, fields => [{id, u64}]}),
    {ok, Call} = ?K:new(3, #{name => call, role => complete, duration => took, fields => [{took, {u32, [{hint, nanoseconds}]}}, {ok, bool}, {ratio, f32}]}),
    Capture = fun(P) ->
        [ok = ?C:kind_define(P, Kind) || Kind <- [Every, Pair, Call]],
        ok = ?C:kind_name(P, 4, <<"größe"/utf8>>),
        ok = ?C:capture(P, 9, <<"x">>)
    end,
    with_journal(#{}, #{}, Capture, fun(Path, ok) ->
        {ok, Reader} = ?J:open(Path),
        {ok, Definitions} = ?J:definitions(Reader),
        ok = ?J:close(Reader),
        Natives = [{Name, element(2, ?K:native(Kind))} || #{name := Name, definition := Kind} <- Definitions, Kind =/= undefined],
        Expected = [{Name, element(2, ?K:native(Kind))} || {Name, Kind} <- [{<<"done">>, Pair}, {<<"call">>, Call}, {<<"point">>, Every}]],
        ?assertEqual(Expected, Natives),
        ?assertMatch([#{name := <<"größe"/utf8>>, kind := 4}], [D || #{definition := undefined} = D <- Definitions]),
        %% Names are binaries. Enum values above 2^63 are what they are.
        [#{definition := Read}] = [D || #{kind := 9} = D <- Definitions],
        {ok, Payload} = ?K:encode(Every, #{x => -3, site => 5, host => "h", state => high}),
        ?assertEqual({ok, #{<<"x">> => -3, <<"site">> => 5, <<"host">> => <<"h">>, <<"state">> => <<"high">>, <<"rest">> => <<>>}}, ?K:decode(Read, Payload))
    end).

terms_are_decoded_only_if_that_is_safe_test() ->
    ?assertEqual({ok, {a, <<"b">>, [1.5]}}, ?J:term(term_to_binary({a, <<"b">>, [1.5]}))),
    ?assertEqual({ok, fun lists:map/2}, ?J:term(term_to_binary(fun lists:map/2))),
    Unknown = "an_atom_of_" ++ "nobody_" ++ integer_to_list(erlang:unique_integer([positive])),
    ?assertEqual(error, ?J:term(<<131, 119, (length(Unknown)), (list_to_binary(Unknown))/binary>>)),
    ?assertError(badarg, list_to_existing_atom(Unknown)),
    %% A gigabyte in a few bytes.
    ?assertEqual(error, ?J:term(term_to_binary(lists:duplicate(100000, 0), [compressed]))),
    ?assertEqual(error, ?J:term(<<131, 80, 16#40000000:32, (zlib:compress(<<0:8000>>))/binary>>)),
    [?assertEqual(error, ?J:term(B)) || B <- [<<>>, <<131>>, <<"text">>, <<131, 97, 1, 2>>, <<131, 108, 16#FFFFFFFF:32, 1>>, <<131, 255, 255>>]].

%% ---- batches ----

batches_are_bounded_by_count_and_bytes_test() ->
    Kilobyte = binary:copy(<<"k">>, 1024),
    Capture = fun(P) -> [ok = ?C:capture_wait(P, 1, <<N:32, Kilobyte/binary>>, infinity) || N <- lists:seq(1, 3000)] end,
    with_journal(#{}, #{}, Capture, fun(Path, _) ->
        {ok, Reader} = ?J:open(Path, #{order => time}),
        {ok, Three} = ?J:next(Reader, 3),
        {ok, Megabyte} = ?J:next(Reader, 1000000),
        ?assertEqual(3, length(Three)),
        ?assert(length(Megabyte) > 900 andalso length(Megabyte) =< 1020),
        {ok, Rest} = ?J:fold(fun(#{payload := <<N:32, _/binary>>}, Before) -> [N | Before] end, [], Reader),
        ?assertEqual(lists:seq(1, 3000), [N || #{payload := <<N:32, _/binary>>} <- Three ++ Megabyte] ++ lists:reverse(Rest)),
        ok = ?J:close(Reader),
        %% Payloads that are not asked for do not count.
        {ok, Sizes} = ?J:open(Path, #{payloads => none}),
        {ok, Many} = ?J:next(Sizes, 2000),
        ?assertEqual(2000, length(Many))
    end).

a_payload_of_16_mebibytes_comes_alone_test_() ->
    {timeout, 900, fun() ->
        Large = binary:copy(<<"0123456789abcdef">>, 1 bsl 20),
        Config = #{ring_bytes => 1 bsl 27, max_event_bytes => 17 bsl 20},
        Capture = fun(P) -> [ok = ?C:capture_wait(P, 1, Payload, infinity) || Payload <- [<<"before">>, Large, <<"behind">>]] end,
        with_journal(Config, #{}, Capture, fun(Path, _) ->
            {ok, Reader} = ?J:open(Path, #{order => time}),
            Next = fun() -> {ok, Events} = ?J:next(Reader, 100), [Payload || #{payload := Payload} <- Events] end,
            ?assertEqual([<<"before">>], Next()),
            ?assertEqual([Large], Next()),
            ?assertEqual([<<"behind">>], Next()),
            ?assertEqual(done, ?J:next(Reader, 100)),
            ok = ?J:close(Reader),
            %% Not within this memory: it is counted, and the others are given.
            {ok, Small} = ?J:open(Path, #{order => time, memory_bytes => 16 bsl 20}),
            {ok, 2} = ?J:fold(fun(_, N) -> N + 1 end, 0, Small),
            ?assertMatch({ok, #{any := true, unreadable_events := 1}}, ?J:losses(Small))
        end)
    end}.

columns_are_read_on_a_dirty_scheduler_too_test() ->
    [with_journal(#{}, #{encoding => Encoding}, fun(P) -> [ok = ?C:capture_wait(P, 1, <<N:32, 0:504>>, infinity) || N <- lists:seq(1, 2000)] end,
        fun(Path, _) -> ?assertEqual([<<N:32, 0:504>> || N <- lists:seq(1, 2000)], payloads(Path, #{order => time})) end)
        || Encoding <- [columns, columns_lz4, columns_zstd]].

%% ---- filters ----

filters_test() ->
    Capture = fun(P) ->
        [ok = ?C:capture_event(P, #{payload => <<N>>, kind => N rem 3, correlation_id => N rem 5, timestamp_ns => 1000 * N}) || N <- lists:seq(1, 60)]
    end,
    with_journal(#{}, #{}, Capture, fun(Path, _) ->
        Numbers = fun(Options) -> [N || <<N>> <- payloads(Path, Options#{order => time})] end,
        All = lists:seq(1, 60),
        ?assertEqual(All, Numbers(#{})),
        ?assertEqual([N || N <- All, N rem 3 =/= 0], Numbers(#{kinds => [1, 2]})),
        ?assertEqual([], Numbers(#{kinds => []})),
        ?assertEqual([N || N <- All, N rem 5 =:= 2], Numbers(#{correlation_ids => [2]})),
        ?assertEqual([N || N <- All, N rem 5 =:= 0], Numbers(#{correlation_ids => [0]})),
        ?assertEqual([N || N <- All, N rem 5 =:= 4 orelse N rem 5 =:= 2], Numbers(#{correlation_ids => [4, 77, 2]})),
        ?assertEqual([], Numbers(#{correlation_ids => []})),
        ?assertEqual([N || N <- lists:seq(10, 19), N rem 3 =:= 0], Numbers(#{from_ns => 10000, to_ns => 20000, kinds => [0]})),
        [#{generation := Generation} | _] = all(Path, #{}),
        ?assertEqual(All, Numbers(#{generation => Generation})),
        ?assertEqual([], Numbers(#{generation => Generation bxor 1})),
        Walls = [Wall || #{realtime_ns := Wall} <- all(Path, #{order => time})],
        ?assertEqual(lists:seq(31, 60), Numbers(#{from_realtime_ns => lists:nth(31, Walls)})),
        ?assertEqual(lists:seq(1, 30), Numbers(#{to_realtime_ns => lists:nth(31, Walls)}))
    end).

%% A call reads so many events at most, and gives none if all are filtered out.
many_events_that_are_filtered_out_test_() ->
    {timeout, 900, fun() ->
        Capture = fun(P) ->
            [ok = ?C:capture_wait(P, 1, <<N:32>>, 1, 0, infinity) || N <- lists:seq(1, 70000)],
            ok = ?C:capture_wait(P, 1, <<"found">>, 2, 0, infinity)
        end,
        with_journal(#{}, #{}, Capture, fun(Path, ok) ->
            {ok, Reader} = ?J:open(Path, #{order => time, correlation_ids => [2, 3]}),
            ?assertEqual([], ?NIF:reader_next(Reader, 10)),
            ?assertMatch({ok, [#{payload := <<"found">>}]}, ?J:next(Reader, 10)),
            ?assertEqual(done, ?J:next(Reader, 10))
        end)
    end}.

%% ---- bad input ----

what_is_no_journal_is_named_test() ->
    journal_tests:with_folder(fun(Path) ->
        File = fun(Name) -> filename:join(Path, Name) end,
        Text = fun(Name) -> {error, {Reason, Said}} = ?J:open(Name), {Reason, binary:match(Said, unicode:characters_to_binary(Name)) =/= nomatch} end,
        ?assertEqual({not_found, true}, Text(Path)),
        ok = file:make_dir(Path),
        ?assertEqual({ok, []}, ?J:fold(fun(E, L) -> [E | L] end, [], Path, #{})),
        [ok = file:write_file(File(Name), Bytes) || {Name, Bytes} <- [{"empty", <<>>}, {"text", "no segment, but long enough for its header"}]],
        ?assertEqual({invalid, true}, Text(File("text"))),
        ?assertEqual({invalid, true}, Text(File("empty"))),
        "" = os:cmd("mkfifo '" ++ File("fifo") ++ "'"),
        ?assertEqual({invalid, true}, Text(File("fifo"))),
        ?assertEqual({invalid, true}, Text("/dev/null")),
        ?assertEqual({system, true}, Text(File("text/below"))),
        %% A version of tomorrow, and other files with the name of a segment.
        ok = file:write_file(File("tomorrow"), <<16#89, "CPJ\r\n", 16#1A, "\n", 9:32/little, 1:32/little, 0:65536>>),
        ?assertMatch({Reason, true} when Reason =:= unsupported; Reason =:= invalid, Text(File("tomorrow"))),
        [?assertEqual({error, {badarg, path}}, ?J:open(Wrong)) || Wrong <- [<<>>, "", <<"a", 0, "b">>, [0], 5, {a}, binary:copy(<<"x">>, 5000)]]
    end).

files_of_others_are_counted_and_the_rest_is_read_test() ->
    with_journal(#{}, #{}, fun(P) -> ok = ?C:capture(P, <<"mine">>) end, fun(Path, ok) ->
        [Segment] = filelib:wildcard(filename:join(Path, "*.journal")),
        Other = re:replace(Segment, "[0-9a-f](\\.journal)$", "z\\1", [{return, list}]),
        ok = file:write_file(Other, "not a name of a segment"),
        Same = case lists:reverse(Segment) of "lanruoj.0" ++ Rest -> lists:reverse(Rest) ++ "1.journal"; "lanruoj." ++ [_ | Rest] -> lists:reverse(Rest) ++ "0.journal" end,
        ok = file:write_file(Same, binary:copy(<<"no segment">>, 100)),
        {ok, Reader} = ?J:open(Path),
        {ok, [#{payload := <<"mine">>}]} = ?J:next(Reader, 10),
        ?assertEqual(done, ?J:next(Reader, 10)),
        {ok, #{any := true, refused_segments := 1, details := Details}} = ?J:losses(Reader),
        ?assertNotEqual(nomatch, binary:match(Details, list_to_binary(filename:basename(Same))))
    end).

wrong_options_are_named_test() ->
    journal_tests:with_folder(fun(Path) ->
        ok = file:make_dir(Path),
        Wrong = [
            {order, [random, "time", 1, true]}, {follow, [1, yes]}, {payloads, [terms, all]}, {kinds, [x, [x], [-1], [1 | 2], [1 bsl 32], lists:duplicate(65537, 1)]},
            {correlation_ids, [x, [x], [-1], [1 bsl 64], lists:duplicate(65537, 1)]}, {from_ns, [-1, 1.0, 1 bsl 64]}, {memory_bytes, [x, -1]},
            {correlation_id, [1]}, {flags, [1]}, {struct_size, [1]}, {color, [red]}, {"order", [time]}
        ],
        [?assertEqual({Key, Value, {error, {badarg, Key}}}, {Key, Value, ?J:open(Path, #{Key => Value})}) || {Key, Values} <- Wrong, Value <- Values],
        [?assertEqual({error, {badarg, options}}, ?J:open(Path, Options)) || Options <- [x, [], [{order, time}]]],
        ?assertMatch({error, {invalid, <<"memory_bytes", _/binary>>}}, ?J:open(Path, #{memory_bytes => 1000})),
        {ok, Reader} = ?J:open(Path, #{kinds => lists:duplicate(65536, 1), correlation_ids => lists:seq(1, 65536)}),
        [?assertEqual({error, badarg}, ?J:next(Reader, Most)) || Most <- [0, -1, x, 1.5, 1 bsl 40]],
        [?assertEqual({error, badarg}, ?J:next(Reader, 1, Timeout)) || Timeout <- [-1, x, 1.5]],
        {ok, P} = ?C:start(#{}),
        [?assertEqual({error, badarg}, Call(No)) || No <- [x, make_ref(), P, {}], Call <- calls()]
    end).

calls() ->
    [fun(R) -> ?J:next(R, 1) end, fun(R) -> ?J:definitions(R) end, fun(R) -> ?J:losses(R) end, fun(R) -> ?J:close(R) end].

damage_is_counted_and_the_rest_is_read_test() ->
    %% Three blocks at least, because each event is flushed.
    Capture = fun(P) -> [begin ok = ?C:capture(P, 1, <<"payload ", N:32>>), ok = ?C:flush(P, 10000) end || N <- [1, 2, 3]] end,
    with_journal(#{}, #{}, Capture, fun(Path, _) ->
        [Segment] = filelib:wildcard(filename:join(Path, "*.journal")),
        {ok, Whole} = file:read_file(Segment),
        {At, _} = binary:match(Whole, <<"payload ", 2:32>>),
        <<Before:At/binary, Byte, Behind/binary>> = Whole,
        ok = file:write_file(Segment, [Before, Byte bxor 1, Behind]),
        read_damaged(Path, [1, 3], #{any => true, damaged_blocks => 1, damaged_events => 1}),
        %% The end is missing, in the middle of the last event. The process that wrote the segment may go on with it, since it lives.
        {End, _} = binary:match(Whole, <<"payload ", 3:32>>),
        ok = file:write_file(Segment, binary:part(Whole, 0, End)),
        ?assertEqual([<<"payload ", N:32>> || N <- [1, 2]], payloads(Path, #{order => time})),
        %% Random bytes, and all lengths: nothing is invented, nothing crashes.
        rand:seed(exsss, {1, 2, 3}),
        [begin
            Place = rand:uniform(byte_size(Whole)) - 1,
            <<Head:Place/binary, Old, Tail/binary>> = Whole,
            ok = file:write_file(Segment, case N rem 3 of 0 -> Head; _ -> [Head, Old bxor rand:uniform(255), Tail] end),
            case ?J:fold(fun(#{payload := Payload}, L) -> [Payload | L] end, [], Path, #{order => lists:nth(1 + N rem 2, [time, stored])}) of
                {ok, Payloads} -> ?assertEqual([], Payloads -- [<<"payload ", I:32>> || I <- [1, 2, 3]]);
                {error, {Reason, _}} -> ?assert(is_atom(Reason))
            end
        end || N <- lists:seq(1, 300)]
    end).

%% By a VM that has ended.
a_torn_tail_is_counted_test_() ->
    {timeout, 900, fun() ->
        journal_tests:with_folder(fun(Path) ->
            Write = lists:flatten(io_lib:format(
                "{ok, P} = ~p:start(#{}, {journal, ~p, #{}}), [begin ok = ~p:capture(P, 1, <<\"payload \", N:32>>), ok = ~p:flush(P) end || N <- [1, 2, 3]],"
                " ok = ~p:close(P), io:put_chars(\"written\"), halt().", [?C, Path, ?C, ?C, ?C]
            )),
            "written" = os:cmd("erl -noshell -noinput -pa '" ++ filename:dirname(code:which(?C)) ++ "' -eval '" ++ Write ++ "'"),
            read_whole(Path, [1, 2, 3]),
            [Segment] = filelib:wildcard(filename:join(Path, "*.journal")),
            {ok, Whole} = file:read_file(Segment),
            {End, _} = binary:match(Whole, <<"payload ", 3:32>>),
            ok = file:write_file(Segment, binary:part(Whole, 0, End)),
            read_damaged(Path, [1, 2], #{any => true, torn_tails => 1, damaged_blocks => 0})
        end)
    end}.

read_whole(Path, Expected) ->
    ?assertEqual([<<"payload ", N:32>> || N <- Expected], payloads(Path, #{order => time})).

read_damaged(Path, Expected, Losses) ->
    {ok, Reader} = ?J:open(Path, #{order => time}),
    {ok, Read} = ?J:fold(fun(#{payload := <<"payload ", N:32>>}, L) -> [N | L] end, [], Reader),
    {ok, Found} = ?J:losses(Reader),
    ok = ?J:close(Reader),
    ?assertEqual(Expected, lists:reverse(Read)),
    ?assertEqual(Losses, maps:with(maps:keys(Losses), Found)),
    ?assertMatch(#{details := <<_, _/binary>>}, Found).
