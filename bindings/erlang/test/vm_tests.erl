%% Tests that need a VM of their own: upgrades, purges, and the end of the VM. The name of each test is a promise.
-module(vm_tests).
-include_lib("eunit/include/eunit.hrl").
-export([
    count/2, terminated/0, reloaded/0, from_a_copy/0, purged/0, halted/0, stopped/0, halted_at_once/0, halted_sqlite/1, killed_writers/0, started_again/0, readers/0,
    copy/1, reload_from/1, traced_reloaded/0, traced_purged/0, step/1, store/1
]).
-define(C, elixir_scope_capture_pipeline).
-define(NIF, elixir_scope_capture_pipeline_nif).
-define(J, elixir_scope_capture_pipeline_journal).
-define(T, elixir_scope_capture_pipeline_tracer).

%% Runs a function of this module in a VM of its own. Returns the exit status and the output of the VM.
vm(Function) -> vm(Function, []).
vm(Function, Arguments) ->
    Paths = lists:append([["-pa", filename:dirname(code:which(M))] || M <- [?MODULE, ?C]]),
    Call = lists:flatten(io_lib:format("apply(~p, ~p, ~p), io:put_chars(\"returned\"), halt().", [?MODULE, Function, Arguments])),
    %% A function that returns leaves `returned' at the end of the output.
    Port = open_port(
        {spawn_executable, os:find_executable("erl")},
        [{args, ["-noshell", "-noinput" | Paths] ++ ["-eval", Call]}, exit_status, stderr_to_stdout, binary, {env, env()}]
    ),
    collect(Port, <<>>).

env() -> [{"ERL_CRASH_DUMP_SECONDS", "0"}].

collect(Port, Said) ->
    receive
        {Port, {data, More}} -> collect(Port, <<Said/binary, More/binary>>);
        {Port, {exit_status, Status}} -> {Status, Said}
    after 300000 -> {hangs, Said}
    end.

%% ---- in the VM ----

%% A pipeline under load: producers that run until they are asked to stop, and a consumer that counts.
begin_load() ->
    {ok, P} = ?C:start(#{batch_size => 50}),
    Counter = counters:new(2, []),
    Consumer = spawn(fun() -> ok = ?C:attach(P), count(P, Counter) end),
    Producers = [spawn(fun() -> produce(P, Counter, 0) end) || _ <- [1, 2]],
    wait_for(fun() -> counters:get(Counter, 1) > 1000 end),
    {P, Counter, Consumer, Producers}.

count(P, Counter) ->
    receive
        {capture_batch, P, Token, _, _, Events, _} ->
            ok = complete(P, Token),
            counters:add(Counter, 1, length(Events))
    end,
    ?MODULE:count(P, Counter).

complete(P, Token) ->
    case ?C:complete(P, Token, ok) of
        ok -> ok;
        {error, badarg} -> exit(purged)
    end.

produce(P, Counter, N) ->
    receive
        {stop, From} -> From ! {self(), stopped}
    after 0 ->
        case ?C:capture_wait(P, 1, {event, N, [a, "list", <<N:64>>], fun() -> N end}, infinity) of
            ok -> counters:add(Counter, 2, 1);
            {error, badarg} -> exit(purged)
        end,
        produce(P, Counter, N + 1)
    end.

end_load({P, Counter, _, Producers}) ->
    [begin Pid ! {stop, self()}, receive {Pid, stopped} -> ok end end || Pid <- Producers],
    ok = ?C:flush(P, 120000),
    Captured = counters:get(Counter, 2),
    wait_for(fun() -> counters:get(Counter, 1) =:= Captured end),
    {ok, #{captured := Captured, stored := Captured}} = ?C:metrics(P),
    ok = ?C:close(P, 120000).

wait_for(Fun) -> await:until(Fun, 120000).

more(Counter) ->
    Seen = counters:get(Counter, 1),
    wait_for(fun() -> counters:get(Counter, 1) > Seen + 1000 end).

%% A soft purge, repeated until no process is in the old code. A hard purge would kill processes that were preempted there.
reload() ->
    {module, ?NIF} = code:load_file(?NIF),
    await:until(fun() -> code:soft_purge(?NIF) end).

reloaded() ->
    {P, Counter, _, _} = Load = begin_load(),
    Flushers = flushers(P),
    [begin reload(), more(Counter) end || _ <- lists:seq(1, 10)],
    ok = end_flushers(Flushers),
    {ok, New} = ?C:start(#{}),
    ok = ?C:capture(New, x),
    ok = end_load(Load),
    %% Under load and with a timeout of 0, the pipeline may be drained or not.
    case ?C:close(element(1, begin_load()), 0) of
        ok -> ok;
        {error, {timeout, _}} -> ok
    end.

%% Processes that repeatedly wait for the pipeline.
flushers(P) -> [spawn(fun() -> flush_on(P) end) || _ <- lists:seq(1, 5)].

flush_on(P) ->
    receive
        {stop, From} -> From ! {self(), flushed}
    after 0 ->
        ok = ?C:flush(P, 120000),
        flush_on(P)
    end.

end_flushers(Pids) ->
    [begin Pid ! {stop, self()}, receive {Pid, flushed} -> ok after 120000 -> exit(Pid, kill), exit(silent) end end || Pid <- Pids],
    ok.

%% Loads the module from a copy in another place: another shared object, with another copy of the library.
from_a_copy() ->
    {Old, Counter, _, _} = Load = begin_load(),
    Flushers = flushers(Old),
    {ok, Closed} = ?C:start(#{}),
    [Copies | _] = [begin
        Root = reload_from(copy(N)),
        more(Counter),
        Root
    end || N <- [1, 2, 3]],
    ok = file:del_dir_r(Copies),
    %% Each was made by another copy; they work side by side.
    {ok, New} = ?C:start(#{}),
    {ok, #{faces := 1}} = ?C:metrics(Old),
    ok = ?C:attach(New),
    ok = ?C:capture(New, {new, fun() -> new end}),
    receive {capture_batch, New, Token, _, _, [_], _} -> ok = ?C:complete(New, Token, ok) end,
    ok = ?C:capture_wait(Old, 1, lists:seq(1, 2000), infinity),
    counters:add(Counter, 2, 1),
    %% All calls on a resource of the old copy.
    ok = ?C:update(Old, #{batch_size => 10}),
    {ok, _} = ?C:config(Old),
    {ok, _} = ?C:health(Old),
    ok = ?C:pause(Old),
    ok = ?C:resume(Old),
    ok = ?C:attach(Old),
    ok = ?C:detach(Old),
    ok = ?C:close(Closed),
    ok = end_flushers(Flushers),
    ok = end_load(Load).

%% A copy of the modules and the shared object, as in a release of another version.
copy(N) ->
    Version = atom_to_list(?C) ++ "-9." ++ integer_to_list(N),
    Root = filename:join([os:getenv("TMPDIR", "/tmp"), "capture_copies_" ++ os:getpid(), Version]),
    [ok = filelib:ensure_dir(filename:join([Root, D, "x"])) || D <- ["ebin", "priv"]],
    Beam = filename:join(filename:dirname(code:which(?C)), atom_to_list(?NIF) ++ ".beam"),
    So = filename:join([filename:dirname(filename:dirname(Beam)), "priv", atom_to_list(?NIF) ++ ".so"]),
    {ok, _} = file:copy(Beam, filename:join([Root, "ebin", filename:basename(Beam)])),
    {ok, _} = file:copy(So, filename:join([Root, "priv", filename:basename(So)])),
    Root.

reload_from(Root) ->
    true = code:add_patha(filename:join(Root, "ebin")),
    reload(),
    {ok, Maps} = file:read_file("/proc/self/maps"),
    true = binary:match(Maps, list_to_binary(Root)) =/= nomatch,
    filename:dirname(Root).

%% Readers of journals that other copies have made are read, closed and collected.
readers() ->
    Path = filename:join(os:getenv("TMPDIR", "/tmp"), "capture_readers_" ++ os:getpid()),
    {ok, P} = ?C:start(#{}, {journal, Path, #{}}),
    [ok = ?C:capture_wait(P, 1, <<N:32>>, infinity) || N <- lists:seq(1, 3000)],
    ok = ?C:close(P, 10000),
    Take = fun(Reader) -> {ok, [#{payload := <<N:32>>}]} = ?J:next(Reader, 1), N end,
    Count = fun(_, N) -> N + 1 end,
    Folding = [spawn(fun() -> fold_on(Path, Count) end) || _ <- [1, 2]],
    {ok, Old} = ?J:open(Path, #{order => time}),
    1 = Take(Old),
    [Copies | _] = [begin
        {ok, Forgotten} = ?J:open(Path),
        reload(),
        _ = Take(Forgotten),
        Root = reload_from(copy(N)),
        {ok, New} = ?J:open(Path, #{order => time}),
        1 = Take(New),
        N = Take(Old) - 1,
        Root
    end || N <- [1, 2, 3]],
    [begin Pid ! {stop, self()}, receive {Pid, folded} -> ok end end || Pid <- Folding],
    ok = file:del_dir_r(Copies),
    garbage_collect(),
    {ok, []} = ?J:definitions(Old),
    {ok, 2996} = ?J:fold(Count, 0, Old),
    {ok, #{any := false}} = ?J:losses(Old),
    ok = ?J:close(Old),
    {error, {closed, _}} = ?J:next(Old, 1),
    wait_for(fun() -> garbage_collect(), reader_tests:descriptors(Path) =:= [] end),
    ok = file:del_dir_r(Path).

fold_on(Path, Count) ->
    receive
        {stop, From} -> From ! {self(), folded}
    after 0 ->
        {ok, 3000} = ?J:fold(Count, 0, Path, #{}),
        fold_on(Path, Count)
    end.

%% Deleted and purged under load: a capturing process gets an error or dies. The VM lives, and loads the module again.
purged() ->
    [begin
        {_, _, Consumer, Producers} = begin_load(),
        code:purge(?NIF),
        true = code:delete(?NIF),
        code:purge(?NIF),
        %% The next call loads the module again. The new copy does not know the old one's pipelines.
        wait_for(fun() -> not lists:any(fun is_process_alive/1, Producers) end),
        [exit(Pid, kill) || Pid <- [Consumer | Producers]],
        garbage_collect()
    end || _ <- lists:seq(1, 5)],
    ok = end_load(begin_load()).

%% A process whose calls are traced, and the tracer.
begin_trace() ->
    {ok, P} = ?C:start(#{}, notices),
    _ = spawn(fun() -> ok = ?C:attach(P), store(P) end),
    {ok, T} = ?T:start(P, #{max_rate => infinity}),
    Pid = spawn(fun steps/0),
    {ok, 1} = ?T:trace_calls(T, {?MODULE, step, 1}),
    {ok, 1} = ?T:trace_processes(T, Pid, [call, 'receive', garbage_collection, running]),
    {P, T, Pid}.

store(P) ->
    receive {capture_batch, P, Token, _, _, _, _} -> ok = complete(P, Token) end,
    ?MODULE:store(P).

steps() -> ?MODULE:step([1, <<"two">>]), steps().
step(Term) -> Term.

traced_more(T) ->
    #{captured := Seen, state := running} = ?T:info(T),
    wait_for(fun() -> maps:get(captured, ?T:info(T)) > Seen + 1000 end).

%% A tracer goes on through the copy that made it.
traced_reloaded() ->
    {P, T, Pid} = begin_trace(),
    [begin reload(), traced_more(T) end || _ <- lists:seq(1, 5)],
    [Copies | _] = [begin Root = reload_from(copy(N)), traced_more(T), Root end || N <- [1, 2]],
    ok = file:del_dir_r(Copies),
    %% A tracer of the new copy, on the pipeline of the old one.
    {ok, Second} = ?T:start(P),
    ok = ?T:stop(Second),
    ok = ?T:stop(T),
    {flags, []} = erlang:trace_info(Pid, flags),
    #{captured := Captured, refused := Refused} = ?T:info(T),
    ok = ?C:flush(P, 20000),
    {ok, #{captured := Captured, stored := Captured, dropped_full := Refused}} = ?C:metrics(P),
    exit(Pid, kill).

%% Without the module there is no tracer: the VM goes on, and so do the processes.
traced_purged() ->
    [begin
        {_P, _T, Pid} = begin_trace(),
        code:purge(?NIF),
        true = code:delete(?NIF),
        code:purge(?NIF),
        Steps = fun() -> element(2, process_info(Pid, reductions)) end,
        Before = Steps(),
        wait_for(fun() -> Steps() > Before + 10000 end),
        exit(Pid, kill),
        wait_for(fun() -> erlang:trace_info({?MODULE, step, 1}, traced) =:= {traced, false} end)
    end || _ <- lists:seq(1, 3)],
    {_, T, Pid} = begin_trace(),
    traced_more(T),
    ok = ?T:stop(T),
    exit(Pid, kill).

%% While the native writers are busy, with a backlog.
halted() ->
    {P, _, Consumer, _} = begin_load(),
    exit(Consumer, kill),
    [?C:capture(P, N) || N <- lists:seq(1, 1000)],
    halt(7).

halted_at_once() ->
    begin_load(),
    erlang:halt(8, [{flush, false}]).

stopped() ->
    {P, _, _, _} = begin_load(),
    ok = ?C:attach(P),
    init:stop(9),
    receive after infinity -> ok end.

halted_sqlite(Path) ->
    {ok, P} = ?C:start(#{}, {sqlite, Path, #{}}),
    [ok = ?C:capture(P, 1, <<N:32>>) || N <- lists:seq(1, 1000)],
    halt(6).

killed_writers() ->
    Load = begin_load(),
    exit(element(3, Load), kill),
    P = element(1, Load),
    Counter = element(2, Load),
    Consumer = spawn(fun() -> ok = ?C:attach(P), count(P, Counter) end),
    _ = Consumer,
    ok = end_load_at_least(Load).

%% More waiting processes than the VM has dirty schedulers.
terminated() ->
    {ok, P} = ?C:start(#{}),
    ok = ?C:capture(P, kept),
    Flushes = [spawn(fun() -> ?C:flush(P, infinity) end) || _ <- lists:seq(1, 20)],
    Closes = [spawn(fun() -> ?C:close(P, infinity) end) || _ <- lists:seq(1, 20)],
    await:blocked(Flushes ++ Closes),
    os:cmd("kill -TERM " ++ os:getpid()),
    receive after infinity -> ok end.

%% A batch that the killed consumer had answered but not counted is not counted.
end_load_at_least({P, Counter, _, Producers}) ->
    [begin Pid ! {stop, self()}, receive {Pid, stopped} -> ok end end || Pid <- Producers],
    ok = ?C:flush(P, 120000),
    Captured = counters:get(Counter, 2),
    {ok, #{captured := Captured, stored := Captured}} = ?C:metrics(P),
    ok.

started_again() ->
    [begin
        Load = begin_load(),
        ok = end_load(Load)
    end || _ <- lists:seq(1, 20)].

%% ---- the tests ----

returns(Function) -> {timeout, 900, fun() -> ?assertEqual({Function, {0, <<"returned">>}}, {Function, vm(Function)}) end}.

loading_the_module_again_goes_on_with_the_same_pipelines_test_() -> returns(reloaded).
a_copy_at_another_place_works_on_pipelines_of_the_old_one_test_() -> returns(from_a_copy).
a_copy_at_another_place_works_on_readers_of_the_old_one_test_() -> returns(readers).
a_consumer_that_is_killed_costs_nothing_test_() -> returns(killed_writers).
pipelines_come_and_go_test_() -> returns(started_again).

purging_the_module_under_load_keeps_the_vm_up_test_() -> returns(purged).
a_tracer_goes_on_when_the_module_is_loaded_again_test_() -> returns(traced_reloaded).
purging_the_module_of_a_tracer_keeps_the_vm_up_test_() -> returns(traced_purged).

halt_under_load_with_a_backlog_test_() -> {timeout, 900, fun() -> ?assertMatch({7, <<>>}, vm(halted)) end}.
halt_without_flush_test_() -> {timeout, 900, fun() -> ?assertMatch({8, <<>>}, vm(halted_at_once)) end}.
init_stop_under_load_test_() -> {timeout, 900, fun() -> ?assertMatch({9, <<>>}, vm(stopped)) end}.

sigterm_is_heard_while_processes_wait_for_a_pipeline_test_() -> {timeout, 900, fun() -> ?assertMatch({0, _}, vm(terminated)) end}.

halt_drains_into_sqlite_test_() ->
    {timeout, 900, fun() ->
        Path = "/tmp/capture_halt_" ++ os:getpid() ++ ".db",
        ?assertEqual({6, <<>>}, vm(halted_sqlite, [Path])),
        Counted = string:trim(os:cmd("sqlite3 " ++ Path ++ " 'select count(*) from events'")),
        [file:delete(Path ++ End) || End <- ["", "-wal", "-shm"]],
        ?assertEqual("1000", Counted)
    end}.
