%% Pipelines whose rings lie in a file: what a VM has captured, and no storage has acknowledged, outlives the VM. The name of each test is a promise.
-module(ring_file_tests).
-include_lib("eunit/include/eunit.hrl").
-export([capture_and_wait/3, capture_until_memory_is_gone/2, capture_and_stop/3]).
-define(C, elixir_scope_capture_pipeline).
-define(EVENTS, 200).

%% A small file: it is allocated as a whole.
config(Dir) -> #{ring_dir => Dir, ring_bytes => 1 bsl 20, max_event_bytes => 8192, max_rings => 8, max_retired_rings => 1}.

with_dir(Test) ->
    {timeout, 300, fun() ->
        Name = "capture-rings-" ++ os:getpid() ++ "-" ++ integer_to_list(erlang:unique_integer([positive])),
        Dir = filename:join("/dev/shm", Name),
        ok = file:make_dir(Dir),
        ok = file:change_mode(Dir, 8#700),
        try
            Test(Dir)
        after
            file:del_dir_r(Dir)
        end
    end}.

%% Every sort of term, what no other VM has included.
term(0) -> <<"bytes">>;
term(1) -> {self(), make_ref(), hd(erlang:ports())};
term(2) -> #{fun_of => fun lists:map/2, closure => fun() -> ok end};
term(3) -> [1 bsl 300, -1.5, <<5:3>>, "text", []];
term(4) -> immediate;
term(5) -> 17;
term(6) -> #{k => maps:from_list([{I, {I, I}} || I <- lists:seq(1, 40)])};
term(7) -> binary:copy(<<"large">>, 200);
term(N) -> {N, term(N rem 8), list_to_atom("atom_" ++ integer_to_list(N))}.

%% ---- in the VM that ends ----

capture_and_wait(Dir, From, To) ->
    {ok, P} = ?C:start(config(Dir), notices),
    [ok = ?C:capture(P, N rem 5, term(N), N, N + 1) || N <- lists:seq(From, To - 1)],
    {ok, #{captured := Captured}} = ?C:metrics(P),
    Captured = To - From,
    persistent_term:put(?MODULE, P),
    {captured, [term_to_binary(term(N)) || N <- lists:seq(From, To - 1), N < 1]}.

capture_and_stop(Dir, From, To) ->
    capture_and_wait(Dir, From, To),
    spawn(fun() -> init:stop() end),
    ok.

%% Captures, and then takes memory until the system gives no more.
capture_until_memory_is_gone(Dir, To) ->
    capture_and_wait(Dir, 0, To),
    spawn(fun() -> take([]) end),
    receive after infinity -> ok end.

take(All) -> take([binary:copy(<<0>>, 16 bsl 20) | All]).

%% ---- in this VM ----

%% A VM on which this module can be called; `Prefix': the words of the shell before the command.
start_vm(Prefix) ->
    Paths = lists:append([["-pa", filename:dirname(code:which(M))] || M <- [?MODULE, ?C]]),
    Erl = filename:join([code:root_dir(), "bin", "erl"]),
    Exec =
        case Prefix of
            [] -> #{};
            _ -> #{exec => {"/bin/sh", ["-c", Prefix ++ " exec \"$0\" \"$@\"", Erl]}}
        end,
    {ok, Vm, _} = peer:start(Exec#{connection => standard_io, args => ["+MIscs", "64" | Paths], wait_boot => 120000, peer_down => continue}),
    Vm.

pid_of(Vm) -> peer:call(Vm, os, getpid, []).

gone(Pid) -> wait(fun() -> os:cmd("kill -0 " ++ Pid ++ " 2>&1") =/= "" end, 60000).

wait(Condition, Left) ->
    case Condition() of
        true -> ok;
        false when Left > 0 -> receive after 20 -> wait(Condition, Left - 20) end;
        false -> error(still_waiting)
    end.

files(Dir) -> filelib:wildcard(filename:join(Dir, "*.rings")).

%% Starts a pipeline on the directory, and takes so many recovered events. They are answered only where `Answer' says so.
recover(Dir, Count) ->
    {ok, P} = ?C:start(config(Dir), notices),
    ok = ?C:attach(P),
    Events = take_events(P, Count, []),
    %% An answer that comes before the call of the storage has returned counts then.
    ok = ?C:flush(P, 60000),
    {ok, Metrics} = ?C:metrics(P),
    ?assertMatch(#{recovered := Count, captured := 0, stored := Count, torn := 0}, Metrics),
    ok = ?C:close(P, 60000),
    ?assertEqual([], files(Dir)),
    Events.

take_events(_P, 0, Taken) ->
    lists:append(lists:reverse(Taken));
take_events(P, Left, Taken) ->
    receive
        {capture_batch, P, Token, _, _, _, Origin} ->
            Events = ?C:events(P, Token),
            ok = ?C:complete(P, Token, ok),
            take_events(P, Left - length(Events), [[{element(1, Origin), E} || E <- Events] | Taken])
    after 60000 -> error({missing, Left})
    end.

%% What was captured in the other VM under the numbers From to To - 1 (they are the correlation ids), each once, of one generation, in the order of each ring.
check(Events, From, To) ->
    ?assertEqual(lists:seq(From, To - 1), lists:sort([element(6, E) || {_, E} <- Events])),
    ?assertMatch([_], lists:usort([Generation || {Generation, _} <- Events])),
    Identities = [{element(2, E), element(3, E)} || {_, E} <- Events],
    ?assertEqual(length(Identities), length(lists:usort(Identities))),
    [
        begin
            N = element(6, E),
            ?assertEqual({N rem 5, N + 1}, {element(5, E), element(7, E)}),
            is_term(N, element(1, E))
        end
     || {_, E} <- Events
    ].

%% The terms of another VM: its processes, ports, references and funs are those of that VM.
is_term(1, Term) ->
    {Pid, Ref, Port} = Term,
    ?assert(is_pid(Pid) andalso is_reference(Ref) andalso is_port(Port));
is_term(2, Term) ->
    #{fun_of := External, closure := Closure} = Term,
    ?assertEqual(fun lists:map/2, External),
    ?assert(is_function(Closure, 0));
is_term(N, Term) when N < 8 ->
    ?assertEqual(term(N), Term);
is_term(N, {N, Inner, Atom}) ->
    is_term(N rem 8, Inner),
    ?assertEqual("atom_" ++ integer_to_list(N), atom_to_list(Atom)).

terms_come_back_as_they_were_test_() ->
    with_dir(fun(Dir) ->
        Terms = [term(N) || N <- lists:seq(0, ?EVENTS - 1)],
        [
            begin
                {ok, P} = ?C:start(config(Dir), Storage),
                [ok = ?C:capture(P, T) || T <- Terms],
                ?assertMatch([_], files(Dir)),
                ok = ?C:attach(P),
                ?assertEqual(lists:sort(Terms), lists:sort(consumer:all(P, Storage, ?EVENTS))),
                ok = ?C:close(P, 60000),
                ?assertEqual([], files(Dir))
            end
         || Storage <- [delivery, notices]
        ]
    end).

a_vm_that_is_killed_test_() ->
    with_dir(fun(Dir) ->
        Vm = start_vm([]),
        Pid = pid_of(Vm),
        {captured, _} = peer:call(Vm, ?MODULE, capture_and_wait, [Dir, 0, ?EVENTS], 60000),
        os:cmd("kill -9 " ++ Pid),
        gone(Pid),
        check(recover(Dir, ?EVENTS), 0, ?EVENTS)
    end).

a_vm_that_is_halted_or_stopped_test_() ->
    with_dir(fun(Dir) ->
        [
            begin
                Vm = start_vm([]),
                Pid = pid_of(Vm),
                {captured, _} = peer:call(Vm, ?MODULE, capture_and_wait, [Dir, 0, ?EVENTS], 60000),
                peer:cast(Vm, Module, Function, Arguments),
                gone(Pid),
                check(recover(Dir, ?EVENTS), 0, ?EVENTS)
            end
         || {Module, Function, Arguments} <- [{erlang, halt, [3]}, {erlang, halt, [abort]}, {init, stop, []}]
        ]
    end).

a_vm_without_memory_test_() ->
    with_dir(fun(Dir) ->
        Vm = start_vm("ulimit -c 0; ulimit -v 2600000; export ERL_CRASH_DUMP_SECONDS=0;"),
        Pid = pid_of(Vm),
        peer:cast(Vm, ?MODULE, capture_until_memory_is_gone, [Dir, ?EVENTS]),
        gone(Pid),
        check(recover(Dir, ?EVENTS), 0, ?EVENTS)
    end).

%% The VM that recovers is killed as well: what was not answered comes again, under the same identities.
a_recovery_that_is_killed_test_() ->
    with_dir(fun(Dir) ->
        Vm = start_vm([]),
        Pid = pid_of(Vm),
        {captured, _} = peer:call(Vm, ?MODULE, capture_and_wait, [Dir, 0, ?EVENTS], 60000),
        os:cmd("kill -9 " ++ Pid),
        gone(Pid),
        Again = start_vm([]),
        AgainPid = pid_of(Again),
        {captured, _} = peer:call(Again, ?MODULE, capture_and_wait, [Dir, ?EVENTS, ?EVENTS + 10], 60000),
        os:cmd("kill -9 " ++ AgainPid),
        gone(AgainPid),
        {Old, New} = lists:partition(fun({_, E}) -> element(6, E) < ?EVENTS end, recover(Dir, ?EVENTS + 10)),
        check(Old, 0, ?EVENTS),
        check(New, ?EVENTS, ?EVENTS + 10)
    end).

%% Collected without a close, in the VM that goes on.
a_pipeline_that_is_collected_test_() ->
    with_dir(fun(Dir) ->
        {Collected, Monitor} = spawn_monitor(fun() ->
            {ok, P} = ?C:start(config(Dir), notices),
            [ok = ?C:capture(P, N rem 5, term(N), N, N + 1) || N <- lists:seq(0, ?EVENTS - 1)]
        end),
        receive {'DOWN', Monitor, process, Collected, normal} -> ok end,
        check(recover(Dir, ?EVENTS), 0, ?EVENTS)
    end).

traces_need_a_pipeline_without_a_file_test_() ->
    with_dir(fun(Dir) ->
        {ok, P} = ?C:start(config(Dir), notices),
        ?assertMatch({error, {unsupported, <<"the pipeline has a ring_dir", _/binary>>}}, elixir_scope_capture_pipeline_tracer:start(P, #{})),
        ok = ?C:close(P, 60000)
    end).

a_directory_that_cannot_be_used_test_() ->
    with_dir(fun(Dir) ->
        ok = file:change_mode(Dir, 8#777),
        ?assertMatch({error, {_, <<"pipeline_config_t.ring_dir", _/binary>>}}, ?C:start(config(Dir)))
    end).
