%% Rings under stress: writers, readers by position, cursors whose workers are killed, clear and destroy, all at once. The events read must be those
%% written, in order. A pool must acknowledge every event once. RING_STRESS_MS makes it last longer.
-module(ring_tests).
-include_lib("eunit/include/eunit.hrl").
-import(elixir_scope_capture_pipeline_nif, [
    ring_new/3, ring_write/2, ring_write/4, ring_read/2, ring_read_batch/3, ring_stats/1, ring_clear/1, ring_destroy/1, ring_wait/2,
    cursor_new/1, cursor_begin/2, cursor_claim/3, cursor_settle/2, cursor_return/2, cursor_set/2, cursor_wait/1, cursor_info/1
]).

-define(MEGABYTE, 1048576).

duration() -> list_to_integer(os:getenv("RING_STRESS_MS", "1500")).

%% The expected event follows from its writer and number.
event(Writer, N) ->
    {Writer, N, payload(erlang:phash2({Writer, N}, 12), N)}.

payload(0, N) -> N;
payload(1, N) -> binary:copy(<<N:32>>, 1 + N rem 300);
payload(2, N) -> binary:part(binary:copy(<<N:32>>, 1000), N rem 50, 100 + N rem 900);
payload(3, N) -> lists:seq(N, N + N rem 200);
payload(4, N) -> maps:from_list([{{I, N}, <<I:16>>} || I <- lists:seq(1, 1 + N rem 60)]);
payload(5, N) -> fun(X) -> {X, N, binary:copy(<<N:32>>, 1 + N rem 100)} end;
payload(6, N) -> <<N:(1 + N rem 500)>>;
payload(7, N) when N rem 50 =:= 0 -> lists:seq(N, N + 10000);
payload(8, N) -> [N | binary:copy(<<"x">>, N rem 200)];
payload(_, N) -> #{id => N, name => <<"an event">>, args => [1, {ok, N}, 1.5], pid => self_less, at => N * 1000000000000}.

check({Writer, N, Payload}) when is_function(Payload) ->
    {_, _, Expected} = event(Writer, N),
    true = Payload(1) =:= Expected(1),
    {Writer, N};
check({Writer, N, _} = Event) ->
    true = Event =:= event(Writer, N),
    {Writer, N}.

write(Ring, Event) ->
    case ring_write(Ring, Event) of
        opaque ->
            {ok, Bytes, Needs} = elixir_scope_capture_pipeline_term:bound(Event, ?MEGABYTE),
            ring_write(Ring, Event, Bytes, Needs);
        Answer ->
            Answer
    end.

%% In one batch, the events of a writer ascend.
ascending(Events) ->
    lists:foldl(
        fun(Event, Last) ->
            {Writer, N} = check(Event),
            true = maps:get(Writer, Last, -1) < N,
            Last#{Writer => N}
        end,
        #{},
        Events
    ).

%% ---- everything at once ----

everything_at_once_test_() ->
    {timeout, 600, fun() ->
        [storm(Size, Overflow) || {Size, Overflow} <- [{64, drop_oldest}, {4096, drop_oldest}, {256, drop_newest}, {1, drop_oldest}, {2, block}]]
    end}.

storm(Size, Overflow) ->
    Deadline = erlang:monotonic_time(millisecond) + duration() div 2,
    {ok, Ring} = ring_new(Size, Overflow, ?MEGABYTE),
    {ok, First} = cursor_new(Ring),
    {ok, Second} = cursor_new(Ring),
    Go = fun() -> erlang:monotonic_time(millisecond) < Deadline end,
    Jobs =
        [fun() -> storm_write(Go, Ring, {W, make_ref()}, 0) end || W <- lists:seq(1, 4)] ++
            [fun() -> storm_read(Go, Ring, 0) end || _ <- [1, 2]] ++
            [fun() -> storm_stats(Go, Ring) end] ++
            [fun() -> storm_work(Go, Ring, C) end || C <- [First, Second], _ <- [1, 2, 3]] ++
            [fun() -> storm_clear(Go, Ring, [First, Second]) end, fun() -> storm_wait(Go, Ring) end],
    keep_running(Go, [spawn_job(Job) || Job <- Jobs], length(Jobs)),
    ok = ring_destroy(Ring),
    ?assertEqual({error, destroyed}, ring_write(Ring, a)).

