%% Readers of journals and the processes that use them: several at once, killed ones, a journal that is being written, the end of a reader.
-module(reader_processes_tests).
-include_lib("eunit/include/eunit.hrl").
-define(C, elixir_scope_capture_pipeline).
-define(J, elixir_scope_capture_pipeline_journal).

%% A journal of so many events with numbers, in several segments.
with_numbers(Count, Test) ->
    journal_tests:with_folder(fun(Path) ->
        {ok, P} = ?C:start(#{}, {journal, Path, #{segment_bytes => 1 bsl 17}}),
        [ok = ?C:capture_wait(P, 1, <<N:32, 0:400>>, infinity) || N <- lists:seq(1, Count)],
        ok = ?C:close(P, 60000),
        Test(Path)
    end).

numbers(Events) -> [N || #{payload := <<N:32, _/binary>>} <- Events].

several_processes_share_a_reader_test_() ->
    {timeout, 900, fun() ->
        with_numbers(20000, fun(Path) ->
            {ok, Reader} = ?J:open(Path),
            Self = self(),
            Pids = [spawn_link(fun() -> Self ! {self(), ?J:fold(fun(E, L) -> numbers([E]) ++ L end, [], Reader)} end) || _ <- lists:seq(1, 6)],
            Read = [receive {Pid, {ok, Numbers}} -> Numbers end || Pid <- Pids],
            ?assertEqual(lists:seq(1, 20000), lists:sort(lists:append(Read))),
            {ok, #{any := false}} = ?J:losses(Reader),
            ok = ?J:close(Reader)
        end)
    end}.

%% Killed in the middle of calls: no event is given twice, and the reader goes on.
processes_that_are_killed_in_a_call_leave_the_reader_usable_test_() ->
    {timeout, 900, fun() ->
        with_numbers(40000, fun(Path) ->
            {ok, Reader} = ?J:open(Path),
            Table = ets:new(given, [public, duplicate_bag]),
            Read = fun() -> {ok, _} = ?J:fold(fun(E, ok) -> [ets:insert(Table, {N}) || N <- numbers([E])], ok end, ok, Reader) end,
            [begin
                {Pid, Monitor} = spawn_monitor(Read),
                Before = ets:info(Table, size),
                await:until(fun() -> ets:info(Table, size) > Before orelse not is_process_alive(Pid) end),
                exit(Pid, kill),
                receive {'DOWN', Monitor, _, _, _} -> ok end
            end || _ <- lists:seq(1, 40)],
            {ok, _} = ?J:fold(fun(E, ok) -> [ets:insert(Table, {N}) || N <- numbers([E])], ok end, ok, Reader),
            Given = [N || {N} <- ets:tab2list(Table)],
            ?assertEqual(length(Given), length(lists:usort(Given))),
            ?assert(length(Given) > 20000),
            ?assertEqual(done, ?J:next(Reader, 1)),
            ok = ?J:close(Reader)
        end)
    end}.

a_closed_reader_says_so_and_has_no_files_test() ->
    with_numbers(5000, fun(Path) ->
        {ok, Reader} = ?J:open(Path),
        {ok, [_]} = ?J:next(Reader, 1),
        ?assertNotEqual([], reader_tests:descriptors(Path)),
        ok = ?J:close(Reader),
        ?assertEqual([], reader_tests:descriptors(Path)),
        ok = ?J:close(Reader),
        Closed = [?J:next(Reader, 1), ?J:definitions(Reader), ?J:losses(Reader), ?J:fold(fun(_, A) -> A end, 0, Reader)],
        [?assertMatch({error, {closed, _}}, Answer) || Answer <- Closed]
    end).

%% The call of another process ends first, and closes the reader then.
closing_under_use_test_() ->
    {timeout, 900, fun() ->
        with_numbers(5000, fun(Path) ->
            [begin
                {ok, Reader} = ?J:open(Path),
                Readers = [spawn_monitor(fun() -> exit(?J:fold(fun(_, N) -> N + 1 end, 0, Reader)) end) || _ <- [1, 2, 3]],
                Closers = [spawn_monitor(fun() -> ok = ?J:close(Reader), exit(closed) end) || _ <- [1, 2]],
                [receive {'DOWN', Monitor, _, _, closed} -> ok end || {_, Monitor} <- Closers],
                [receive {'DOWN', Monitor, _, _, {error, {closed, _}}} -> ok; {'DOWN', Monitor, _, _, {ok, _}} -> ok end || {_, Monitor} <- Readers],
                ?assertEqual([], reader_tests:descriptors(Path))
            end || _ <- lists:seq(1, 50)]
        end)
    end}.

a_reader_that_nobody_refers_to_is_closed_test() ->
    with_numbers(5000, fun(Path) ->
        {_, Monitor} = spawn_monitor(fun() ->
            Readers = [element(2, ?J:open(Path)) || _ <- lists:seq(1, 20)],
            [{ok, [_]} = ?J:next(Reader, 1) || Reader <- Readers],
            Open = length(reader_tests:descriptors(Path)),
            exit({Open, length(Readers)})
        end),
        receive {'DOWN', Monitor, _, _, {Open, 20}} -> ?assert(Open >= 20) end,
        await:until(fun() -> reader_tests:descriptors(Path) =:= [] end)
    end).

fold_closes_what_it_has_opened_test() ->
    with_numbers(1000, fun(Path) ->
        ?assertError(enough, ?J:fold(fun(_, _) -> error(enough) end, 0, Path, #{})),
        ?assertEqual([], reader_tests:descriptors(Path)),
        ?assertEqual({ok, 1000}, ?J:fold(fun(_, N) -> N + 1 end, 0, Path, #{order => time})),
        ?assertEqual([], reader_tests:descriptors(Path))
    end).

a_reader_follows_a_journal_that_is_being_written_test_() ->
    {timeout, 900, fun() ->
        journal_tests:with_folder(fun(Path) ->
            {ok, First} = ?C:start(#{}, {journal, Path, #{segment_bytes => 1 bsl 17}}),
            ok = ?C:capture(First, 1, <<0:32, 0:400>>),
            ok = ?C:flush(First, 10000),
            {ok, Reader} = ?J:open(Path, #{follow => true}),
            {ok, Zero} = ?J:next(Reader, 10),
            ?assertEqual([0], numbers(Zero)),
            ?assertEqual(timeout, ?J:next(Reader, 10, 0)),
            ?assertEqual(timeout, ?J:next(Reader, 10, 30)),
            %% The same process writes and reads; then another run of a pipeline begins.
            Write = fun(P, Numbers) -> [ok = ?C:capture_wait(P, 1, <<N:32, 0:400>>, infinity) || N <- Numbers], ok = ?C:flush(P, 10000) end,
            ok = Write(First, lists:seq(1, 3000)),
            ?assertEqual(lists:seq(1, 3000), lists:sort(take(Reader, 3000, []))),
            ok = ?C:close(First, 10000),
            {ok, Second} = ?C:start(#{}, {journal, Path, #{}}),
            Self = self(),
            Writer = spawn_link(fun() -> ok = Write(Second, lists:seq(3001, 6000)), Self ! {self(), written} end),
            ?assertEqual(lists:seq(3001, 6000), lists:sort(take(Reader, 3000, []))),
            receive {Writer, written} -> ok end,
            ok = ?C:close(Second, 10000),
            ?assertEqual(timeout, ?J:next(Reader, 10, 30)),
            {ok, #{any := false}} = ?J:losses(Reader),
            ok = ?J:close(Reader)
        end)
    end}.

take(_Reader, 0, Before) -> Before;
take(Reader, Count, Before) ->
    {ok, Events} = ?J:next(Reader, Count, 20000),
    take(Reader, Count - length(Events), numbers(Events) ++ Before).

%% More processes that wait for events than the VM has dirty schedulers: files are read, and other readers work.
waiting_processes_hold_no_scheduler_test_() ->
    {timeout, 900, fun() ->
        with_numbers(1000, fun(Path) ->
            Waiting = [spawn_link(fun() ->
                {ok, Reader} = ?J:open(Path, #{follow => true}),
                {ok, _} = ?J:next(Reader, 4096),
                receive_events(Reader)
            end) || _ <- lists:seq(1, 40)],
            await:until(fun() -> length(reader_tests:descriptors(Path)) >= 40 end),
            ?assertEqual({ok, 1000}, ?J:fold(fun(_, N) -> N + 1 end, 0, Path, #{})),
            {ok, _} = file:read_file(code:which(?MODULE)),
            [begin unlink(Pid), exit(Pid, kill) end || Pid <- Waiting],
            await:until(fun() -> reader_tests:descriptors(Path) =:= [] end)
        end)
    end}.

receive_events(Reader) ->
    case ?J:next(Reader, 10, 1000) of
        timeout -> receive_events(Reader);
        {ok, _} -> receive_events(Reader)
    end.
