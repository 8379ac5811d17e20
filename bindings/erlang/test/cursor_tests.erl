%% The shared cursor: the name of each test is a promise of c_src/ring/cursor.h.
-module(cursor_tests).
-include_lib("eunit/include/eunit.hrl").
-import(elixir_scope_capture_pipeline_nif, [
    cursor_new/1, cursor_begin/2, cursor_claim/3, cursor_settle/2, cursor_return/2, cursor_set/2, cursor_wait/1, cursor_info/1
]).

new() ->
    {ok, Cursor} = cursor_new(none),
    Cursor.

take(Cursor, Count) ->
    {read, From} = cursor_begin(Cursor, Count),
    {ok, Id} = cursor_claim(Cursor, From, From + Count),
    {Id, From, From + Count}.

info(Cursor, Key) -> maps:get(Key, cursor_info(Cursor)).

%% A process that runs a function on the cursor and then lives until it is asked to die.
worker(Fun) ->
    Self = self(),
    {Pid, Monitor} = spawn_monitor(fun() ->
        Self ! {self(), Fun()},
        receive
            die -> ok
        end
    end),
    receive
        {Pid, Result} -> {Pid, Monitor, Result}
    end.

die({Pid, Monitor, _}) ->
    exit(Pid, kill),
    receive
        {'DOWN', Monitor, process, Pid, _} -> ok
    end.

starts_at_0_and_goes_on_behind_what_was_claimed_test() ->
    Cursor = new(),
    {_, 0, 5} = take(Cursor, 5),
    {_, 5, 7} = take(Cursor, 2),
    ?assertEqual({read, 7}, cursor_begin(Cursor, 1)).

an_empty_read_ends_the_turn_test() ->
    Cursor = new(),
    {read, 0} = cursor_begin(Cursor, 10),
    ?assertEqual(self(), info(Cursor, turn)),
    ?assertEqual(empty, cursor_claim(Cursor, 0, 0)),
    ?assertEqual(none, info(Cursor, turn)).

one_reader_at_a_time_has_the_turn_test() ->
    Cursor = new(),
    {read, 0} = cursor_begin(Cursor, 10),
    {read, 0} = cursor_begin(Cursor, 10),
    {_, _, busy} = Other = worker(fun() -> cursor_begin(Cursor, 10) end),
    die(Other),
    {ok, _} = cursor_claim(Cursor, 0, 10),
    {_, _, {read, 10}} = worker(fun() -> cursor_begin(Cursor, 10) end).

the_turn_of_a_dead_process_is_free_test() ->
    Cursor = new(),
    Worker = worker(fun() -> cursor_begin(Cursor, 10) end),
    busy = cursor_begin(Cursor, 10),
    die(Worker),
    await:until(fun() -> cursor_begin(Cursor, 10) =:= {read, 0} end).

