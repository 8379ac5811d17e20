%% Environment blocks are freed with their last event, however its batch is answered: the name of each test is a promise of c_src/delivery/held.h.
-module(held_tests).
-include_lib("eunit/include/eunit.hrl").
-define(C, elixir_scope_capture_pipeline).
-define(EVENTS, 2000).
-define(BYTES, 1000).

%% Binaries to which only the blocks refer show whether these are freed. A block takes no more than four times max_event_bytes, so that a batch
%% has events of many blocks. An open block is held until it is full.
every_block_is_freed_test_() ->
    [
        {atom_to_list(Storage) ++ ": " ++ Name, {timeout, 900, fun() -> freed(Storage, Bytes, Answer) end}}
     || Storage <- [delivery, notices], Bytes <- [2048, 65536],
        {Name, Answer} <- [
            {"stored", fun(_, _) -> ok end},
            {"tried twice", fun(1, _) -> retry; (_, _) -> ok end},
            {"stored without a rejection", fun(_, _) -> {ok, []} end},
            {"some rejected", fun(_, Count) -> {ok, lists:seq(0, Count - 1, 3)} end},
            {"variously", fun(Attempt, Count) ->
                case rand:uniform(4) of
                    1 when Attempt < 4 -> retry;
                    2 -> {ok, [Count - 1]};
                    _ -> ok
                end
            end}
        ]
    ].

freed(Storage, EventBytes, Answer) ->
    {ok, P} = ?C:start(#{terms => blocks, batch_size => 100, ring_bytes => 1 bsl 20, max_event_bytes => EventBytes, retry_initial_us => 0}, Storage),
    garbage_collect(),
    Before = vm_memory:held(binary),
    Self = self(),
    {Consumer, Monitor} = spawn_monitor(fun() ->
        ok = ?C:attach(P),
        Self ! attached,
        consume(P, Answer, [])
    end),
    receive attached -> ok end,
    [ok = ?C:capture_wait(P, 0, {N, binary:copy(<<N:16>>, ?BYTES div 2)}, infinity) || N <- lists:seq(1, ?EVENTS)],
    ok = ?C:flush(P, 60000),
    {ok, #{captured := Captured, stored := Stored, dead_lettered := Dead, in_flight := 0, buffered := 0}} = ?C:metrics(P),
    ?assertEqual({?EVENTS, ?EVENTS}, {Captured, Stored + Dead}),
    Consumer ! {seen, Self},
    Seen = receive {seen, Ns} -> Ns end,
    ?assertEqual(lists:seq(1, ?EVENTS), lists:usort(Seen)),
    await:until(fun() -> garbage_collect(), garbage_collect(Consumer), vm_memory:held(binary) < Before + ?EVENTS * ?BYTES div 4 end),
    Consumer ! stop,
    receive {'DOWN', Monitor, process, Consumer, normal} -> ok end,
    ok = ?C:close(P, 5000).

consume(P, Answer, Seen) ->
    receive
        {seen, From} -> From ! {seen, Seen}, consume(P, Answer, Seen);
        stop -> ok;
        {capture_batch, P, _, _, _, _, _} = Batch -> answer(P, Batch, Answer, Seen)
    end.

answer(P, {capture_batch, P, Token, _, Attempt, Count, _}, Answer, Seen) ->
    Events = if is_list(Count) -> Count; true -> ?C:events(P, Token) end,
    Ns = [begin Binary = binary:copy(<<N:16>>, ?BYTES div 2), N end || {{N, Binary}, _, _, _, 0, 0, 0} <- Events],
    ?assertEqual(length(Events), length(Ns)),
    case ?C:complete_next(P, Token, Answer(Attempt, length(Events))) of
        ok -> consume(P, Answer, Ns ++ Seen);
        Next -> answer(P, Next, Answer, Ns ++ Seen)
    end.
