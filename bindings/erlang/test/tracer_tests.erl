%% What tracers capture. The name of each test is a promise.
-module(tracer_tests).
-include_lib("eunit/include/eunit.hrl").
-define(C, elixir_scope_capture_pipeline).
-define(T, elixir_scope_capture_pipeline_tracer).

calls_and_returns_come_as_the_messages_of_a_tracer_process_test_() -> {timeout, 60, fun calls_and_returns_come_as_the_messages_of_a_tracer_process/0}.
calls_and_returns_come_as_the_messages_of_a_tracer_process() ->
    {P, T} = traced:started(),
    Pid = traced:traced(),
    {ok, 1} = ?T:trace_calls(T, {traced, called, 2}, #{return => true}),
    {ok, 1} = ?T:trace_processes(T, Pid, [call]),
    {1, #{a := <<"b">>}} = traced:told(Pid, fun() -> traced:called(1, #{a => <<"b">>}) end),
    ok = ?T:stop(T),
    ?assertEqual(
        traced:sorted([
            {trace, Pid, call, {traced, called, [1, #{a => <<"b">>}]}},
            {trace, Pid, return_from, {traced, called, 2}, {1, #{a => <<"b">>}}}
        ]),
        traced:sorted(traced:events(P))
    ),
    ?assertMatch(#{state := stopped, captured := 2, refused := 0, without_ring := 0}, ?T:info(T)).

every_tag_comes_with_the_kind_that_is_its_own_test_() -> {timeout, 60, fun every_tag_comes_with_the_kind_that_is_its_own/0}.
every_tag_comes_with_the_kind_that_is_its_own() ->
    {P, T} = traced:started(),
    Pid = traced:traced(),
    {ok, 1} = ?T:trace_calls(T, {traced, raised, 1}, #{return => true}),
    {ok, 1} = ?T:trace_processes(T, Pid, [call, send, 'receive', running, garbage_collection, procs, arity]),
    Self = self(),
    traced:told(Pid, fun() ->
        {raised, x} = try traced:raised(x) catch error:Reason -> Reason end,
        erlang:garbage_collect(),
        Self ! hello,
        Linked = spawn_link(fun() -> ok end),
        await:until(fun() -> not is_process_alive(Linked) end),
        ok
    end),
    receive hello -> ok end,
    traced:ended(Pid),
    ok = ?T:stop(T),
    {ok, #{captured := Captured}} = ?C:metrics(P),
    ok = ?C:attach(P),
    Events = with_kinds(P, Captured),
    [?assertEqual({Kind, Payload}, {?T:kind(element(3, Payload)), Payload}) || {Payload, Kind} <- Events],
    Tags = lists:usort([element(3, Payload) || {Payload, _} <- Events, element(2, Payload) =:= Pid]),
    [?assert(lists:member(Tag, Tags)) || Tag <- [call, exception_from, send, 'receive', in, out, gc_major_start, gc_major_end, spawn, link, exit]],
    ?assert(lists:member({{trace, Pid, call, {traced, raised, 1}}, ?T:kind(call)}, Events)),
    ?assert(lists:member({{trace, Pid, exception_from, {traced, raised, 1}, {error, {raised, x}}}, ?T:kind(exception_from)}, Events)),
    ?assert(lists:member({{trace, Pid, send, hello, Self}, ?T:kind(send)}, Events)),
    ?assert(lists:member({{trace, Pid, 'receive', stop}, ?T:kind('receive')}, Events)).

with_kinds(_P, 0) -> [];
with_kinds(P, Left) ->
    receive
        {capture_batch, P, Token, _, _, Events, _} ->
            ok = ?C:complete(P, Token, ok),
            [{Payload, Kind} || {Payload, _, _, _, Kind, _, _} <- Events] ++ with_kinds(P, Left - length(Events))
    after 20000 -> error({missing, Left})
    end.

a_match_specification_passes_through_test_() -> {timeout, 60, fun a_match_specification_passes_through/0}.
a_match_specification_passes_through() ->
    {P, T} = traced:started(),
    Pid = traced:traced(),
    Spec = [{['$1'], [{'>', '$1', 5}], [{message, {{larger, '$1'}}}]}, {['_'], [], [{message, false}]}],
    {ok, 1} = ?T:trace_calls(T, {traced, called, 1}, #{match_spec => Spec}),
    {ok, 1} = ?T:trace_processes(T, Pid, [call]),
    traced:told(Pid, fun() -> [traced:called(N) || N <- lists:seq(1, 7)] end),
    ok = ?T:stop(T),
    ?assertEqual([{trace, Pid, call, {traced, called, [N]}, {larger, N}} || N <- [6, 7]], traced:sorted(traced:events(P))).

terms() ->
    [
        a, [], 0, -1, 1 bsl 58, 1 bsl 62, -(1 bsl 62), 1 bsl 63, 1 bsl 200, -(1 bsl 200), 1.5, -0.0, {}, {a}, {a, {b, {c}}}, [a], [a | b], [[[]]], "text", <<>>,
        <<"short">>, binary:copy(<<"x">>, 64), binary:copy(<<"x">>, 65), binary:copy(<<"x">>, 300), binary:part(binary:copy(<<"abc">>, 5000), 7, 100),
        self(), make_ref(), hd(erlang:ports()), #{}, #{a => 1}, #{a => #{b => [c, {d, <<"e">>}]}, {1, 2} => "x"},
        maps:from_list([{N, N} || N <- lists:seq(1, 40)]), list_to_tuple(lists:seq(1, 60)), lists:seq(1, 60), binary_to_term(<<131, 88, 100, 0, 3, "a@b", 1:32, 2:32, 3:32>>)
    ].

an_argument_that_fits_comes_whole_test_() -> {timeout, 60, fun an_argument_that_fits_comes_whole/0}.
an_argument_that_fits_comes_whole() ->
    {P, T} = traced:started(#{}, #{bytes => 2048}),
    Pid = traced:traced(),
    {ok, 1} = ?T:trace_calls(T, {traced, called, 1}),
    {ok, 1} = ?T:trace_processes(T, Pid, [call]),
    Terms = terms(),
    traced:told(Pid, fun() -> [traced:called(Term) || Term <- Terms], ok end),
    ok = ?T:stop(T),
    ?assertEqual(traced:sorted([{trace, Pid, call, {traced, called, [Term]}} || Term <- Terms]), traced:sorted(traced:events(P))).

what_does_not_fit_is_marked_and_bounded_test_() -> {timeout, 60, fun what_does_not_fit_is_marked_and_bounded/0}.
what_does_not_fit_is_marked_and_bounded() ->
    {P, T} = traced:started(#{}, #{bytes => 512, depth => 2}),
    Pid = traced:traced(),
    {ok, 2} = ?T:trace_calls(T, {traced, called}),
    {ok, 1} = ?T:trace_processes(T, Pid, [call]),
    Binary = binary:copy(<<"0123456789">>, 100000),
    Fun = fun() -> Binary end,
    Arguments = [lists:seq(1, 1000000), list_to_tuple(lists:seq(1, 100000)), maps:from_list([{N, N} || N <- lists:seq(1, 10000)]), Binary, Fun, <<5:3>>, {a, {b, {c}}}, [[[x]]], {x, #{{1} => a, {2} => a}},
        maps:from_list([{N, lists:seq(1, N)} || N <- lists:seq(1, 30)])],
    traced:told(Pid, fun() -> [traced:called(A) || A <- Arguments], traced:called(Binary, lists:seq(1, 100)), traced:called(lists:seq(1, 1000), last), ok end),
    ok = ?T:stop(T),
    [List, Tuple, Map, Cut, Shown, Bits, Deep, Nested, Keys, Small, Two, Last] =
        [Given || {trace, _, call, {_, called, Given}} <- in_order(P, Pid)],
    [Numbers] = List,
    {Head, '...'} = split_improper(Numbers, []),
    ?assertEqual(lists:seq(1, length(Head)), Head),
    %% Where the VM's layout of terms is unknown, a number and an atom take more words.
    {Least, Atom} =
        case vm_layout:is_known() of
            true -> {20, last};
            false -> {10, '...'}
        end,
    ?assert(length(Head) > Least),
    [Elements] = Tuple,
    ?assertEqual('...', element(tuple_size(Elements), Elements)),
    [Pairs] = Map,
    ?assertMatch(#{'...' := '...'}, Pairs),
    ?assertEqual([], [K || {K, V} <- maps:to_list(Pairs), K =/= V]),
    ?assertEqual([{'...', binary:part(Binary, 0, 64), 1000000}], Cut),
    [{'...', Text}] = Shown,
    ?assertMatch(<<"#Fun<tracer_tests.", _/binary>>, Text),
    ?assertEqual([{'...', <<"<<5:3>>">>}], Bits),
    ?assertEqual([{a, {b, '...'}}], Deep),
    ?assertEqual([[['...']]], Nested),
    ?assertEqual([{x, #{'...' => a}}], Keys),
    ?assertMatch([{'...', _, 1000000}, [1 | _]], Two),
    [Lists] = Small,
    ?assertMatch(#{'...' := '...', 1 := [1]}, Lists),
    %% Each argument has its place, even if the first one could take all.
    [[1 | _], Second] = Last,
    ?assertEqual(Atom, Second),
    {ok, #{bytes_captured := Bytes}} = ?C:metrics(P),
    ?assert(Bytes =< 12 * 512).

split_improper([A | Rest], Before) -> split_improper(Rest, [A | Before]);
split_improper(End, Before) -> {lists:reverse(Before), End}.

%% In the order of time.
in_order(P, Pid) ->
    {ok, #{captured := Captured}} = ?C:metrics(P),
    ok = ?C:attach(P),
    [Payload || {_, Payload} <- lists:sort(timed(P, Captured)), element(2, Payload) =:= Pid].

timed(_P, 0) -> [];
timed(P, Left) ->
    receive
        {capture_batch, P, Token, _, _, Events, _} ->
            ok = ?C:complete(P, Token, ok),
            [{{Time, Ring, Sequence}, Payload} || {Payload, Ring, Sequence, Time, _, _, _} <- Events] ++ timed(P, Left - length(Events))
    after 20000 -> error({missing, Left})
    end.

a_full_ring_drops_and_the_ledger_counts_every_trace_test_() -> {timeout, 60, fun a_full_ring_drops_and_the_ledger_counts_every_trace/0}.
a_full_ring_drops_and_the_ledger_counts_every_trace() ->
    {P, T} = traced:started(#{ring_bytes => 4096, max_rings => 1000}, #{max_rate => infinity, bytes => 256}),
    Pid = traced:traced(),
    {ok, 1} = ?T:trace_calls(T, {traced, called, 1}),
    {ok, 1} = ?T:trace_processes(T, Pid, [call]),
    traced:told(Pid, fun() -> [traced:called(N) || N <- lists:seq(1, 10000)], ok end),
    ok = ?T:stop(T),
    {ok, #{offered := Offered, captured := Captured, dropped_full := Full}} = ?C:metrics(P),
    ?assertEqual(10000, Offered),
    ?assertEqual(10000, Captured + Full),
    ?assert(Full > 0),
    ?assertMatch(#{captured := Captured, refused := Full}, ?T:info(T)).

%% ---- other storages ----

a_journal_has_the_traces_as_terms_test_() -> {timeout, 60, fun a_journal_has_the_traces_as_terms/0}.
a_journal_has_the_traces_as_terms() ->
    Path = filename:join(filename:basedir(user_cache, "capture_tracer_tests"), integer_to_list(erlang:unique_integer([positive]))),
    ok = filelib:ensure_dir(Path),
    {ok, P} = ?C:start(#{}, {journal, Path, #{}}),
    {ok, T} = ?T:start(P, #{depth => 2}),
    Pid = traced:traced(),
    {ok, 1} = ?T:trace_calls(T, {traced, called, 1}, #{return => true}),
    {ok, 1} = ?T:trace_processes(T, Pid, [call]),
    traced:told(Pid, fun() -> traced:called({a, [{b}]}) end),
    ok = ?T:stop(T),
    ok = ?C:close(P),
    {ok, Reader} = elixir_scope_capture_pipeline_journal:open(Path, #{order => time}),
    {ok, Events} = elixir_scope_capture_pipeline_journal:next(Reader, 100),
    {ok, Definitions} = elixir_scope_capture_pipeline_journal:definitions(Reader),
    ok = elixir_scope_capture_pipeline_journal:close(Reader),
    ok = file:del_dir_r(Path),
    ?assertEqual(
        [{trace, Pid, call, {traced, called, [{a, ['...']}]}}, {trace, Pid, return_from, {traced, called, 1}, {a, ['...']}}],
        [binary_to_term(Payload) || #{payload := Payload} <- Events]
    ),
    ?assertEqual([?T:kind(call), ?T:kind(return_from)], [Kind || #{kind := Kind} <- Events]),
    ?assert(length(Definitions) >= maps:size(?T:kinds())).