the_claims_of_a_dead_process_come_back_test() ->
    Cursor = new(),
    {_, 0, 3} = take(Cursor, 3),
    Worker = worker(fun() -> {take(Cursor, 4), take(Cursor, 5)} end),
    {Last, 12, 14} = take(Cursor, 2),
    die(Worker),
    await:until(fun() -> info(Cursor, returned) =:= 9 end),
    {again, A, 3, 9} = cursor_begin(Cursor, 6),
    {again, B, 9, 12} = cursor_begin(Cursor, 6),
    {read, 14} = cursor_begin(Cursor, 6),
    ?assertEqual(0, info(Cursor, settled)),
    [ok = cursor_settle(Cursor, Id) || Id <- [1, A, B, Last]],
    ?assertMatch(#{settled := 14, open := 0, claimed := 0, returned := 0}, cursor_info(Cursor)).

a_settled_claim_is_not_returned_when_its_owner_dies_test() ->
    Cursor = new(),
    Worker = worker(fun() ->
        {Id, 0, 4} = take(Cursor, 4),
        cursor_settle(Cursor, Id)
    end),
    die(Worker),
    await:until(fun() -> info(Cursor, owners) =:= 0 end),
    ?assertEqual({read, 4}, cursor_begin(Cursor, 1)).

settled_is_the_end_of_the_settled_prefix_test() ->
    Cursor = new(),
    {A, _, _} = take(Cursor, 2),
    {B, _, _} = take(Cursor, 2),
    {C, _, _} = take(Cursor, 2),
    ok = cursor_settle(Cursor, C),
    ?assertEqual(0, info(Cursor, settled)),
    ok = cursor_settle(Cursor, A),
    ?assertEqual(2, info(Cursor, settled)),
    ok = cursor_settle(Cursor, B),
    ?assertEqual(6, info(Cursor, settled)).

a_claim_is_settled_or_returned_once_test() ->
    Cursor = new(),
    {A, _, _} = take(Cursor, 2),
    {B, _, _} = take(Cursor, 2),
    ok = cursor_settle(Cursor, A),
    ?assertEqual(unknown, cursor_settle(Cursor, A)),
    ?assertEqual(unknown, cursor_return(Cursor, A)),
    ok = cursor_return(Cursor, B),
    ?assertEqual(unknown, cursor_return(Cursor, B)),
    ?assertEqual(unknown, cursor_settle(Cursor, B)),
    ?assertEqual(unknown, cursor_settle(Cursor, 1 bsl 63)).

returned_ranges_are_merged_and_read_before_anything_new_test() ->
    Cursor = new(),
    Taken = [take(Cursor, 3) || _ <- lists:seq(1, 100)],
    Shuffled = [T || {_, T} <- lists:sort([{erlang:phash2(T), T} || T <- Taken])],
    [ok = cursor_return(Cursor, Id) || {Id, _, _} <- Shuffled],
    ?assertMatch({again, _, 0, 300}, cursor_begin(Cursor, 1000)).

any_process_may_settle_test() ->
    Cursor = new(),
    {Id, _, _} = take(Cursor, 2),
    {_, _, ok} = worker(fun() -> cursor_settle(Cursor, Id) end).

a_turn_that_was_not_taken_cannot_claim_test() ->
    Cursor = new(),
    ?assertEqual(stale, cursor_claim(Cursor, 0, 5)),
    {read, 0} = cursor_begin(Cursor, 5),
    {_, _, stale} = worker(fun() -> cursor_claim(Cursor, 0, 5) end),
    ?assertMatch({ok, _}, cursor_claim(Cursor, 0, 5)),
    ?assertEqual(stale, cursor_claim(Cursor, 5, 6)).

a_reader_may_skip_overwritten_positions_test() ->
    Cursor = new(),
    {read, 0} = cursor_begin(Cursor, 5),
    {ok, Id} = cursor_claim(Cursor, 100, 105),
    ok = cursor_settle(Cursor, Id),
    ?assertEqual(105, info(Cursor, settled)).

set_makes_claims_and_turns_stale_test() ->
    Cursor = new(),
    {A, _, _} = take(Cursor, 5),
    {B, _, _} = take(Cursor, 5),
    ok = cursor_return(Cursor, B),
    {again, C, 5, 7} = cursor_begin(Cursor, 2),
    {_, _, {again, _, 7, 10}} = worker(fun() -> cursor_begin(Cursor, 5) end),
    {read, 10} = cursor_begin(Cursor, 5),
    ok = cursor_set(Cursor, 3),
    ?assertEqual(stale, cursor_claim(Cursor, 10, 15)),
    [?assertEqual(unknown, cursor_settle(Cursor, Id)) || Id <- [A, B, C]],
    ?assertMatch(#{next := 3, settled := 3, open := 0, returned := 0, turn := none}, cursor_info(Cursor)),
    {_, 3, 8} = take(Cursor, 5).

wrong_arguments_are_answered_test() ->
    Cursor = new(),
    Bad = {error, badarg},
    Values = [a, -1, 1.0, 1 bsl 64, <<>>, self(), make_ref(), #{}, [1 | 2]],
    [
        begin
            ?assertEqual(Bad, cursor_new(V)),
            ?assertEqual(Bad, cursor_begin(V, 1)),
            ?assertEqual(Bad, cursor_begin(Cursor, V)),
            ?assertEqual(Bad, cursor_claim(V, 0, 1)),
            ?assertEqual(Bad, cursor_claim(Cursor, V, 1)),
            ?assertEqual(Bad, cursor_claim(Cursor, 0, V)),
            ?assertEqual(Bad, cursor_settle(V, 1)),
            ?assertEqual(Bad, cursor_settle(Cursor, V)),
            ?assertEqual(Bad, cursor_return(V, 1)),
            ?assertEqual(Bad, cursor_return(Cursor, V)),
            ?assertEqual(Bad, cursor_set(Cursor, V)),
            ?assertEqual(Bad, cursor_wait(V)),
            ?assertEqual(Bad, cursor_info(V))
        end
     || V <- Values
    ],
    ?assertEqual(Bad, cursor_begin(Cursor, 0)),
    ?assertEqual(Bad, cursor_claim(Cursor, 5, 4)),
    ?assertEqual(unsupported, cursor_wait(Cursor)).

%% Workers that die at random: every position is settled exactly once.
every_position_is_settled_once_although_processes_die_test_() ->
    {timeout, 900, fun() ->
        Cursor = new(),
        End = 20000,
        Table = ets:new(settled, [public, duplicate_bag]),
        Self = self(),
        Start = fun() -> spawn_monitor(fun() -> work(Cursor, End, Table, Self) end) end,
        supervise([Start() || _ <- lists:seq(1, 8)], Start, End, Cursor),
        Seen = lists:sort(lists:append([lists:seq(F, T - 1) || {F, T} <- ets:tab2list(Table)])),
        ?assertEqual(lists:seq(0, End - 1), Seen),
        ?assertMatch(#{open := 0, returned := 0, settled := End}, cursor_info(Cursor))
    end}.

supervise([], _, _, _) -> ok;
supervise(Workers, Start, End, Cursor) ->
    receive
        {'DOWN', Monitor, process, Pid, normal} -> supervise(Workers -- [{Pid, Monitor}], Start, End, Cursor);
        {'DOWN', Monitor, process, Pid, _} -> supervise([Start() | Workers -- [{Pid, Monitor}]], Start, End, Cursor)
    end.

work(Cursor, End, Table, Self) ->
    case cursor_begin(Cursor, 7) of
        busy ->
            erlang:yield(),
            work(Cursor, End, Table, Self);
        {again, Id, From, To} -> finish(Cursor, End, Table, Self, Id, From, To);
        {read, End} ->
            empty = cursor_claim(Cursor, End, End),
            case cursor_info(Cursor) of
                #{settled := End} -> ok;
                _ ->
                    %% A worker with a claim may still die, and then this one gets the turn.
                    receive after 1 -> ok end,
                    work(Cursor, End, Table, Self)
            end;
        {read, From} ->
            maybe_die(10),
            To = min(From + rand:uniform(7), End),
            {ok, Id} = cursor_claim(Cursor, From, To),
            finish(Cursor, End, Table, Self, Id, From, To)
    end.

finish(Cursor, End, Table, Self, Id, From, To) ->
    maybe_die(5),
    case rand:uniform(4) of
        1 -> ok = cursor_return(Cursor, Id);
        _ ->
            ets:insert(Table, {From, To}),
            ok = cursor_settle(Cursor, Id)
    end,
    work(Cursor, End, Table, Self).

maybe_die(N) ->
    case rand:uniform(N) of
        1 -> exit(kill);
        _ -> ok
    end.
