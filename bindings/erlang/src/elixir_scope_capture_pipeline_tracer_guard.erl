%% @private
%% The processes of a tracer. The guard takes the calls of {@link elixir_scope_capture_pipeline_tracer}, and looks at the tracer's state and at the VM's memory
%% each 100 ms. The keeper clears what the tracer has set in the VM when the guard ends, for whatever reason; if the keeper is killed, the guard does.
%% Nothing of a capture passes through them.
-module(elixir_scope_capture_pipeline_tracer_guard).
-behaviour(gen_server).

-export([start/2, stop/2, call/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-define(NIF, elixir_scope_capture_pipeline_nif).
-define(SESSION, elixir_scope_capture_pipeline_tracer_session).
-define(TRACER, elixir_scope_capture_pipeline_tracer).
-define(LOOK_MS, 100).

-record(state, {
    native :: reference(),
    session :: ?SESSION:session(),
    keeper :: pid() | none,
    keeper_monitor :: reference(),
    owner_monitor :: reference(),
    max_memory :: pos_integer() | infinity
}).

-spec start(reference(), map()) -> {ok, pid(), reference()} | {error, term()}.
start(Pipeline, Options) ->
    case gen_server:start(?MODULE, {Pipeline, Options}, []) of
        {ok, Guard} -> {ok, Guard, gen_server:call(Guard, native, infinity)};
        {error, {shutdown, {refused, Reason}}} -> {error, Reason};
        {error, Reason} -> {error, Reason}
    end.

%% Waits until nothing of the tracer is left in the VM.
-spec stop(pid(), timeout()) -> ok | {error, timeout}.
stop(Guard, Timeout) ->
    Monitor = monitor(process, Guard),
    Guard ! stop,
    receive
        {'DOWN', Monitor, process, _, _} -> ok
    after Timeout ->
        true = demonitor(Monitor, [flush]),
        {error, timeout}
    end.

-spec call(pid(), term()) -> term().
call(Guard, Request) ->
    try
        gen_server:call(Guard, Request, infinity)
    catch
        exit:_ -> {error, stopped}
    end.

%% ---- the guard ----

-spec init({reference(), map()}) -> {ok, #state{}} | {stop, {shutdown, {refused, term()}}}.
init({Pipeline, #{owner := Owner, depth := Depth, bytes := Bytes, max_rate := MaxRate, max_memory_growth := Growth} = Options}) ->
    #{exclude := Exclude, name := Name, timeline := Timeline} = Options,
    %% It must get to run while the traced processes take all the time.
    _ = process_flag(priority, high),
    _ = process_flag(trap_exit, true),
    Self = self(),
    {Keeper, KeeperMonitor} = spawn_monitor(fun() -> keep(monitor(process, Self), Self) end),
    Rate = case MaxRate of infinity -> 0; _ -> MaxRate end,
    case ?NIF:tracer_new(Pipeline, {Owner, threads(), Depth, Bytes, Rate, [Self, Keeper | Exclude], Timeline}) of
        {ok, Native} ->
            _ = [elixir_scope_capture_pipeline:kind_name(Pipeline, Kind, "trace_" ++ atom_to_list(Tag)) || {Tag, Kind} <- ?NIF:tracer_kinds()],
            _ = [ok = elixir_scope_capture_pipeline:kind_define(Pipeline, Kind) || Timeline, Kind <- ?TRACER:timeline_kinds()],
            Max = case Growth of infinity -> infinity; _ -> memory() + Growth end,
            State = keep_too(#state{
                native = Native, session = ?SESSION:new(Name, Native), keeper = Keeper, keeper_monitor = KeeperMonitor,
                owner_monitor = monitor(process, Owner), max_memory = Max
            }),
            look_again(),
            {ok, State};
        {error, badarg} ->
            {stop, {shutdown, {refused, {invalid, pipeline}}}};
        {error, Reason} ->
            {stop, {shutdown, {refused, Reason}}}
    end.

%% The threads that may run a traced process.
threads() ->
    lists:sum([erlang:system_info(What) || What <- [schedulers, dirty_cpu_schedulers, dirty_io_schedulers]]).

look_again() -> erlang:send_after(?LOOK_MS, self(), look).

%% A VM whose allocators are switched off does not know its memory: then it is that of the operating system's process, where Linux tells it.
memory() ->
    try
        erlang:memory(total)
    catch
        error:notsup ->
            case file:read_file("/proc/self/statm") of
                {ok, <<Statm/binary>>} -> 4096 * binary_to_integer(lists:nth(2, binary:split(Statm, <<" ">>, [global])));
                {error, _} -> 0
            end
    end.

%% Before something is set, the keeper knows of it.
keep_too(#state{keeper = Keeper, session = Session} = State) ->
    Keeper ! {session, Session},
    State.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call(native, _From, State) ->
    {reply, State#state.native, State};
handle_call({trace_calls, Functions, Spec, Flags}, _From, #state{session = Session} = State) ->
    case ?SESSION:claim_calls(Session, Functions, Spec, Flags) of
        {ok, Claimed} ->
            New = keep_too(State#state{session = Claimed}),
            case ?SESSION:set_calls(Claimed, Functions) of
                {ok, _} = Answer -> {reply, Answer, New};
                {error, _} = Error -> {reply, Error, keep_too(State)}
            end;
        {error, _} = Error ->
            {reply, Error, State}
    end;
handle_call({untrace_calls, Functions}, _From, #state{session = Session} = State) ->
    {reply, ok, keep_too(State#state{session = ?SESSION:untrace_calls(Session, Functions)})};
handle_call({trace_processes, Which, Flags}, _From, #state{session = Session} = State) ->
    {reply, ?SESSION:trace_processes(Session, Which, Flags), State};
handle_call({untrace_processes, Which}, _From, #state{session = Session} = State) ->
    {reply, ?SESSION:untrace_processes(Session, Which), State};
handle_call(_Unknown, _From, State) ->
    {reply, {error, badarg}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Unknown, State) -> {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, normal, #state{}}.
handle_info(look, #state{native = Native, max_memory = Max} = State) ->
    _ = is_integer(Max) andalso memory() > Max andalso ?NIF:tracer_stop(Native, too_much_memory),
    case ?NIF:tracer_info(Native) of
        {running, _, _, _} -> look_again(), {noreply, State};
        _ -> {stop, normal, State}
    end;
handle_info(stop, State) ->
    {stop, normal, State};
handle_info({'DOWN', Monitor, process, _, _}, #state{keeper_monitor = Monitor, session = Session, native = Native} = State) ->
    end_native(Native, stopped),
    ok = ?SESSION:clear(Session),
    {stop, normal, State#state{keeper = none}};
handle_info({'DOWN', Monitor, process, _, _}, #state{owner_monitor = Monitor} = State) ->
    %% The native tracer knows, but perhaps a little later.
    end_native(State#state.native, owner_died),
    {stop, normal, State};
handle_info(_Other, State) ->
    {noreply, State}.

%% Waits for the keeper.
-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, #state{keeper = none}) ->
    ok;
terminate(_Reason, #state{keeper = Keeper, keeper_monitor = Monitor, native = Native}) ->
    end_native(Native, stopped),
    Keeper ! clear,
    receive
        {'DOWN', Monitor, process, _, _} -> ok
    after 60000 -> ok
    end.

%% ---- the keeper ----

keep(Monitor, Guard) -> keep(Monitor, Guard, none).

keep(Monitor, Guard, Session) ->
    receive
        {session, New} -> keep(Monitor, Guard, New);
        clear -> clear(Session);
        {'DOWN', Monitor, process, Guard, _} -> clear(Session)
    end.

clear(none) -> ok;
clear(#{native := Native} = Session) ->
    end_native(Native, stopped),
    ?SESSION:clear(Session).

%% The first reason stays. After a purge of the NIF's module the tracer is unknown, and the VM has stopped calling it.
end_native(Native, Reason) ->
    _ = ?NIF:tracer_stop(Native, Reason),
    ok.