spawn_job(Job) ->
    {Pid, Monitor} = spawn_monitor(Job),
    {Pid, Monitor, Job}.

%% Kills a process now and then. A process that dies by itself fails the test.
keep_running(_, [], _) ->
    ok;
keep_running(Go, Jobs, Count) ->
    receive
        {'DOWN', Monitor, process, _, Reason} ->
            {value, {_, _, Job}, Others} = lists:keytake(Monitor, 2, Jobs),
            case {Reason, Go()} of
                {killed, true} -> keep_running(Go, [spawn_job(Job) | Others], Count);
                {Fine, _} when Fine =:= normal; Fine =:= killed -> keep_running(Go, Others, Count)
            end
    after 5 ->
        case Go() andalso lists:nth(rand:uniform(length(Jobs)), Jobs) of
            {Pid, _, _} -> exit(Pid, kill);
            false -> ok
        end,
        keep_running(Go, Jobs, Count)
    end.

storm_write(Go, Ring, Writer, N) ->
    case write(Ring, event(Writer, N)) of
        ok -> ok;
        {error, buffer_full} -> erlang:yield()
    end,
    Go() andalso storm_write(Go, Ring, Writer, N + 1).

storm_read(Go, Ring, Position) ->
    Next =
        case ring_read(Ring, Position) of
            {ok, Event, P} ->
                check(Event),
                P;
            empty ->
                0
        end,
    {Events, First, After} = ring_read_batch(Ring, Next, rand:uniform(700) - 1),
    After = First + length(Events),
    ascending(Events),
    Go() andalso storm_read(Go, Ring, After).

storm_stats(Go, Ring) ->
    {Write, Read, Writes, Reads, Dropped} = ring_stats(Ring),
    true = Read =< Write andalso Writes =:= Write andalso Reads >= 0 andalso Dropped =< Read,
    Go() andalso storm_stats(Go, Ring).

storm_work(Go, Ring, Cursor) ->
    case cursor_begin(Cursor, 50) of
        busy ->
            erlang:yield();
        {again, Id, From, To} ->
            {Events, _, _} = ring_read_batch(Ring, From, To - From),
            ascending(Events),
            _ = cursor_settle(Cursor, Id);
        {read, From} ->
            {Events, First, After} = ring_read_batch(Ring, From, 50),
            case cursor_claim(Cursor, First, After) of
                {ok, Id} when Id rem 5 =:= 0 -> _ = cursor_return(Cursor, Id);
                {ok, Id} ->
                    ascending(Events),
                    _ = cursor_settle(Cursor, Id);
                empty -> _ = cursor_wait(Cursor);
                stale -> ok
            end
    end,
    flush(),
    Go() andalso storm_work(Go, Ring, Cursor).

%% At random moments with pauses, so that the other processes make progress.
storm_clear(Go, Ring, Cursors) ->
    receive after rand:uniform(20) -> ok end,
    ok = ring_clear(Ring),
    receive after rand:uniform(5) -> ok end,
    ok = cursor_set(hd(Cursors), rand:uniform(100)),
    {ok, Passing} = cursor_new(Ring),
    {read, _} = cursor_begin(Passing, 1),
    Go() andalso storm_clear(Go, Ring, Cursors).

storm_wait(Go, Ring) ->
    {Write, _, _, _, _} = ring_stats(Ring),
    case ring_wait(Ring, Write) of
        ready -> ok;
        {ok, Reference} ->
            receive
                {ring_ready, Reference} -> ok
            after 100 -> ok
            end
    end,
    flush(),
    Go() andalso storm_wait(Go, Ring).

flush() ->
    receive
        {ring_ready, _} -> flush()
    after 0 -> ok
    end.

%% ---- every event, once ----

