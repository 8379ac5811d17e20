%% What the tests of tracers trace, and how they take the traces.
-module(traced).
-include_lib("eunit/include/eunit.hrl").
-export([called/1, called/2, twice/1, raised/1, started/0, started/2, traced/0, told/2, ended/1, events/1, sorted/1, untouched/1]).
-define(C, elixir_scope_capture_pipeline).
-define(T, elixir_scope_capture_pipeline_tracer).

called(A) -> A.
called(A, B) -> {A, B}.
twice(A) -> [?MODULE:called(A), ?MODULE:called(A)].
raised(A) -> error({raised, A}).

started() -> started(#{}, #{}).
started(Config, Options) ->
    {ok, P} = ?C:start(Config),
    {ok, T} = ?T:start(P, Options),
    {P, T}.

%% A process that calls functions when it is told to.
traced() -> spawn(fun obey/0).

obey() ->
    receive
        {call, From, Fun} ->
            From ! {self(), Fun()},
            obey();
        stop ->
            ok
    end.

told(Pid, Fun) ->
    Pid ! {call, self(), Fun},
    receive {Pid, Answer} -> Answer after 20000 -> error(no_answer) end.

ended(Pid) ->
    Monitor = monitor(process, Pid),
    Pid ! stop,
    receive {'DOWN', Monitor, _, _, _} -> ok after 20000 -> error(not_ended) end.

%% All payloads that are captured now, in order. The pipeline is of no further use.
events(P) ->
    {ok, #{captured := Captured}} = ?C:metrics(P),
    ok = ?C:attach(P),
    consumer:all(P, delivery, Captured).

%% The payloads of one process: their order is that of its traces only within a scheduler.
sorted(Events) -> lists:sort(Events).

%% The VM has nothing of a tracer.
untouched(Pids) ->
    await:until(fun() -> [Pid || Pid <- [new_processes | Pids], erlang:trace_info(Pid, flags) =/= {flags, []}] =:= [] end),
    [?assertEqual({tracer, []}, erlang:trace_info(Pid, tracer)) || Pid <- [new_processes | Pids]],
    [await:until(fun() -> not_traced(erlang:trace_info({?MODULE, F, A}, traced)) end) || {F, A} <- [{called, 1}, {called, 2}, {twice, 1}, {raised, 1}]].

not_traced({traced, false}) -> true;
not_traced(Other) -> Other.
