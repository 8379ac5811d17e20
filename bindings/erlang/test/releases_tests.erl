%% What newer releases of OTP have changed about terms and messages: the name of each test is a promise. A test of something that this VM does not
%% have checks only that; what an older compiler cannot read is compiled when the test runs.
-module(releases_tests).
-include_lib("eunit/include/eunit.hrl").
-export([overtaken/1]).
-import(elixir_scope_capture_pipeline_term, [bound/2]).
-define(C, elixir_scope_capture_pipeline).
-define(NIF, elixir_scope_capture_pipeline_nif).
-define(MEGABYTE, 1048576).

release() -> list_to_integer(erlang:system_info(otp_release)).

%% ---- bit strings; OTP 27 has another layout for them, and for slices ----

bit_strings_of_every_offset_and_size_come_back_identical_test_() ->
    {timeout, 600, fun() ->
        Parent = << <<(N * 7919):16>> || N <- lists:seq(1, 1000) >>,
        Cut = fun(Offset, Bits) -> <<_:Offset, Part:Bits/bitstring, _/bitstring>> = Parent, Part end,
        Whole = [<<5:3>>, <<1:1>>, <<0:7>>, <<1:9>>, <<-1:511>>, <<-1:513>>, <<0:8191>>, <<1:80001>>, <<Parent/binary, 1:1>>],
        Slices = [Cut(Offset, Bits) || Offset <- [0, 1, 3, 7, 8, 9, 63, 64, 65, 1021], Bits <- [0, 1, 7, 8, 9, 63, 64, 65, 504, 511, 512, 513, 520, 4001, 4096]],
        %% Of a slice; and one whose memory has space for what is appended, as it is left by an append.
        <<_:5, Inner:300/bitstring, _/bitstring>> = Cut(3, 2000),
        Appended = lists:foldl(fun(N, Sofar) -> <<Sofar/bitstring, N:5>> end, <<>>, lists:seq(1, 333)),
        Grown = lists:foldl(fun(N, Sofar) -> <<Sofar/binary, N:32>> end, <<>>, lists:seq(1, 333)),
        Bits = Whole ++ Slices ++ [Inner, Appended, <<Appended/bitstring, 1:1>>, Grown, binary:part(Grown, 3, 1000)],
        ok = ways:through(Bits),
        ok = ways:through([{Bit, [a | Bit], #{Bit => Bit, key => [Bit]}} || Bit <- Bits] ++ [Bits, list_to_tuple(Bits), fun() -> Bits end]),
        %% The binaries that were appended to are what they were, also when they are appended to again.
        ?assertEqual(<<1:5, 2:5, 3:5>>, binary_part_of(Appended)),
        ok = ways:through([<<Appended/bitstring, 7:7>>, <<Grown/binary, 7:8>>, Appended, Grown])
    end}.

binary_part_of(Bits) ->
    <<Part:15/bitstring, _/bitstring>> = Bits,
    Part.

%% ---- priority messages; OTP 28 ----

priority_alias() ->
    try
        {ok, erlang:alias([priority])}
    catch
        error:badarg -> none
    end.

send_first(Alias, Message) -> erlang:send(Alias, Message, [priority]).

a_priority_message_overtakes_batches_and_changes_none_test_() ->
    {timeout, 900, fun() -> [ok = overtaken(Storage) || Storage <- [delivery, notices]] end}.

overtaken(Storage) ->
    Terms = [{N, binary:copy(<<N>>, 100), <<N:13>>, fun() -> N end} || N <- lists:seq(1, 60)],
    {ok, P} = ?C:start(#{batch_size => 2}, Storage),
    [ok = ?C:capture(P, Term) || Term <- Terms],
    case priority_alias() of
        none ->
            ?assert(release() < 28);
        {ok, Alias} ->
            ok = ?C:attach(P),
            ?assertEqual(lists:sort(Terms), lists:sort(overtake(P, Storage, Alias, length(Terms), 1)))
    end,
    _ = ?C:close(P, 0),
    ok.

%% A batch is in the mailbox when the message is sent, and behind it when the mailbox is read.
overtake(_P, _Storage, _Alias, 0, _Round) ->
    [];
overtake(P, Storage, Alias, Left, Round) ->
    await:until(fun() -> queued() > 0 end),
    _ = send_first(Alias, {first, Round}),
    await:until(fun() -> queued() > 1 end),
    ?assertEqual({first, Round}, receive Any -> Any end),
    receive
        {capture_batch, P, Token, _, 1, Given, _} ->
            Events =
                case Storage of
                    delivery -> Given;
                    notices -> ?C:events(P, Token)
                end,
            ok = ?C:complete(P, Token, ok),
            consumer:payloads(Events) ++ overtake(P, Storage, Alias, Left - length(Events), Round + 1)
    end.

queued() ->
    {message_queue_len, Count} = process_info(self(), message_queue_len),
    Count.

a_priority_message_stays_for_its_receiver_while_that_waits_for_a_pipeline_test_() ->
    {timeout, 900, fun() ->
        Waits = [
            {flush, fun(P) -> ?C:flush(P, infinity) end, ok},
            {close, fun(P) -> ?C:close(P, infinity) end, ok},
            {capture_wait, fun(P) -> ?C:capture_wait(P, 1, x, infinity) end, ok}
        ],
        [?assertEqual({What, Answer, first}, {What, Given, Message}) || {What, Wait, Answer} <- Waits, {Given, Message} <- [waited(Wait)]]
    end}.

waited(Wait) ->
    {ok, P} = ?C:start(#{ring_bytes => 4096, overflow => block}),
    ok = fill(P),
    Self = self(),
    {Waiter, Monitor} = spawn_monitor(fun() ->
        Alias = case priority_alias() of {ok, Given} -> Given; none -> self() end,
        Self ! {alias, Alias},
        Answer = Wait(P),
        exit({Answer, receive Any -> Any end})
    end),
    Alias = receive {alias, Told} -> Told end,
    await:blocked([Waiter]),
    _ = if is_pid(Alias) -> Alias ! first; true -> send_first(Alias, first) end,
    await:until(fun() -> process_info(Waiter, message_queue_len) =:= {message_queue_len, 1} end),
    %% Now what it waits for happens.
    Consumer = spawn(fun() -> ok = ?C:attach(P), delivery_tests:answer(P) end),
    receive
        {'DOWN', Monitor, process, Waiter, Reason} ->
            exit(Consumer, kill),
            Reason
    end.

fill(P) ->
    case ?C:capture(P, 1, x) of
        ok -> fill(P);
        {error, full} -> ok
    end.

%% ---- native records; OTP 29 ----

%% Runs the test with a module that makes such records, in a VM that has them.
native(Test) ->
    {timeout, 900, fun() ->
        case code:which(records) of
            non_existing -> ?assert(release() < 29);
            _ -> Test(defined("x = 0, y = 0"))
        end
    end}.

%% A module with native records; the first of them has these fields.
defined(Fields) ->
    Wide = lists:join(", ", ["field" ++ integer_to_list(N) ++ " = " ++ integer_to_list(N) || N <- lists:seq(1, 100)]),
    Text = [
        "-module(with_native_records).\n-export([point/2, hidden/1, empty/0, wide/0, literals/0]).\n-export_record([point, wide]).\n",
        "-record #point{", Fields, "}.\n-record #hidden{value}.\n-record #empty{}.\n-record #wide{", Wide, "}.\n",
        "point(X, Y) -> #point{x = X, y = Y}.\nhidden(Value) -> #hidden{value = Value}.\nempty() -> #empty{}.\nwide() -> #wide{field50 = [a]}.\n",
        "literals() -> [#point{x = {literal, \"list\"}, y = <<\"", lists:duplicate(200, $b), "\">>}, #wide{}].\n"
    ],
    Folder = filename:join(os:getenv("TMPDIR", "/tmp"), "capture_native_records_" ++ os:getpid()),
    File = filename:join(Folder, "with_native_records.erl"),
    ok = filelib:ensure_dir(File),
    ok = file:write_file(File, Text),
    {ok, with_native_records, Code} = compile:file(File, [binary, report_errors]),
    ok = file:del_dir_r(Folder),
    {module, with_native_records} = code:load_binary(with_native_records, File, Code),
    with_native_records.

records(M) ->
    Large = binary:copy(<<"off the heap">>, 50),
    <<_:3, Odd:801/bitstring, _/bitstring>> = Large,
    Point = M:point(1, {2, [3]}),
    [
        Point, M:empty(), M:wide(), M:hidden(Large), M:hidden(binary:part(Large, 7, 100)), M:hidden(Odd), M:hidden(fun() -> Large end),
        M:hidden({self(), make_ref(), hd(erlang:ports())}), M:hidden(#{Point => Point}), M:point(M:hidden(Point), [M:wide() | M:empty()]),
        {Point, Large, binary:part(Large, 1, 70)}, [Point | M:wide()], #{Point => M:wide(), key => [Point]}, fun() -> {Point, binary:part(Large, 3, 99)} end,
        M:point(1.5, 1 bsl 100), maps:from_list([{M:point(N, N), M:hidden(N)} || N <- lists:seq(1, 50)])
        | M:literals()
    ].

native_records_come_back_identical_test_() ->
    native(fun(M) ->
        Records = records(M),
        ok = ways:through(Records),
        ok = ways:through([Records, list_to_tuple(Records), fun() -> Records end])
    end).

%% Their module is replaced, with another definition, and then removed.
captured_native_records_outlive_their_definition_test_() ->
    native(fun(M) ->
        Records = records(M),
        [Held, HeldLonger] = [ways:captured(Records) || _ <- [1, 2]],
        M = defined("y = 1, other = a, x = 1"),
        false = code:purge(M),
        ok = ways:compare(Held, Records),
        true = code:delete(M),
        false = code:purge(M),
        ok = ways:compare(HeldLonger, Records)
    end).

native_records_are_bounded_test_() ->
    native(fun(M) ->
        {ok, P} = ?C:start(#{}),
        Long = lists:seq(1, 1000000),
        Hidden = M:hidden(Long),
        Huge = [
            Hidden, {M:hidden(binary:copy(<<1>>, 100000000))}, M:hidden(fun() -> Long end), fun() -> Hidden end,
            %% So much only as a tree: no part of it is walked more often than the limit allows.
            lists:foldl(fun(_, Record) -> M:point(Record, Record) end, a, lists:seq(1, 200)),
            lists:foldl(fun(_, Record) -> M:point({Record}, [Record]) end, a, lists:seq(1, 200))
        ],
        [?assertEqual({N, {error, too_large}}, {N, ?C:capture(P, Record)}) || {N, Record} <- lists:enumerate(Huge)],
        [?assertEqual({N, too_large}, {N, bound(Record, ?MEGABYTE)}) || {N, Record} <- lists:enumerate(Huge)],
        Deep = lists:foldl(fun(_, Record) -> M:hidden(Record) end, a, lists:seq(1, 1000)),
        {ok, Bytes, _} = bound(Deep, ?MEGABYTE),
        ?assert(Bytes >= erts_debug:flat_size(Deep) * 8),
        ok = ways:through([Deep]),
        ok = ?C:close(P, 60000)
    end).

%% As for other terms (term_tests).
a_copy_of_a_native_record_pins_no_parent_test_() ->
    native(fun(M) ->
        Before = vm_memory:held(binary),
        {ok, Ring} = ?NIF:ring_new(64, drop_oldest, ?MEGABYTE),
        {Pid, Monitor} = spawn_monitor(fun() ->
            Parent = binary:copy(<<1, 2, 3>>, 10000000),
            Slice = binary:part(Parent, 5, 200),
            InFun = M:hidden(Slice),
            Terms = [fun() -> InFun end, InFun, {a, M:point(Slice, [Slice])}, M:hidden(fun() -> Slice end), M:hidden([InFun | fun() -> InFun end])],
            [
                begin
                    {ok, Bytes, Needs} = bound(Term, ?MEGABYTE),
                    ok = ?NIF:ring_write(Ring, Term, Bytes, Needs)
                end
             || Term <- Terms
            ]
        end),
        receive
            {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason)
        end,
        await:until(fun() -> vm_memory:held(binary) - Before < 5000000 end),
        {ok, Fun, _} = ?NIF:ring_read(Ring, 0),
        ?assertEqual(binary:part(binary:copy(<<1, 2, 3>>, 100), 5, 200), apply(records, get, [value, Fun()]))
    end).