every_event_is_settled_once_by_each_pool_test_() ->
    {timeout, 600, fun() ->
        Writers = 4,
        Each = 5000,
        {ok, Ring} = ring_new(128, block, ?MEGABYTE),
        Pools = [{Name, element(2, cursor_new(Ring))} || Name <- [first, second]],
        Settled = ets:new(settled, [public, duplicate_bag]),
        Done = fun() -> lists:all(fun({_, C}) -> maps:get(settled, cursor_info(C)) =:= Writers * Each end, Pools) end,
        Go = fun() -> not Done() end,
        Self = self(),
        [spawn_link(fun() -> pressed_write(Ring, W, 0, Each), Self ! written end) || W <- lists:seq(1, Writers)],
        Jobs = [spawn_job(fun() -> pool_work(Go, Ring, Name, C, Settled) end) || {Name, C} <- Pools, _ <- lists:seq(1, 4)],
        keep_running(Go, Jobs, length(Jobs)),
        [receive written -> ok end || _ <- lists:seq(1, Writers)],
        Expected = lists:sort([{W, N} || W <- lists:seq(1, Writers), N <- lists:seq(0, Each - 1)]),
        [?assert(Expected =:= lists:sort([E || {_, E} <- ets:lookup(Settled, Name)]), Name) || {Name, _} <- Pools],
        {Write, Write, Write, _, 0} = ring_stats(Ring),
        ?assertEqual(Writers * Each, Write)
    end}.

pressed_write(_, _, Each, Each) -> ok;
pressed_write(Ring, Writer, N, Each) ->
    case write(Ring, event(Writer, N)) of
        ok -> pressed_write(Ring, Writer, N + 1, Each);
        {error, buffer_full} ->
            erlang:yield(),
            pressed_write(Ring, Writer, N, Each)
    end.

%% Another process acknowledges and records in one step, so that a kill of the worker does not come in between.
pool_work(Go, Ring, Name, Cursor, Settled) ->
    Taken =
        case cursor_begin(Cursor, 20) of
            busy ->
                erlang:yield(),
                none;
            {again, Again, From, To} ->
                {Events, From, Next} = ring_read_batch(Ring, From, To - From),
                {Again, Events, Next - From =:= To - From};
            {read, From} ->
                {Events, From, Next} = ring_read_batch(Ring, From, 20),
                case cursor_claim(Cursor, From, Next) of
                    {ok, Fresh} -> {Fresh, Events, true};
                    empty ->
                        wait(Cursor),
                        none
                end
        end,
    case Taken of
        none -> ok;
        {Id, Batch, true} ->
            Rows = [{Name, check(E)} || E <- Batch],
            Self = self(),
            {_, Monitor} = spawn_monitor(fun() ->
                ok = cursor_settle(Cursor, Id),
                ets:insert(Settled, Rows),
                Self ! Id
            end),
            receive
                {'DOWN', Monitor, process, _, _} -> ok
            end;
        {Id, _, false} ->
            cursor_return(Cursor, Id)
    end,
    Go() andalso pool_work(Go, Ring, Name, Cursor, Settled).

wait(Cursor) ->
    case cursor_wait(Cursor) of
        {ok, Reference} ->
            receive
                {ring_ready, Reference} -> ok
            after 10 -> ok
            end;
        ready -> ok
    end.

%% ---- one by one ----

a_waiter_is_woken_once_by_the_next_write_test() ->
    {ok, Ring} = ring_new(8, drop_oldest, ?MEGABYTE),
    {ok, Reference} = ring_wait(Ring, 0),
    {ok, Reference} = ring_wait(Ring, 0),
    ok = ring_write(Ring, a),
    receive {ring_ready, Reference} -> ok end,
    ok = ring_write(Ring, b),
    receive {ring_ready, _} -> error(woken_twice) after 0 -> ok end, % a write sends its messages before it returns
    ready = ring_wait(Ring, 1),
    {ok, Other} = ring_wait(Ring, 2),
    ok = ring_destroy(Ring),
    receive {ring_ready, Other} -> ok end,
    ready = ring_wait(Ring, 2).

of_a_cursor_one_waiter_is_woken_per_write_test() ->
    {ok, Ring} = ring_new(8, drop_oldest, ?MEGABYTE),
    {ok, First} = cursor_new(Ring),
    {ok, Second} = cursor_new(Ring),
    Self = self(),
    [One, Two, _] = [
        begin
            Pid = spawn_link(fun() ->
                {ok, Reference} = cursor_wait(C),
                Self ! armed,
                receive {ring_ready, Reference} -> Self ! {woken, Name} end
            end),
            receive armed -> Pid end
        end
     || {Name, C} <- [{1, First}, {1, First}, {2, Second}]
    ],
    ok = ring_write(Ring, a),
    receive {woken, 1} -> ok end,
    receive {woken, 2} -> ok end,
    %% The write has sent all its messages, so a process that still waits is not woken by it.
    [_] = [Pid || Pid <- [One, Two], process_info(Pid, status) =:= {status, waiting}],
    ok = ring_write(Ring, b),
    receive {woken, 1} -> ok end.

