%% Nothing waits in a NIF: flush and close wait in the calling process, and the VM goes on meanwhile. The name of each test is a promise.
-module(waiting_tests).
-include_lib("eunit/include/eunit.hrl").
-define(C, elixir_scope_capture_pipeline).
-define(PATIENCE, 120000).

%% A pipeline with one event, which a consumer does not answer until it is asked to.
held() -> held(#{}).
held(Config) ->
    {ok, P} = ?C:start(Config),
    Self = self(),
    Holder = spawn_link(fun() ->
        ok = ?C:attach(P),
        Self ! {self(), attached},
        hold(P, [])
    end),
    receive {Holder, attached} -> ok end,
    ok = ?C:capture(P, held),
    {P, Holder}.

hold(P, Tokens) ->
    receive
        {capture_batch, P, Token, _, _, _, _} -> hold(P, [Token | Tokens]);
        answer ->
            [ok = ?C:complete(P, Token, ok) || Token <- Tokens],
            hold_no_more(P)
    end.

hold_no_more(P) ->
    receive
        {capture_batch, P, Token, _, _, _, _} -> ?C:complete(P, Token, ok)
    end,
    hold_no_more(P).

%% Starts processes that call it and report the result. They wait by then, or have reported.
callers(Count, Call) ->
    Self = self(),
    Pids = [spawn_link(fun() -> Self ! {self(), Call()} end) || _ <- lists:seq(1, Count)],
    await:blocked(Pids, ?PATIENCE),
    Pids.

answers(Pids) ->
    lists:usort([receive {Pid, Answer} -> Answer after ?PATIENCE -> silent end || Pid <- Pids]).

%% By a process of its own: on a VM whose dirty schedulers are all busy it does not return.
does(What) ->
    [Pid] = callers(1, What),
    [Answer] = answers([Pid]),
    unlink(Pid),
    Answer.

writes_a_file() ->
    Path = filename:join(os:getenv("TMPDIR", "/tmp"), "capture_waiting_" ++ os:getpid()),
    ok = file:write_file(Path, <<"x">>),
    {ok, <<"x">>} = file:read_file(Path),
    file:delete(Path).

a_thousand_flushes_wait_and_files_are_written_meanwhile_test_() ->
    {timeout, 900, fun() ->
        {P, Holder} = held(),
        Flushers = callers(1000, fun() -> ?C:flush(P, infinity) end),
        ?assertEqual(ok, does(fun writes_a_file/0)),
        ?assertMatch({ok, #{in_flight := 1}}, does(fun() -> ?C:metrics(P) end)),
        ?assertMatch({ok, #{status := _}}, does(fun() -> ?C:health(P) end)),
        ?assertMatch({ok, #{batch_size := _}}, does(fun() -> ?C:config(P) end)),
        ?assertMatch({ok, _}, does(fun() -> ?C:writer_metrics(P, 0) end)),
        Holder ! answer,
        ?assertEqual([ok], answers(Flushers)),
        unlink(Holder),
        exit(Holder, kill)
    end}.

a_hundred_closes_wait_and_files_are_written_meanwhile_test_() ->
    {timeout, 900, fun() ->
        {P, Holder} = held(),
        Closers = callers(100, fun() -> ?C:close(P, infinity) end),
        ?assertEqual(ok, does(fun writes_a_file/0)),
        await:until(fun() -> ?C:capture(P, late) =:= {error, closed} end),
        ?assertMatch({ok, #{in_flight := 1}}, does(fun() -> ?C:metrics(P) end)),
        Holder ! answer,
        ?assertEqual([ok], answers(Closers)),
        ?assertMatch({ok, #{stored := 1, left := 0}}, ?C:metrics(P)),
        ?assertMatch({error, {closed, _}}, ?C:close(P)),
        unlink(Holder),
        exit(Holder, kill)
    end}.

%% The answer to a large batch is given on a dirty scheduler.
waiting_flushes_do_not_block_the_delivery_test_() ->
    {timeout, 900, fun() ->
        {P, Holder} = held(#{batch_size => 20000, ring_bytes => 1 bsl 23, linger_us => 100000}),
        [ok = ?C:capture(P, N) || N <- lists:seq(1, 30000)],
        Flushers = callers(20, fun() -> ?C:flush(P, ?PATIENCE) end),
        Holder ! answer,
        ?assertEqual([ok], answers(Flushers)),
        unlink(Holder),
        exit(Holder, kill)
    end}.

%% Locked by another process, for as long as it wants.
starts_wait_for_a_locked_database_and_files_are_written_meanwhile_test_() ->
    {timeout, 900, fun() ->
        Path = filename:join(os:getenv("TMPDIR", "/tmp"), "capture_taken_" ++ os:getpid() ++ ".db"),
        Lock = open_port({spawn_executable, os:find_executable("sqlite3")}, [{args, [Path]}, stream, binary]),
        true = port_command(Lock, "create table t(x); begin exclusive; insert into t values (1); select 'locked';\n"),
        receive {Lock, {data, <<"locked", _/binary>>}} -> ok after ?PATIENCE -> error(no_lock) end,
        Starters = callers(12, fun() ->
            %% The file is no database of this library.
            {error, {Reason, Text}} = ?C:start(#{}, {sqlite, Path, #{busy_timeout_ms => 60000}}),
            {Reason, binary:match(Text, <<"lock">>)}
        end),
        ?assertEqual(ok, does(fun writes_a_file/0)),
        true = port_command(Lock, "rollback;\n.quit\n"),
        ?assertMatch([{_, nomatch}], answers(Starters)),
        try port_close(Lock) of _ -> ok catch error:badarg -> ok end,
        [file:delete(Path ++ End) || End <- ["", "-wal", "-shm", "-journal"]]
    end}.

a_timeout_is_kept_and_leaves_no_message_test() ->
    {P, Holder} = held(),
    Before = process_info(self(), message_queue_len),
    {error, {timeout, Text}} = ?C:flush(P, 20),
    ?assertEqual(<<"pipeline_flush: after 20 ms, 0 events are unclaimed, 1 in flight, 0 in doubt">>, Text),
    ?assertMatch({error, {timeout, _}}, ?C:flush(P, 0)),
    [?assertMatch({error, {timeout, _}}, ?C:flush(P, 1)) || _ <- lists:seq(1, 50)],
    ?assertMatch({error, {timeout, _}}, ?C:close(P, 20)),
    ?assertMatch({error, {timeout, _}}, ?C:close(P, 0)),
    Holder ! answer,
    ok = ?C:close(P, infinity),
    ?assertEqual(Before, process_info(self(), message_queue_len)),
    unlink(Holder),
    exit(Holder, kill).

a_flush_of_settled_events_returns_at_once_test() ->
    {ok, P} = ?C:start(#{}),
    ok = ?C:flush(P, 0),
    ok = ?C:flush(P, 1),
    ok = ?C:flush(P),
    % Its writer may not have come to rest yet.
    await:until(fun() -> ?C:close(P, 0) =:= ok end),
    ?assertMatch({error, {closed, _}}, ?C:flush(P, 100)).

%% One process waits longer: the timeout of the other does not end the drain.
each_close_has_its_own_timeout_test_() ->
    {timeout, 900, fun() ->
        {P, Holder} = held(),
        Long = callers(5, fun() -> ?C:close(P, infinity) end),
        await:until(fun() -> ?C:capture(P, late) =:= {error, closed} end),
        Short = callers(5, fun() -> ?C:close(P, 10) end),
        [?assertMatch({error, {timeout, _}}, A) || A <- answers(Short)],
        Holder ! answer,
        ?assertEqual([ok], answers(Long)),
        unlink(Holder),
        exit(Holder, kill)
    end}.

a_close_answers_flushes_test_() ->
    {timeout, 900, fun() ->
        {P, Holder} = held(),
        Flushers = callers(10, fun() -> ?C:flush(P, infinity) end),
        ?assertMatch({error, {timeout, _}}, ?C:close(P, 50)),
        [?assertMatch({error, {closed, _}}, A) || A <- answers(Flushers)],
        unlink(Holder),
        exit(Holder, kill)
    end}.

%% Waiters hold only their requests: a pipeline without references ends, with its threads.
killed_processes_hold_no_pipeline_test_() ->
    {timeout, 900, fun() ->
        Name = "forsaken",
        Owner = spawn(fun() ->
            {ok, P} = ?C:start(#{name => Name}),
            ok = ?C:capture(P, kept),
            [spawn_link(fun() -> ?C:flush(P, infinity) end) || _ <- lists:seq(1, 300)],
            receive close -> ok end,
            [spawn_link(fun() -> ?C:close(P, infinity) end) || _ <- lists:seq(1, 3)],
            receive after infinity -> ok end
        end),
        await:until(fun() -> threads(Name) > 0 end),
        % A flush that comes after a close would not wait.
        await:until(fun() -> length(linked(Owner)) =:= 300 end),
        await:blocked(linked(Owner)),
        Owner ! close,
        await:until(fun() -> length(linked(Owner)) =:= 303 end),
        await:blocked(linked(Owner)),
        exit(Owner, kill),
        await:until(fun() -> threads(Name) =:= 0 end, 30000)
    end}.

linked(Pid) ->
    {links, Linked} = process_info(Pid, links),
    Linked.

threads(Name) ->
    Names = [file:read_file(F) || F <- filelib:wildcard("/proc/self/task/*/comm")],
    length([N || {ok, N} <- Names, binary:match(N, list_to_binary(Name)) =/= nomatch]).

%% A storage's own flush is called for each of them, or for several at once.
a_database_is_flushed_by_many_at_once_test_() ->
    {timeout, 900, fun() ->
        Path = filename:join(os:getenv("TMPDIR", "/tmp"), "capture_waiting_" ++ os:getpid() ++ ".db"),
        {ok, P} = ?C:start(#{}, {sqlite, Path, #{}}),
        Pids = callers(100, fun() ->
            ok = ?C:capture(P, 1, <<"x">>),
            ?C:flush(P, ?PATIENCE)
        end),
        ?assertEqual([ok], answers(Pids)),
        ?assertMatch({ok, #{stored := 100}}, ?C:metrics(P)),
        ok = ?C:close(P, ?PATIENCE),
        [file:delete(Path ++ End) || End <- ["", "-wal", "-shm"]]
    end}.