dead_waiters_make_space_for_new_ones_test() ->
    {ok, Ring} = ring_new(8, drop_oldest, ?MEGABYTE),
    [
        begin
            {_, Monitor} = spawn_monitor(fun() -> {ok, _} = ring_wait(Ring, 0) end),
            receive {'DOWN', Monitor, _, _, Reason} -> ?assertEqual(normal, Reason) end
        end
     || _ <- lists:seq(1, 1000)
    ].

wrong_arguments_are_answered_test() ->
    {ok, Ring} = ring_new(8, drop_oldest, ?MEGABYTE),
    Bad = {error, badarg},
    [
        begin
            ?assertEqual(Bad, ring_new(V, drop_oldest, 1)),
            ?assertEqual(Bad, ring_new(8, V, 1)),
            ?assertEqual(Bad, ring_new(8, drop_oldest, V)),
            ?assertEqual(Bad, ring_write(V, a)),
            ?assertEqual(Bad, ring_write(Ring, a, V, 0)),
            ?assertEqual(Bad, ring_write(Ring, a, 0, V)),
            ?assertEqual(Bad, ring_read(V, 0)),
            ?assertEqual(Bad, ring_read(Ring, V)),
            ?assertEqual(Bad, ring_read_batch(V, 0, 1)),
            ?assertEqual(Bad, ring_read_batch(Ring, V, 1)),
            ?assertEqual(Bad, ring_read_batch(Ring, 0, V)),
            ?assertEqual(Bad, ring_stats(V)),
            ?assertEqual(Bad, ring_clear(V)),
            ?assertEqual(Bad, ring_destroy(V)),
            ?assertEqual(Bad, ring_wait(V, 0)),
            ?assertEqual(Bad, ring_wait(Ring, V))
        end
     || V <- [a, -1, 1.0, 1 bsl 64, <<>>, self(), make_ref(), element(2, cursor_new(none)), #{}, [1 | 2]]
    ],
    ?assertEqual(Bad, ring_new(3, drop_oldest, 1)),
    ?assertEqual(Bad, ring_new(0, drop_oldest, 1)),
    ?assertEqual({error, out_of_memory}, ring_new(1 bsl 62, drop_oldest, 1)),
    {0, 0, 0, 0, 0} = ring_stats(Ring).

a_ring_is_let_go_with_all_its_events_test_() ->
    {timeout, 900, fun() ->
        Before = vm_memory:held(binary),
        {_, Monitor} = spawn_monitor(fun() ->
            {ok, Ring} = ring_new(1 bsl 15, drop_oldest, ?MEGABYTE),
            [ok = ring_write(Ring, binary:copy(<<1>>, 1000)) || _ <- lists:seq(1, 40000)],
            true = vm_memory:held(binary) - Before > 30000000 orelse not vm_memory:is_known()
        end),
        receive {'DOWN', Monitor, _, _, Reason} -> ?assertEqual(normal, Reason) end,
        await:until(fun() -> vm_memory:held(binary) - Before < 1000000 end)
    end}.

%% One settle frees a bounded part; the polls of an idle pool free the rest.
events_settled_all_at_once_are_released_by_an_idle_pool_test_() ->
    {timeout, 900, fun() ->
        {ok, Ring} = ring_new(1024, drop_newest, ?MEGABYTE),
        {ok, Cursor} = cursor_new(Ring),
        Before = vm_memory:held(binary),
        [ok = ring_write(Ring, binary:copy(<<1>>, 60000)) || _ <- lists:seq(1, 1024)],
        {read, 0} = cursor_begin(Cursor, 1024),
        {ok, Id} = cursor_claim(Cursor, 0, 1024),
        ok = cursor_settle(Cursor, Id),
        await:until(
            fun() ->
                {read, 1024} = cursor_begin(Cursor, 10),
                empty = cursor_claim(Cursor, 1024, 1024),
                vm_memory:held(binary) - Before < 1000000
            end
        )
    end}.
